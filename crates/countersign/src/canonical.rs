//! Reads members of `Signature-Input` and `Signature` in canonical form (RFC 9651 §4.1), several times as fast as a
//! general parser. Nearly all members are canonical. The general parser judges all others, so that refusals have one
//! source.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use sfv::Integer;

use crate::{
    byte_set::ByteSet,
    component::{Component, MAX_COMPONENTS},
    parameter::Value,
};

/// The bytes of a key after the first (RFC 9651 §3.1.2).
static KEY: ByteSet = ByteSet::NONE.with_range(b'a', b'z').with_range(b'0', b'9').with(b"_-.*");
/// The bytes of a String that need no escape (RFC 9651 §3.3.3).
static UNESCAPED: ByteSet = ByteSet::NONE.with_range(b' ', b'~').without(b"\"\\");
static DIGITS: ByteSet = ByteSet::NONE.with_range(b'0', b'9');

/// The parts of a member `label=(…);…`.
pub(crate) struct Input<'m> {
    pub(crate) label: &'m str,
    pub(crate) components: Vec<Component<'m>>,
    pub(crate) parameters: Vec<(&'m str, Value<'m>)>,
}

/// Reads `label=(…);…`.
pub(crate) fn input(raw: &str) -> Option<Input<'_>> {
    let mut text = Text(raw);
    let label = text.key()?;
    text.skip("=(")?;
    let mut components = Vec::with_capacity(8);
    if text.skip(")").is_none() {
        loop {
            let component = text.component()?;
            if components.len() >= MAX_COMPONENTS || components.contains(&component) {
                return None;
            }
            components.push(component);
            if text.skip(")").is_some() {
                break;
            }
            text.skip(" ")?;
        }
    }
    let mut parameters: Vec<(&str, _)> = Vec::with_capacity(6);
    while text.skip(";").is_some() {
        let key = text.key()?;
        text.skip("=")?;
        let value = match text.string() {
            Some(string) => Value::Text(Cow::Borrowed(string)),
            None => Value::Integer(text.integer()?),
        };
        if parameters.len() >= MAX_COMPONENTS || parameters.iter().any(|(other, _)| *other == key) {
            return None;
        }
        parameters.push((key, value));
    }
    text.0.is_empty().then_some(Input { label, components, parameters })
}

/// Reads `key=:…:`.
pub(crate) fn bytes(raw: &str) -> Option<(&str, Vec<u8>)> {
    let (key, digits) = base64(raw)?;
    Some((key, STANDARD.decode(digits).ok()?))
}

/// As [`bytes`], into `buffer`, and not more than it holds.
pub(crate) fn bytes_into<'m, 'b>(
    raw: &'m str,
    buffer: &'b mut [u8],
) -> Option<(&'m str, &'b [u8])> {
    let (key, digits) = base64(raw)?;
    let length = STANDARD.decode_slice(digits, buffer).ok()?;
    Some((key, buffer.get(..length)?))
}

/// Does not look at the digits. The engine refuses missing padding and trailing bits, so that some bytes have one text.
fn base64(raw: &str) -> Option<(&str, &str)> {
    let mut text = Text(raw);
    let key = text.key()?;
    Some((key, text.0.strip_prefix("=:")?.strip_suffix(':')?))
}

/// The unread rest.
struct Text<'m>(&'m str);

impl<'m> Text<'m> {
    fn skip(&mut self, expected: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    /// Everything before the first other byte.
    fn take_while(&mut self, belonging: &ByteSet) -> Option<&'m str> {
        let end = self.0.bytes().position(|byte| !belonging.has(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        Some(taken)
    }

    /// A key (RFC 9651 §3.1.2).
    fn key(&mut self) -> Option<&'m str> {
        if !self.0.starts_with(|first| matches!(first, 'a'..='z' | '*')) {
            return None;
        }
        self.take_while(&KEY)
    }

    /// A String without escapes. Takes nothing if the next value is another one.
    fn string(&mut self) -> Option<&'m str> {
        let mut text = Text(self.0.strip_prefix('"')?);
        let string = text.take_while(&UNESCAPED)?;
        text.skip("\"")?;
        *self = text;
        Some(string)
    }

    fn integer(&mut self) -> Option<Integer> {
        let digits = self.take_while(&DIGITS)?;
        let canonical = digits == "0" || (!digits.starts_with('0') && digits.len() <= 15);
        Integer::try_from(Some(digits).filter(|_| canonical)?.parse::<i64>().ok()?).ok()
    }

    fn component(&mut self) -> Option<Component<'m>> {
        let name = self.string()?;
        let mut component = Component::parse_name(Cow::Borrowed(name)).ok()?;
        while self.skip(";").is_some() {
            let key = self.key()?;
            let value = match self.skip("=") {
                Some(()) => Value::Text(Cow::Borrowed(self.string()?)),
                None => Value::Flag,
            };
            component.push_parameter(key, value).ok()?;
        }
        component.check().ok()?;
        Some(component)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{malformed::Malformed, signature_input::SignatureInput};

    /// Texts that are near to canonical members.
    fn member() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("sig=("),
            Just(")"),
            Just("\"@method\""),
            Just("\"@path\""),
            Just(" "),
            Just(";"),
            Just("\"content-type\""),
            Just(";key=\"a\""),
            Just(";sf"),
            Just(";req"),
            Just("=("),
            Just(";created=1"),
            Just(";created=01"),
            Just(";nonce=\"x\""),
            Just("=?1"),
            Just("=1.5"),
            Just(";keyid=\"a\\\"b\""),
            Just(";alg=ed25519"),
            Just("\t"),
            Just(","),
            Just(":AA==:"),
            Just(";tag=\"countersign\""),
            Just("="),
            Just("-"),
            Just("a"),
            Just("\"@query-param\";name=\"q\""),
        ];
        let rest = proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
        prop_oneof![
            rest.clone(),
            rest.prop_map(|rest| format!("sig=(\"@method\" \"@path\"){rest}"))
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_taken_is_what_the_general_parser_reads(raw in member()) {
            if let Some(ours) = input(&raw) {
                let general = SignatureInput::parse_generally(&raw).unwrap();
                prop_assert_eq!(ours.label, general.label());
                prop_assert_eq!(&ours.components[..], general.components().unwrap());
                let text = general.signature_params().unwrap();
                let (_, written) = raw.split_once('=').unwrap();
                prop_assert_eq!(written, &*text, "canonical");
                for (key, value) in &ours.parameters {
                    prop_assert_eq!(general.parameter(key), Some(value));
                }
            }
        }
    }

    #[test]
    fn what_signers_write_is_taken() {
        let taken = [
            "sig=()",
            r#"sig=("@method" "content-type");created=1763900000;nonce="x";keyid="k";alg="ed25519";tag="t""#,
            r#"*a.b-c_1=("@query-param";name="a%20b" "signature";key="sig");expires=0"#,
            r#"s=("a";sf "b";bs "c";req "d";tr)"#,
        ];
        for raw in taken {
            assert!(input(raw).is_some(), "{raw}");
        }
        assert_eq!(bytes("sig=:AAEC:"), Some(("sig", vec![0, 1, 2])));
        for raw in ["sig=:AAE:", "sig=:AAF=:", "sig=:AAEC", "sig=:AAEC:;a", "=:AAEC:", "sig=::A:"] {
            assert_eq!(bytes(raw), None, "{raw}");
        }
    }

    #[test]
    fn what_is_not_one_canonical_member_is_left_to_the_general_parser() {
        for raw in [
            "",
            "sig",
            "sig=",
            "=()",
            "Sig=()",
            "1sig=()",
            " sig=()",
            "sig =()",
            "sig= ()",
            "sig=() ",
            "sig=(",
            "sig=()x",
            "sig=(), b=()",
            "sig=:AA==:",
            "sig=( )",
            r#"sig=( "a")"#,
            r#"sig=("a" )"#,
            r#"sig=("a"  "b")"#,
            "sig=(\"a\"\t\"b\")",
            r#"sig=("a""b")"#,
            "sig=(a)",
            r#"sig=("a)"#,
            r#"sig=("A")"#,
            r#"sig=("")"#,
            r#"sig=("\a")"#,
            r#"sig=("é")"#,
            r#"sig=("@foo")"#,
            r#"sig=("@signature-params")"#,
            r#"sig=("a" "a")"#,
            r#"sig=("a";sf;req "a";req;sf)"#,
            r#"sig=("a";sf=?1)"#,
            r#"sig=("a";sf=?0)"#,
            r#"sig=("a"; sf)"#,
            r#"sig=("a";x)"#,
            r#"sig=("a";key=b)"#,
            r#"sig=("a";bs;sf)"#,
            r#"sig=("@path";tr)"#,
            r#"sig=("@query-param")"#,
            "sig=();",
            "sig=(); created=1",
            "sig=();created",
            "sig=();created=",
            "sig=();created=-1",
            "sig=();created=+1",
            "sig=();created=01",
            "sig=();created=00",
            "sig=();created=1.5",
            "sig=();created=1000000000000000",
            "sig=();created=@1",
            "sig=();Created=1",
            "sig=();nonce=x",
            r#"sig=();nonce="x"#,
            r#"sig=();nonce="\"""#,
            "sig=();nonce=:AA==:",
            "sig=();nonce=?1",
            "sig=();created=1;created=1",
        ] {
            assert!(input(raw).is_none(), "{raw}");
        }
    }

    #[test]
    fn there_are_at_most_32_components_and_as_many_parameters() {
        let components = |number| {
            let components: Vec<_> = (0..number).map(|number| format!("\"a{number}\"")).collect();
            format!("sig=({})", components.join(" "))
        };
        let parameters = |number| {
            let parameters: String = (0..number).map(|number| format!(";a{number}=1")).collect();
            format!("sig=(){parameters}")
        };
        assert!(input(&components(32)).is_some() && input(&parameters(32)).is_some());
        for (raw, malformed) in [
            (components(33), Malformed::TooManyComponents),
            (parameters(33), Malformed::TooManyParameters),
        ] {
            assert!(input(&raw).is_none(), "{raw}");
            let read = SignatureInput::parse_member(&raw).unwrap();
            assert_eq!(read.components(), Err(malformed.clone()), "{raw}");
            assert_eq!(read.signature_params(), Err(malformed), "{raw}");
        }
    }
}
