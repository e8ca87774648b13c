use std::{borrow::Cow, convert::Infallible, str::FromStr};

use http::HeaderMap;
use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, ParameterVisitor},
};

use crate::{
    canonical,
    component::{BadComponent, Component, MAX_COMPONENTS},
    dictionary::{self, Lines},
    digest::OnlyBytes,
    field_name::{SIGNATURE, SIGNATURE_INPUT},
    malformed::Malformed,
    parameter::{Value, write_parameter},
    timestamp::Timestamp,
};

pub(crate) const MAX_LABELS: usize = 8;
pub(crate) const MAX_SIGNATURE_FIELDS: usize = 8 * 1024;
/// How much of the name of an unknown parameter is told.
const MAX_NAMED: usize = 32;

/// A member of `Signature-Input` (RFC 9421 §4.1): the covered components and the parameters of a signature.
///
/// Its faults are reported when you ask for the faulty part: a member for others may hold unknown parts.
#[derive(Clone, Debug)]
pub struct SignatureInput<'m> {
    label: &'m str,
    raw: &'m str,
    components: Vec<Component<'m>>,
    parameters: Vec<(&'m str, Value<'m>)>,
    problem: Option<Malformed>,
    form: Form,
}

/// Whether the text of a member equals its serialisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Canonical,
    Unknown,
}

/// A member of `Signature-Input` and the member of `Signature` with the same label.
#[derive(Clone, Debug)]
pub struct LabelledSignature<'m> {
    /// The covered components, and the parameters.
    pub input: SignatureInput<'m>,
    /// The signature's bytes.
    pub signature: Vec<u8>,
    /// Whether the text of the `Signature` member equals the serialisation of its bytes.
    pub(crate) canonical: bool,
}

impl<'m> SignatureInput<'m> {
    /// The signatures of a message, paired by label; empty without both fields.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: a field without the other, a label without its counterpart or repeated, more than 8 labels, or not
    /// a Dictionary of Inner Lists and Byte Sequences.
    pub fn all(headers: &'m HeaderMap) -> Result<Vec<LabelledSignature<'m>>, Malformed> {
        Self::within(usize::MAX, headers)
    }

    /// As [`SignatureInput::all`], for fields of at most this many bytes together.
    pub(crate) fn within(
        most: usize,
        headers: &'m HeaderMap,
    ) -> Result<Vec<LabelledSignature<'m>>, Malformed> {
        let [inputs, signatures] =
            [SIGNATURE_INPUT, SIGNATURE].map(|name| Lines::of(headers, &name));
        if inputs.size().saturating_add(signatures.size()) > most {
            return Err(Malformed::TooLong);
        }
        match (inputs.are_none(), signatures.are_none()) {
            (false, false) => {}
            (true, true) => return Ok(Vec::new()),
            _ => return Err(Malformed::UnpairedLabel),
        }
        match Self::only(&inputs, &signatures) {
            Some(signature) => Ok(vec![signature]),
            None => Self::paired(inputs, signatures),
        }
    }

    /// A single signature in canonical form, without cutting and pairing. Nearly all messages have such a signature.
    fn only(inputs: &Lines<'m>, signatures: &Lines<'m>) -> Option<LabelledSignature<'m>> {
        let (label, signature) = canonical::bytes(signatures.only()?)?;
        let input = Self::parse_canonical(inputs.only()?).filter(|input| input.label == label)?;
        Some(LabelledSignature { input, signature, canonical: true })
    }

    fn paired(
        inputs: Lines<'m>,
        signatures: Lines<'m>,
    ) -> Result<Vec<LabelledSignature<'m>>, Malformed> {
        let inputs = dictionary::members(inputs, MAX_LABELS)?;
        let signatures = dictionary::members(signatures, MAX_LABELS)?;
        if inputs.len() != signatures.len() {
            return Err(Malformed::UnpairedLabel);
        }
        let pair = |(label, raw): (&str, &'m str)| {
            let signature = signatures.iter().find(|(other, _)| *other == label);
            let (_, raw_signature) = signature.ok_or(Malformed::UnpairedLabel)?;
            let input = Self::parse_member(raw)?;
            let (signature, canonical) = match canonical::bytes(raw_signature) {
                Some((_, signature)) => (signature, true),
                None => (parse_signature(raw_signature)?, false),
            };
            Ok(LabelledSignature { input, signature, canonical })
        };
        inputs.into_iter().map(pair).collect()
    }

    /// Reads one member, `label=(…);…`.
    pub(crate) fn parse_member(raw: &'m str) -> Result<Self, Malformed> {
        match Self::parse_canonical(raw) {
            Some(input) => Ok(input),
            None => Self::parse_generally(raw),
        }
    }

    /// As [`SignatureInput::parse_member`]; `None` for another form than the canonical one, and for several members.
    fn parse_canonical(raw: &'m str) -> Option<Self> {
        let canonical::Input { label, components, parameters } = canonical::input(raw)?;
        Some(Self { label, raw, components, parameters, problem: None, form: Form::Canonical })
    }

    /// As [`SignatureInput::parse_member`], in any form.
    pub(crate) fn parse_generally(raw: &'m str) -> Result<Self, Malformed> {
        let reader = Reader(Self {
            label: "",
            raw,
            components: Vec::new(),
            parameters: Vec::new(),
            problem: None,
            form: Form::Unknown,
        });
        let Reader(input) = Parser::new(raw)
            .parse_dictionary_with_visitor(reader)
            .map_err(|_| Malformed::NotADictionary)?;
        match input.problem {
            Some(Malformed::NotAnInnerList) => Err(Malformed::NotAnInnerList),
            _ => Ok(input),
        }
    }

    /// The label, which pairs the two fields and has no other meaning.
    pub const fn label(&self) -> &'m str {
        self.label
    }

    /// The covered components, in their order, each once.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: a component that RFC 9421 forbids, or more than 32 components.
    pub fn components(&self) -> Result<&[Component<'m>], Malformed> {
        match &self.problem {
            Some(problem) => Err(problem.clone()),
            None => Ok(&self.components),
        }
    }

    /// `created`, in seconds since the epoch.
    ///
    /// # Errors
    ///
    /// [`Malformed::ParameterType`] unless it is an Integer that is not negative.
    pub fn created(&self) -> Result<Option<Timestamp>, Malformed> {
        self.timestamp("created")
    }

    /// `expires`, in seconds since the epoch.
    ///
    /// # Errors
    ///
    /// [`Malformed::ParameterType`] unless it is an Integer that is not negative.
    pub fn expires(&self) -> Result<Option<Timestamp>, Malformed> {
        self.timestamp("expires")
    }

    /// A String parameter: `nonce`, `alg`, `keyid`, `tag`.
    ///
    /// # Errors
    ///
    /// [`Malformed::ParameterType`].
    pub fn string(&self, key: &'static str) -> Result<Option<&str>, Malformed> {
        match self.parameter(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Malformed::ParameterType(key)),
        }
    }

    /// The serialised components and parameters: the value of `@signature-params` (RFC 9421 §2.3).
    ///
    /// # Errors
    ///
    /// As [`SignatureInput::components`].
    pub fn signature_params(&self) -> Result<Cow<'m, str>, Malformed> {
        if self.form == Form::Canonical
            && let Some(text) = self.value_text()
        {
            return Ok(Cow::Borrowed(text));
        }
        let mut text = String::with_capacity(self.raw.len());
        write_components(&mut text, self.components()?);
        for (key, value) in &self.parameters {
            write_parameter(&mut text, key, value);
        }
        Ok(Cow::Owned(text))
    }

    /// Whether this member's text equals its serialisation, so that it has one reading.
    pub(crate) fn is_canonical(&self, signature_params: &str) -> bool {
        self.form == Form::Canonical || self.value_text() == Some(signature_params)
    }

    /// The raw text behind the label.
    fn value_text(&self) -> Option<&'m str> {
        self.raw.strip_prefix(self.label)?.strip_prefix('=')
    }

    /// The first parameter that RFC 9421 §2.3 does not have: the start of its name, which is lower case by its grammar.
    pub(crate) fn unknown_parameter(&self) -> Option<&'m str> {
        let known = ["created", "expires", "nonce", "alg", "keyid", "tag"];
        let (key, _) = self.parameters.iter().find(|(key, _)| !known.contains(key))?;
        Some(key.get(..MAX_NAMED).unwrap_or(key))
    }

    fn timestamp(&self, key: &'static str) -> Result<Option<Timestamp>, Malformed> {
        match self.parameter(key) {
            None => Ok(None),
            Some(Value::Integer(seconds)) => {
                let seconds = i64::from(*seconds).try_into();
                let seconds = seconds.map_err(|_| Malformed::ParameterType(key))?;
                Ok(Some(Timestamp::from_unix(seconds)))
            }
            Some(_) => Err(Malformed::ParameterType(key)),
        }
    }

    pub(crate) fn parameter(&self, key: &str) -> Option<&Value<'m>> {
        self.parameters.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }
}

impl FromStr for Component<'static> {
    type Err = BadComponent;

    /// Reads an identifier as in a signature base; the quotes around its name may be left out: `@method`,
    /// `content-type`, `"@query-param";name="page"`.
    fn from_str(text: &str) -> Result<Self, BadComponent> {
        let quoted = match text.split_once(';') {
            _ if text.starts_with('"') => text.to_owned(),
            Some((name, parameters)) => format!("\"{name}\";{parameters}"),
            None => format!("\"{text}\""),
        };
        let list = format!("c=({quoted})");
        let input = SignatureInput::parse_member(&list).map_err(|_| BadComponent::NotAString)?;
        let [component] = input.components().map_err(|malformed| match malformed {
            Malformed::Component(reason) => reason,
            _ => BadComponent::NotAString,
        })?
        else {
            return Err(BadComponent::NotAString);
        };
        Ok(component.clone().into_owned())
    }
}

/// Writes `("a" "b")`.
pub(crate) fn write_components(text: &mut String, components: &[Component<'_>]) {
    text.push('(');
    for (at, component) in components.iter().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        component.write(text);
    }
    text.push(')');
}

fn parse_signature(raw: &str) -> Result<Vec<u8>, Malformed> {
    let parsed = Parser::new(raw).parse_dictionary_with_visitor(OnlyBytes::default());
    parsed.map_err(|_| Malformed::NotADictionary)?.ok_or(Malformed::NotAByteSequence)
}

struct Reader<'m>(SignatureInput<'m>);

impl Reader<'_> {
    /// Keeps the first fault.
    fn note(&mut self, problem: Malformed) {
        self.0.problem.get_or_insert(problem);
    }
}

impl<'m> DictionaryVisitor<'m> for Reader<'m> {
    type Out = Self;
    type Error = Malformed;

    fn entry(&mut self, label: &'m KeyRef) -> Result<impl EntryVisitor<'m>, Malformed> {
        if !self.0.label.is_empty() {
            return Err(Malformed::NotADictionary);
        }
        self.0.label = label.as_str();
        Ok(self)
    }

    fn finish(self) -> Result<Self, Malformed> {
        Ok(self)
    }
}

impl<'m> EntryVisitor<'m> for &mut Reader<'m> {
    type Error = Malformed;

    fn item(self) -> Result<impl ItemVisitor<'m>, Malformed> {
        self.note(Malformed::NotAnInnerList);
        Ok(sfv::visitor::Ignored)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'m>, Malformed> {
        Ok(self)
    }
}

impl<'m> InnerListVisitor<'m> for &mut Reader<'m> {
    type Error = Infallible;

    fn item(&mut self) -> Result<impl ItemVisitor<'m>, Infallible> {
        Ok(Item(self))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'m>, Infallible> {
        Ok(self)
    }
}

/// A covered component.
struct Item<'r, 'm>(&'r mut Reader<'m>);

impl<'m> ItemVisitor<'m> for Item<'_, 'm> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'m>,
    ) -> Result<impl ParameterVisitor<'m, Out = ()>, Infallible> {
        let Item(reader) = self;
        // After a fault, the rest is read only to find its end.
        if reader.0.problem.is_some() {
            return Ok(ItemParameters { reader, component: None });
        }
        let name = match item {
            BareItemFromInput::String(Cow::Borrowed(name)) => Ok(Cow::Borrowed(name.as_str())),
            BareItemFromInput::String(Cow::Owned(name)) => Ok(Cow::Owned(name.into())),
            _ => Err(BadComponent::NotAString),
        };
        let component = match name.and_then(Component::parse_name) {
            Ok(component) => Some(component),
            Err(problem) => {
                reader.note(Malformed::Component(problem));
                None
            }
        };
        Ok(ItemParameters { reader, component })
    }
}

struct ItemParameters<'r, 'm> {
    reader: &'r mut Reader<'m>,
    component: Option<Component<'m>>,
}

impl<'m> ParameterVisitor<'m> for ItemParameters<'_, 'm> {
    type Out = ();
    type Error = Infallible;

    fn parameter(
        &mut self,
        key: &'m KeyRef,
        value: BareItemFromInput<'m>,
    ) -> Result<(), Infallible> {
        if let Some(component) = &mut self.component
            && let Err(problem) = component.push_parameter(key.as_str(), value.into())
        {
            self.reader.note(Malformed::Component(problem));
            self.component = None;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        let Some(component) = self.component else { return Ok(()) };
        let listed = &mut self.reader.0.components;
        let problem = if let Err(problem) = component.check() {
            Malformed::Component(problem)
        } else if listed.len() >= MAX_COMPONENTS {
            Malformed::TooManyComponents
        } else if listed.contains(&component) {
            Malformed::DuplicateComponent
        } else {
            listed.push(component);
            return Ok(());
        };
        self.reader.note(problem);
        Ok(())
    }
}

/// The parameters of the signature itself.
impl<'m> ParameterVisitor<'m> for &mut Reader<'m> {
    type Out = ();
    type Error = Infallible;

    fn parameter(
        &mut self,
        key: &'m KeyRef,
        value: BareItemFromInput<'m>,
    ) -> Result<(), Infallible> {
        if self.0.parameter(key.as_str()).is_some() {
            self.note(Malformed::DuplicateParameter);
        } else if self.0.parameters.len() >= MAX_COMPONENTS {
            self.note(Malformed::TooManyParameters);
        } else {
            self.0.parameters.push((key.as_str(), value.into()));
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Texts that are one member of either field, or nearly.
    fn member(value: &'static str) -> impl Strategy<Value = String> {
        let before =
            prop_oneof![6 => Just("sig="), 1 => Just("a="), 1 => Just(" sig="), 1 => Just("")];
        let behind = prop_oneof![
            4 => Just(""),
            1 => Just(" "),
            1 => Just(","),
            1 => Just(";b=\",\""),
            1 => Just(", b=()"),
            1 => Just(", b=:AA==:"),
            1 => Just("é"),
        ];
        (before, behind).prop_map(move |(before, behind)| format!("{before}{value}{behind}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn one_signature_that_is_not_cut_is_what_cutting_gives(
            input in member("(\"@method\" \"x,y\");created=1;keyid=\",\""),
            signature in member(":AAEC:"),
        ) {
            let headers = HeaderMap::from_iter([
                (SIGNATURE_INPUT, HeaderValue::from_bytes(input.as_bytes()).unwrap()),
                (SIGNATURE, HeaderValue::from_bytes(signature.as_bytes()).unwrap()),
            ]);
            let [inputs, signatures] =
                [SIGNATURE_INPUT, SIGNATURE].map(|name| Lines::of(&headers, &name));
            if let Some(one) = SignatureInput::only(&inputs, &signatures) {
                let cut = SignatureInput::paired(inputs, signatures).unwrap();
                prop_assert_eq!(format!("{:?}", [one]), format!("{cut:?}"));
            }
        }
    }
}
