use std::{borrow::Cow, fmt};

use http::HeaderName;

use crate::{
    byte_set::ByteSet,
    parameter::{Value, write_string},
};

/// How many components a signature may cover.
pub(crate) const MAX_COMPONENTS: usize = 32;

/// A component identifier (RFC 9421 §2): a field name or a derived component, with its parameters.
///
/// Two identifiers are equal if they have the same name and the same parameters, in any order.
///
/// ```
/// use countersign::{Component, Derived};
/// use http::header::CONTENT_TYPE;
///
/// assert_eq!(Component::from(Derived::Method).to_string(), r#""@method""#);
/// assert_eq!(Component::field(&CONTENT_TYPE).to_string(), r#""content-type""#);
/// assert_eq!(Component::query_param("page").to_string(), r#""@query-param";name="page""#);
/// ```
#[derive(Clone, Debug)]
pub struct Component<'a> {
    name: Name<'a>,
    parameters: Vec<Parameter<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    Field(Cow<'a, str>),
    Derived(Derived),
}

/// A derived component (RFC 9421 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum Derived {
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    QueryParam,
    Status,
}

impl Derived {
    const ALL: [Self; 9] = [
        Self::Method,
        Self::TargetUri,
        Self::Authority,
        Self::Scheme,
        Self::RequestTarget,
        Self::Path,
        Self::Query,
        Self::QueryParam,
        Self::Status,
    ];

    /// The name, with its `@`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "@method",
            Self::TargetUri => "@target-uri",
            Self::Authority => "@authority",
            Self::Scheme => "@scheme",
            Self::RequestTarget => "@request-target",
            Self::Path => "@path",
            Self::Query => "@query",
            Self::QueryParam => "@query-param",
            Self::Status => "@status",
        }
    }
}

/// A component parameter (RFC 9421 §2.1 and §2.2.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parameter<'a> {
    Sf,
    Bs,
    Req,
    Tr,
    Key(Cow<'a, str>),
    Name(Cow<'a, str>),
}

impl Parameter<'_> {
    const fn key(&self) -> &'static str {
        match self {
            Self::Sf => "sf",
            Self::Bs => "bs",
            Self::Req => "req",
            Self::Tr => "tr",
            Self::Key(_) => "key",
            Self::Name(_) => "name",
        }
    }
}

/// RFC 9110 §5.6.2: tchar, in lower case (RFC 9421 §2.1).
static FIELD_NAME: ByteSet =
    ByteSet::NONE.with_range(b'a', b'z').with_range(b'0', b'9').with(b"!#$%&'*+-.^_`|~");

/// How a field's value is serialised (RFC 9421 §2.1.1 to §2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form<'c> {
    AsSent,
    /// `sf`: as a structured field is serialised.
    Strict,
    /// `key`: a member of a Dictionary.
    Member(&'c str),
    /// `bs`: each line as a Byte Sequence.
    Wrapped,
}

/// The message that a component belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BoundTo {
    ThisMessage,
    /// With the parameter `req`.
    ItsRequest,
}

/// Why a text is not a component identifier, or RFC 9421 forbids it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadComponent {
    /// Not a structured-field String with parameters.
    #[error("a component identifier is a String")]
    NotAString,
    /// An unknown `@` name, or `@signature-params`, which is never listed.
    #[error("a derived component is unknown, or may not be listed")]
    UnknownDerived,
    /// Not a field name in lower case.
    #[error("a field name is not a lower-case token")]
    FieldName,
    /// A parameter other than `sf`, `key`, `bs`, `req`, `tr` and `name`, or a repeated one.
    #[error("a component parameter is unknown or occurs twice")]
    UnknownParameter,
    /// A parameter of the wrong type, or where it does not apply, or contradicting another.
    #[error("a component parameter does not apply or contradicts another")]
    Contradiction,
}

impl<'a> Component<'a> {
    /// The component of a header field, without parameters.
    pub fn field(name: &'a HeaderName) -> Self {
        Self { name: Name::Field(Cow::Borrowed(name.as_str())), parameters: Vec::new() }
    }

    pub(crate) const CONTENT_DIGEST: Self =
        Self { name: Name::Field(Cow::Borrowed("content-digest")), parameters: Vec::new() };

    /// A member of a field of the request, in the signature of a response (RFC 9421 §2.4).
    pub(crate) fn member_of_request(field: &'a str, key: &'a str) -> Self {
        let name = Name::Field(Cow::Borrowed(field));
        Self { name, parameters: vec![Parameter::Req, Parameter::Key(Cow::Borrowed(key))] }
    }

    /// A derived component of the request, in the signature of a response (RFC 9421 §2.4).
    pub(crate) fn of_request(derived: Derived) -> Self {
        Self { name: Name::Derived(derived), parameters: vec![Parameter::Req] }
    }

    /// `"@query-param";name="…"`. The name is written as RFC 9421 §2.2.8 has it: percent-encoded.
    pub fn query_param(name: &'a str) -> Self {
        let name = Parameter::Name(Cow::Borrowed(name));
        Self { name: Name::Derived(Derived::QueryParam), parameters: vec![name] }
    }

    pub(crate) fn parse_name(name: Cow<'a, str>) -> Result<Self, BadComponent> {
        let name = if name.starts_with('@') {
            let mut known = Derived::ALL.into_iter();
            let derived = known.find(|derived| derived.as_str() == name);
            Name::Derived(derived.ok_or(BadComponent::UnknownDerived)?)
        } else {
            if name.is_empty() || !FIELD_NAME.has_all_of(&name) {
                return Err(BadComponent::FieldName);
            }
            Name::Field(name)
        };
        Ok(Self { name, parameters: Vec::new() })
    }

    pub(crate) fn push_parameter(
        &mut self,
        key: &str,
        value: Value<'a>,
    ) -> Result<(), BadComponent> {
        let parameter = match (key, value) {
            ("sf", Value::Flag) => Parameter::Sf,
            ("bs", Value::Flag) => Parameter::Bs,
            ("req", Value::Flag) => Parameter::Req,
            ("tr", Value::Flag) => Parameter::Tr,
            ("key", Value::Text(text)) => Parameter::Key(text),
            ("name", Value::Text(text)) => Parameter::Name(text),
            ("sf" | "bs" | "req" | "tr" | "key" | "name", _) => {
                return Err(BadComponent::Contradiction);
            }
            _ => return Err(BadComponent::UnknownParameter),
        };
        if self.has(parameter.key()) {
            return Err(BadComponent::UnknownParameter);
        }
        self.parameters.push(parameter);
        Ok(())
    }

    /// Checks the parameters together.
    pub(crate) fn check(&self) -> Result<(), BadComponent> {
        let applies = match self.name {
            Name::Field(_) => {
                !self.has("name") && !(self.has("bs") && (self.has("sf") || self.has("key")))
            }
            Name::Derived(derived) => {
                let field_only = ["sf", "bs", "tr", "key"];
                !field_only.into_iter().any(|key| self.has(key))
                    && self.has("name") == (derived == Derived::QueryParam)
            }
        };
        if applies { Ok(()) } else { Err(BadComponent::Contradiction) }
    }

    pub(crate) const fn name(&self) -> &Name<'a> {
        &self.name
    }

    fn has(&self, key: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.key() == key)
    }

    /// Appends the identifier as in a signature base.
    pub(crate) fn write(&self, text: &mut String) {
        text.push('"');
        text.push_str(self.name_str());
        text.push('"');
        for parameter in &self.parameters {
            text.push(';');
            text.push_str(parameter.key());
            if let Parameter::Key(value) | Parameter::Name(value) = parameter {
                text.push('=');
                write_string(text, value);
            }
        }
    }

    /// The name in `"@query-param";name="…"`.
    pub(crate) fn query_param_name(&self) -> Option<&str> {
        self.parameters.iter().find_map(|parameter| match parameter {
            Parameter::Name(name) => Some(&**name),
            _ => None,
        })
    }

    pub(crate) fn bound_to(&self) -> BoundTo {
        if self.has("req") { BoundTo::ItsRequest } else { BoundTo::ThisMessage }
    }

    pub(crate) fn is_trailer(&self) -> bool {
        self.has("tr")
    }

    /// How the field's value is serialised.
    pub(crate) fn form(&self) -> Form<'_> {
        let member = self.parameters.iter().find_map(|parameter| match parameter {
            Parameter::Key(key) => Some(Form::Member(key)),
            _ => None,
        });
        match member {
            Some(member) => member,
            None if self.has("sf") => Form::Strict,
            None if self.has("bs") => Form::Wrapped,
            None => Form::AsSent,
        }
    }

    /// The key, if this is a member of the field of this name (RFC 9421 §2.1.2).
    pub fn key_of(&self, field: &str) -> Option<&str> {
        match (&self.name, self.form()) {
            (Name::Field(name), Form::Member(key)) if name == field => Some(key),
            _ => None,
        }
    }

    /// Whether this is exactly the derived component or field of this name, without parameters. A component with
    /// parameters covers another value, and never counts for a policy.
    pub fn is_plain(&self, name: &str) -> bool {
        self.parameters.is_empty() && self.name_str() == name
    }

    /// Whether this is of the message's own header field of this name, in any form: with `sf`, `bs` or `key`, or as sent.
    pub fn is_of_header(&self, name: &str) -> bool {
        self.is_of_own_field(name) && !self.is_trailer()
    }

    /// Whether this is of the message's own trailer field of this name, in any form.
    pub fn is_of_trailer(&self, name: &str) -> bool {
        self.is_of_own_field(name) && self.is_trailer()
    }

    fn is_of_own_field(&self, name: &str) -> bool {
        self.bound_to() == BoundTo::ThisMessage
            && matches!(&self.name, Name::Field(own) if own == name)
    }

    /// Whether this is of the field of this name, of any message, in any form.
    pub(crate) fn is_of_field(&self, field: &HeaderName) -> bool {
        matches!(&self.name, Name::Field(name) if name == field.as_str())
    }

    pub(crate) fn is_plain_field(&self, field: &HeaderName) -> bool {
        self.parameters.is_empty()
            && matches!(&self.name, Name::Field(name) if name == field.as_str())
    }

    pub(crate) fn is_plain_derived(&self, derived: Derived) -> bool {
        self.parameters.is_empty() && self.name == Name::Derived(derived)
    }

    fn name_str(&self) -> &str {
        match &self.name {
            Name::Field(name) => name,
            Name::Derived(derived) => derived.as_str(),
        }
    }
}

impl From<Derived> for Component<'_> {
    /// The derived component without parameters. [`Derived::QueryParam`] needs [`Component::query_param`] instead:
    /// without a name no signature base has it.
    fn from(derived: Derived) -> Self {
        Self { name: Name::Derived(derived), parameters: Vec::new() }
    }
}

impl PartialEq for Component<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.parameters.len() == other.parameters.len()
            && self.parameters.iter().all(|parameter| other.parameters.contains(parameter))
    }
}

impl Eq for Component<'_> {}

impl fmt::Display for Component<'_> {
    /// The identifier as in a signature base: `"content-type"`, `"@query-param";name="page"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

impl Component<'_> {
    pub(crate) fn into_owned(self) -> Component<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Component {
            name: match self.name {
                Name::Field(name) => Name::Field(own(name)),
                Name::Derived(derived) => Name::Derived(derived),
            },
            parameters: self
                .parameters
                .into_iter()
                .map(|parameter| match parameter {
                    Parameter::Sf => Parameter::Sf,
                    Parameter::Bs => Parameter::Bs,
                    Parameter::Req => Parameter::Req,
                    Parameter::Tr => Parameter::Tr,
                    Parameter::Key(key) => Parameter::Key(own(key)),
                    Parameter::Name(name) => Parameter::Name(own(name)),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_print_as_they_are_read() {
        for text in [
            r#""@method""#,
            r#""content-type""#,
            r#""@query-param";name="a\"b\\c""#,
            r#""example-dict";key="a";tr"#,
            r#""@status";req"#,
        ] {
            assert_eq!(text.parse::<Component<'_>>().unwrap().to_string(), text);
        }
        assert_eq!("@method".parse(), Ok(Component::from(Derived::Method)));
        let page = Component::query_param("page");
        assert_eq!(r#"@query-param;name="page""#.parse(), Ok(page));
    }

    #[test]
    fn a_field_is_known_in_every_form_and_only_of_the_message_itself() {
        for (text, of_header, of_trailer) in [
            ("x", true, false),
            ("x;sf", true, false),
            ("x;bs", true, false),
            (r#"x;key="a""#, true, false),
            ("x;tr", false, true),
            ("x;sf;tr", false, true),
            ("x;req", false, false),
            ("x;tr;req", false, false),
            ("y", false, false),
            ("@path", false, false),
        ] {
            let component: Component<'_> = text.parse().unwrap();
            assert_eq!(component.is_of_header("x"), of_header, "{text}");
            assert_eq!(component.is_of_trailer("x"), of_trailer, "{text}");
        }
    }

    #[test]
    fn the_order_of_parameters_does_not_make_another_component() {
        let read = |text: &str| text.parse::<Component<'_>>().unwrap();
        assert_eq!(read(r#""x";sf;req"#), read(r#""x";req;sf"#));
        assert_ne!(read(r#""x";sf"#), read(r#""x";req;sf"#));
        assert_ne!(read(r#""x";key="a""#), read(r#""x";key="b""#));
    }

    #[test]
    fn what_rfc_9421_rules_out_is_refused() {
        use BadComponent::{
            Contradiction, FieldName, NotAString, UnknownDerived, UnknownParameter,
        };
        let refused = [
            ("", FieldName),
            ("Content-Type", FieldName),
            ("a b", FieldName),
            ("a:b", FieldName),
            ("@foo", UnknownDerived),
            ("@Method", UnknownDerived),
            ("@signature-params", UnknownDerived),
            ("x;foo", UnknownParameter),
            ("x;sf;sf", UnknownParameter),
            ("x;sf=1", Contradiction),
            ("x;sf=?0", Contradiction),
            ("x;key", Contradiction),
            ("x;bs;sf", Contradiction),
            (r#"x;bs;key="a""#, Contradiction),
            (r#"x;name="a""#, Contradiction),
            ("@method;sf", Contradiction),
            ("@path;tr", Contradiction),
            (r#"@path;name="a""#, Contradiction),
            ("@query-param", Contradiction),
            (r#""a" "b""#, NotAString),
            ("\"a", NotAString),
            ("é", NotAString),
        ];
        for (text, expected) in refused {
            assert_eq!(text.parse::<Component<'_>>(), Err(expected), "{text}");
        }
    }
}
