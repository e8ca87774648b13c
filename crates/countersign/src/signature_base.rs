use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header::COOKIE};

use crate::{
    bad_base::BadBase,
    base_difference::BaseDifference,
    canonical,
    component::{BoundTo, Component, Derived, Form, Name},
    dictionary::{self, Lines},
    field_name::{CONTENT_DIGEST, SIGNATURES},
    field_type::FieldType,
    message::{Head, Message, RequestHead},
    query_params::{NoParam, QueryParams},
    signature_input::MAX_LABELS,
    structured_field::{self, Members, NoValue},
};

/// The exact bytes to sign (RFC 9421 §2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureBase(String);

/// The rules for signature bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Everything that RFC 9421 allows.
    Rfc,
    /// Only bases that a policy accepts: a covered field is on one line, and the target is not repeated too often.
    Policy,
}

/// How many bytes are read for covered members.
const MAX_READ: usize = 1024;

/// How much of a base may be made of the target beside twice its length. It leaves room for the other derived components,
/// and for each way to cover a short target.
const FREE: usize = 4 * 1024;

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
        rules: Rules,
    ) -> Result<Self, BadBase> {
        let mut base = String::with_capacity(768);
        let mut parsed = Parsed::new(message, components);
        let mut derived = 0usize;
        for component in components {
            component.write(&mut base);
            base.push_str(": ");
            let from = base.len();
            write_value(&mut base, message, &mut parsed, component, rules)?;
            // Identifiers are printable by their type; a value is the peer's text.
            let value = base.as_bytes().get(from..).unwrap_or_default();
            if !is_printable(value) {
                return Err(BadBase::Unprintable(component.to_string()));
            }
            if matches!(component.name(), Name::Derived(_)) {
                derived = derived.saturating_add(value.len());
                if rules == Rules::Policy && derived > parsed.most_derived {
                    return Err(BadBase::Repetitive(component.to_string()));
                }
            }
            base.push('\n');
        }
        base.push_str("\"@signature-params\": ");
        base.push_str(signature_params);
        Ok(Self(base))
    }

    /// The bytes, all ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The same as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first line that differs in another base of the same message, or `None` if the bases are equal. Use it if the
    /// other side of an invalid signature tells its base.
    pub fn difference<'b>(&'b self, other: &'b str) -> Option<BaseDifference<'b>> {
        BaseDifference::first(&self.0, other)
    }
}

/// Without a branch for each byte, so that the compiler checks many in one step.
fn is_printable(value: &[u8]) -> bool {
    value.iter().fold(true, |so_far, &byte| so_far & matches!(byte, b' '..=b'~' | b'\t'))
}

/// The label of a member, and its whole text.
type Cut<'m> = (&'m str, &'m str);

/// The parts of a message that are parsed once for all components.
struct Parsed<'m> {
    components: &'m [Component<'m>],
    query_params: QueryParams<'m>,
    /// Fields with covered members: their header, name and members.
    dictionaries: Vec<(&'m HeaderMap, &'m str, Members<'m>)>,
    /// The same for fields with signatures, whose members are only cut.
    signatures: Vec<(&'m HeaderMap, &'m str, Vec<Cut<'m>>)>,
    /// How many bytes the values of derived components may have together.
    most_derived: usize,
}

impl<'m> Parsed<'m> {
    fn new(message: &Message<'m>, components: &'m [Component<'m>]) -> Self {
        let request = match message.head {
            Head::Request(request) => Some(request),
            Head::Response(_) => message.request,
        };
        let target = request.map(|request| request.target);
        let query = target.and_then(|target| target.query());
        let length = target.map_or(0, |target| target.path().len());
        let length = length.saturating_add(query.map_or(0, str::len));
        let most_derived = length.saturating_mul(2).saturating_add(FREE);
        let names = components.iter().filter_map(Component::query_param_name);
        let query_params = QueryParams::find(query.unwrap_or(""), names);
        Self {
            components,
            query_params,
            dictionaries: Vec::new(),
            signatures: Vec::new(),
            most_derived,
        }
    }

    /// The members of a field, if it was read before.
    fn members(&self, headers: &HeaderMap, name: &str) -> Option<&Members<'m>> {
        let mut read = self.dictionaries.iter();
        let known = read.find(|(of, known, _)| std::ptr::eq(*of, headers) && *known == name);
        known.map(|(.., members)| members)
    }

    /// The members of a field with signatures, if it was cut before.
    fn signatures(&self, headers: &HeaderMap, name: &str) -> Option<&[Cut<'m>]> {
        let mut cut = self.signatures.iter();
        let known = cut.find(|(of, known, _)| std::ptr::eq(*of, headers) && *known == name);
        known.map(|(.., members)| &members[..])
    }

    /// The keys of all covered members of the field of this name.
    fn keys(&self, name: &str) -> impl Iterator<Item = &'m str> {
        self.components.iter().filter_map(move |component| component.key_of(name))
    }
}

fn write_value<'m>(
    base: &mut String,
    message: &Message<'m>,
    parsed: &mut Parsed<'m>,
    component: &'m Component<'m>,
    rules: Rules,
) -> Result<(), BadBase> {
    let bound = component.bound_to();
    let not_applicable = || BadBase::NotApplicable(component.to_string());
    match (component.name(), message.head) {
        (Name::Derived(Derived::Status), Head::Response(response))
            if bound == BoundTo::ThisMessage =>
        {
            base.push_str(response.status.as_str());
            Ok(())
        }
        (Name::Derived(derived), _) => {
            let request = message.request_of(bound).ok_or_else(not_applicable)?;
            write_derived(base, &request, &parsed.query_params, *derived, component)
        }
        (Name::Field(name), _) => {
            if let Some(digest) = message.content_digest
                && component.is_plain(CONTENT_DIGEST.as_str())
            {
                base.push_str(digest.to_str().map_err(|_| not_applicable())?);
                return Ok(());
            }
            let headers = match (bound, component.is_trailer()) {
                (BoundTo::ThisMessage, false) => Some(message.headers()),
                (BoundTo::ThisMessage, true) => message.trailers,
                (BoundTo::ItsRequest, false) => {
                    Some(message.request_of(bound).ok_or_else(not_applicable)?.headers)
                }
                (BoundTo::ItsRequest, true) => {
                    message.request_of(bound).ok_or_else(not_applicable)?;
                    message.request_trailers
                }
            };
            let headers = headers.ok_or_else(|| BadBase::Absent(component.to_string()))?;
            write_field(base, headers, name, message, parsed, component, rules)
        }
    }
}

/// The value of a field, serialised by its parameters.
fn write_field<'m>(
    base: &mut String,
    headers: &'m HeaderMap,
    name: &'m str,
    message: &Message<'_>,
    parsed: &mut Parsed<'m>,
    component: &Component<'_>,
    rules: Rules,
) -> Result<(), BadBase> {
    let form = component.form();
    match form {
        Form::AsSent => return write_lines(base, headers, name, component, rules),
        Form::Wrapped => return write_wrapped(base, headers, name, component),
        Form::Strict | Form::Member(_) => {}
    }
    let not_structured = || BadBase::NotStructured(component.to_string());
    let field_type = message.field_types.of(name).ok_or_else(not_structured)?;
    let text = || {
        let mut lines = String::new();
        // Several signatures are members of a Dictionary, on as many lines as there are signers.
        write_lines(&mut lines, headers, name, component, Rules::Rfc).map(|()| lines)
    };
    let refused = |reason| match reason {
        NoValue::Absent => BadBase::Absent(component.to_string()),
        NoValue::Malformed => not_structured(),
    };
    if let (Form::Member(key), Rules::Policy) = (form, rules)
        && SIGNATURES.iter().any(|field| field == name)
    {
        base.push_str(&signature_member(headers, name, key, parsed, component)?);
        return Ok(());
    }
    let Form::Member(key) = form else {
        base.push_str(&structured_field::strict(&text()?, field_type).map_err(refused)?);
        return Ok(());
    };
    if parsed.members(headers, name).is_none() {
        if rules == Rules::Policy && Lines::of_name(headers, name).size() > MAX_READ {
            return Err(BadBase::TooLong(component.to_string()));
        }
        let members = Members::read(&text()?, field_type, parsed.keys(name)).map_err(refused)?;
        parsed.dictionaries.push((headers, name, members));
    }
    let members = parsed.members(headers, name).ok_or_else(not_structured)?;
    base.push_str(members.value(key).map_err(refused)?);
    Ok(())
}

/// A member of a field with signatures. In canonical form it is its own serialisation, and its text suffices; in any
/// other form it is parsed as a whole, if it is short.
fn signature_member<'m>(
    headers: &'m HeaderMap,
    name: &'m str,
    key: &str,
    parsed: &mut Parsed<'m>,
    component: &Component<'_>,
) -> Result<Cow<'m, str>, BadBase> {
    let not_structured = || BadBase::NotStructured(component.to_string());
    if parsed.signatures(headers, name).is_none() {
        let lines = Lines::of_name(headers, name);
        if lines.are_none() {
            return Err(BadBase::Absent(component.to_string()));
        }
        let members = dictionary::members(lines, MAX_LABELS).map_err(|_| not_structured())?;
        parsed.signatures.push((headers, name, members));
    }
    let members = parsed.signatures(headers, name).ok_or_else(not_structured)?;
    let raw = members.iter().find(|(label, _)| *label == key).map(|(_, raw)| *raw);
    let raw = raw.ok_or_else(|| BadBase::Absent(component.to_string()))?;
    if canonical::bytes(raw).is_some() || canonical::input(raw).is_some() {
        let (_, value) = raw.split_once('=').ok_or_else(not_structured)?;
        return Ok(Cow::Borrowed(value));
    }
    // In a response, the request's own signature is covered in any form.
    if raw.len() > MAX_READ && component.bound_to() == BoundTo::ThisMessage {
        return Err(BadBase::TooLong(component.to_string()));
    }
    let members = Members::read(raw, FieldType::Dictionary, std::iter::once(key));
    let members = members.map_err(|_| not_structured())?;
    members.value(key).map(|value| Cow::Owned(value.to_owned())).map_err(|_| not_structured())
}

/// RFC 9421 §2.1: each line without its outer white space, joined by a comma and a space.
fn write_lines(
    base: &mut String,
    headers: &HeaderMap,
    name: &str,
    component: &Component<'_>,
    rules: Rules,
) -> Result<(), BadBase> {
    let mut lines = headers.get_all(name).iter();
    let mut line = lines.next().ok_or_else(|| BadBase::Absent(component.to_string()))?;
    loop {
        let text = std::str::from_utf8(line.as_bytes());
        let text = text.map_err(|_| BadBase::Unprintable(component.to_string()))?;
        base.push_str(text.trim_matches([' ', '\t']));
        match lines.next() {
            Some(next) => line = next,
            None => return Ok(()),
        }
        // RFC 9113 §8.2.3: HTTP/2 sends a cookie string in pieces, which the recipient joins.
        if name == COOKIE.as_str() {
            base.push_str("; ");
            continue;
        }
        if rules == Rules::Policy {
            return Err(BadBase::Repeated(component.to_string()));
        }
        base.push_str(", ");
    }
}

/// RFC 9421 §2.1.3: each line as a Byte Sequence, so that different cuts into lines have different values.
fn write_wrapped(
    base: &mut String,
    headers: &HeaderMap,
    name: &str,
    component: &Component<'_>,
) -> Result<(), BadBase> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> =
        lines.map(|line| format!(":{}:", STANDARD.encode(line.as_bytes().trim_ascii()))).collect();
    if lines.is_empty() {
        return Err(BadBase::Absent(component.to_string()));
    }
    base.push_str(&lines.join(", "));
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
                NoParam::Absent => BadBase::Absent(component.to_string()),
                NoParam::Ambiguous => BadBase::Ambiguous(component.to_string()),
                NoParam::NotUtf8 => BadBase::Unprintable(component.to_string()),
            })?;
            base.push_str(&value);
        }
        Derived::Status => return Err(BadBase::NotApplicable(component.to_string())),
    }
    Ok(())
}
