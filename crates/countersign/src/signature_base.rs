use http::HeaderMap;

use crate::{
    Component, Message,
    component::{Derived, Name, Parameter},
    message::RequestHead,
    query_params::{NoValue, QueryParams},
};

/// The exact bytes that are signed (RFC 9421 §2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureBase(String);

/// Why a signature base must not be created (RFC 9421 §2.5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadBase {
    /// A covered field that the message does not have. It is never taken as empty.
    #[error("the covered component {0} is not in the message")]
    Absent(String),
    /// A derived component that this message cannot have, such as `@status` in a request.
    #[error("the covered component {0} does not apply to this message")]
    NotApplicable(String),
    /// `"@query-param"` whose name occurs more than once (RFC 9421 §2.2.8).
    #[error("the covered component {0} occurs more than once in the query")]
    Ambiguous(String),
    /// A value with a line break, a control character or a byte that is not ASCII.
    #[error(
        "the value of the covered component {0} has a character that no signature base may have"
    )]
    Unprintable(String),
    /// A parameter that is not served here.
    #[error("the covered component {0} has a parameter that is not supported")]
    Unsupported(String),
}

impl SignatureBase {
    /// The base of `components` of `message`, closed by `signature_params`, the serialised value of
    /// `@signature-params`.
    ///
    /// # Errors
    ///
    /// [`BadBase`].
    pub(crate) fn new(
        message: &Message<'_>,
        components: &[Component<'_>],
        signature_params: &str,
    ) -> Result<Self, BadBase> {
        let mut base = String::with_capacity(512);
        let query_params = query_params(message, components);
        for component in components {
            let from = base.len();
            component.write(&mut base);
            base.push_str(": ");
            write_value(&mut base, message, &query_params, component)?;
            // Identifiers are printable by their type; a value is whatever the peer sent.
            let line = base.as_bytes().get(from..).unwrap_or_default();
            if !line.iter().all(|&byte| matches!(byte, b' '..=b'~' | b'\t')) {
                return Err(BadBase::Unprintable(component.to_string()));
            }
            base.push('\n');
        }
        base.push_str("\"@signature-params\": ");
        base.push_str(signature_params);
        Ok(Self(base))
    }

    /// The bytes, which are all ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The same as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The query parameters that are covered.
fn query_params<'m>(message: &Message<'m>, components: &[Component<'_>]) -> QueryParams<'m> {
    let query = match message {
        Message::Request(request) => request.target.query(),
        Message::Response(_) => None,
    };
    QueryParams::find(
        query.unwrap_or(""),
        components.iter().filter_map(Component::query_param_name),
    )
}

fn write_value(
    base: &mut String,
    message: &Message<'_>,
    query_params: &QueryParams<'_>,
    component: &Component<'_>,
) -> Result<(), BadBase> {
    let only_name = |parameter: &Parameter<'_>| matches!(parameter, Parameter::Name(_));
    if !component.parameters().iter().all(only_name) {
        return Err(BadBase::Unsupported(component.to_string()));
    }
    match (component.name(), message) {
        (Name::Field(name), _) => write_field(base, message.headers(), name, component),
        (Name::Derived(Derived::Status), Message::Response(response)) => {
            base.push_str(response.status.as_str());
            Ok(())
        }
        (Name::Derived(Derived::Status), Message::Request(_))
        | (Name::Derived(_), Message::Response(_)) => {
            Err(BadBase::NotApplicable(component.to_string()))
        }
        (Name::Derived(derived), Message::Request(request)) => {
            write_derived(base, request, query_params, *derived, component)
        }
    }
}

/// RFC 9421 §2.1: each line without its outer white space, joined by a comma and a space.
fn write_field(
    base: &mut String,
    headers: &HeaderMap,
    name: &str,
    component: &Component<'_>,
) -> Result<(), BadBase> {
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Err(BadBase::Absent(component.to_string()));
    }
    let mut first = true;
    for line in lines {
        let line = std::str::from_utf8(line.as_bytes());
        let line = line.map_err(|_| BadBase::Unprintable(component.to_string()))?;
        if !first {
            base.push_str(", ");
        }
        base.push_str(line.trim_matches([' ', '\t']));
        first = false;
    }
    Ok(())
}

fn write_derived(
    base: &mut String,
    request: &RequestHead<'_>,
    query_params: &QueryParams<'_>,
    derived: Derived,
    component: &Component<'_>,
) -> Result<(), BadBase> {
    let (target, origin) = (request.target, request.origin);
    match derived {
        Derived::Method => base.push_str(request.method.as_str()),
        Derived::Authority => base.push_str(origin.authority()),
        Derived::Scheme => base.push_str(origin.scheme().as_str()),
        Derived::Path => base.push_str(target.path()),
        Derived::Query => {
            base.push('?');
            base.push_str(target.query().unwrap_or(""));
        }
        Derived::TargetUri => {
            base.push_str(origin.scheme().as_str());
            base.push_str("://");
            base.push_str(origin.authority());
            base.push_str(target.path());
            if let Some(query) = target.query() {
                base.push('?');
                base.push_str(query);
            }
        }
        Derived::RequestTarget => base.push_str(&target.request_target(request.method)),
        Derived::QueryParam => {
            let name = component.query_param_name();
            let name = name.ok_or_else(|| BadBase::NotApplicable(component.to_string()))?;
            let value = query_params.value(name).map_err(|reason| match reason {
                NoValue::Absent => BadBase::Absent(component.to_string()),
                NoValue::Ambiguous => BadBase::Ambiguous(component.to_string()),
                NoValue::NotUtf8 => BadBase::Unprintable(component.to_string()),
            })?;
            base.push_str(&value);
        }
        Derived::Status => return Err(BadBase::NotApplicable(component.to_string())),
    }
    Ok(())
}
