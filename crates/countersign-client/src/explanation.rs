use std::{fmt, sync::Arc};

use countersign::{BaseDifference, SignatureBase};
use http::{HeaderMap, HeaderName, header};

/// How many characters of a value are shown.
const SHOWN: usize = 80;
/// How many of them are from before the place where two values part.
const BEFORE: usize = 24;
/// Fields with secrets, even if they are not marked as sensitive.
const SECRET: [HeaderName; 4] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE, header::SET_COOKIE];

/// How the signature base of the server, from a refusal in explain mode, compares with the signed one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Explanation {
    /// The request changed on the way, or the server is set up differently: this is the first component that differs.
    Differs(DifferentComponent),
    /// The bases are equal. The server has another key for this key id, or no key, or received another signature.
    Same,
}

/// A component whose value at the server differs from the signed one.
///
/// Values are excerpts around the first difference, escaped to one line of ASCII. Fields marked as
/// [sensitive](http::HeaderValue::is_sensitive), `Authorization` and cookies have no excerpt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DifferentComponent {
    /// Its identifier, as `"@path"`, with the quotation marks.
    pub identifier: String,
    /// The signed value. `None` if the component was absent, or is not shown.
    pub signed: Option<String>,
    /// The server's value. `None` if the component was absent, or is not shown.
    pub seen: Option<String>,
}

/// The signature base of the request, in the extensions of its response.
#[derive(Clone)]
pub(crate) struct SignedBase {
    base: Arc<SignatureBase>,
    secret: Arc<[HeaderName]>,
}

impl SignedBase {
    pub(crate) fn new(base: SignatureBase, headers: &HeaderMap) -> Self {
        let sensitive = headers.iter().filter(|(_, value)| value.is_sensitive());
        let secret = sensitive.map(|(name, _)| name.clone()).chain(SECRET).collect();
        Self { base: Arc::new(base), secret }
    }

    /// Compares it with the server's signature base.
    pub(crate) fn explain(&self, seen: &str) -> Explanation {
        match self.base.difference(seen) {
            Some(difference) => Explanation::Differs(self.show(&difference)),
            None => Explanation::Same,
        }
    }

    fn show(&self, difference: &BaseDifference<'_>) -> DifferentComponent {
        let identifier = excerpt(difference.component(), 0);
        let lines = [difference.here(), difference.there()];
        if lines.into_iter().flatten().any(|line| self.is_secret(line)) {
            return DifferentComponent { identifier, signed: None, seen: None };
        }
        let (signed, seen) = (difference.value_here(), difference.value_there());
        let both = signed.unwrap_or_default().chars().zip(seen.unwrap_or_default().chars());
        let part = both.take_while(|(signed, seen)| signed == seen).count();
        let shown = |value: Option<&str>| value.map(|value| excerpt(value, part));
        DifferentComponent { identifier, signed: shown(signed), seen: shown(seen) }
    }

    fn is_secret(&self, line: &str) -> bool {
        let name = line.strip_prefix('"').and_then(|line| line.split('"').next());
        name.is_some_and(|name| self.secret.iter().any(|secret| secret.as_str() == name))
    }
}

/// The part of a value around this character.
fn excerpt(value: &str, around: usize) -> String {
    let from = around.saturating_sub(BEFORE);
    let mut shown = String::from(if from > 0 { "…" } else { "" });
    let mut rest = value.chars().skip(from);
    for character in rest.by_ref().take(SHOWN) {
        match character {
            ' '..='~' => shown.push(character),
            _ => shown.extend(character.escape_default()),
        }
    }
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(component) => component.fmt(f),
            Self::Same => f.write_str(
                "the server saw all that was signed as it was signed, so that it has another key for this key id, or none",
            ),
        }
    }
}

impl fmt::Display for DifferentComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identifier, signed, seen } = self;
        write!(f, "the first component that differs is {identifier}")?;
        match (signed, seen) {
            (Some(signed), Some(seen)) => write!(f, ": signed `{signed}`, the server saw `{seen}`"),
            (Some(signed), None) => write!(f, ": signed `{signed}`, the server saw no such one"),
            (None, Some(seen)) => write!(f, ": not signed, the server saw `{seen}`"),
            (None, None) => f.write_str(", whose values are not shown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign::{Component, Message, Origin, RequestHead, SignatureParams, Target, sign};
    use http::{HeaderValue, Method, Uri};

    use super::*;

    /// A base of what such requests have, and two fields more.
    fn signed() -> SignedBase {
        let origin: Origin = "https://api.example.com".parse().unwrap();
        let uri = Uri::from_static("/v1/orders");
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
        headers.insert("x-note", HeaderValue::from_str(&"n".repeat(400)).unwrap());
        let mut pin = HeaderValue::from_static("1234");
        pin.set_sensitive(true);
        headers.insert("x-pin", pin);
        let head = RequestHead {
            method: &Method::POST,
            target: Target::origin_form(&uri),
            origin: &origin,
            headers: &headers,
        };
        let names = ["@method", "@path", "authorization", "x-note", "x-pin"];
        let params = SignatureParams {
            label: "sig",
            components: names.map(|name| name.parse::<Component<'_>>().unwrap()).into(),
            created: None,
            expires: None,
            nonce: None,
            key_id: None,
            algorithm: None,
            tag: None,
        };
        let key = countersign::PrivateKey::ed25519(&[7; 32]);
        let fields = sign(&Message::from(head), &key, &params).unwrap();
        SignedBase::new(fields.base, &headers)
    }

    #[test]
    fn what_differs_is_told_and_no_secret_is() {
        let signed = signed();
        let base = signed.base.as_str();
        let said = |seen: &str| signed.explain(seen).to_string();
        let differs = "the first component that differs is";
        let table = [
            (
                base.replace("/v1/orders", "/orders"),
                format!("{differs} \"@path\": signed `/v1/orders`, the server saw `/orders`"),
            ),
            (
                base.replace("Bearer secret", "Basic hidden"),
                format!("{differs} \"authorization\", whose values are not shown"),
            ),
            (
                base.replace("1234", "123"),
                format!("{differs} \"x-pin\", whose values are not shown"),
            ),
            (
                base.replace("\"@path\": /v1/orders\n", ""),
                format!("{differs} \"@path\", whose values are not shown"),
            ),
            (
                base.replace("/v1/orders", "\u{1b}[31m\u{202e}"),
                format!(
                    "{differs} \"@path\": signed `/v1/orders`, the server saw `\\u{{1b}}[31m\\u{{202e}}`"
                ),
            ),
            (
                String::new(),
                format!("{differs} \"@method\": signed `POST`, the server saw no such one"),
            ),
            (
                format!("{base}\n\"x-more\": 1"),
                format!("{differs} \"x-more\": not signed, the server saw `1`"),
            ),
            (
                format!("{base}\n\"cookie\": c"),
                format!("{differs} \"cookie\", whose values are not shown"),
            ),
        ];
        for (seen, expected) in table {
            assert_eq!(said(&seen), expected);
            let debug = format!("{:?}", signed.explain(&seen));
            for secret in ["secret", "hidden", "123"] {
                assert!(!debug.contains(secret), "{debug}");
            }
        }
        assert_eq!(signed.explain(base), Explanation::Same);
    }

    #[test]
    fn what_is_told_is_short_and_shows_where_values_part() {
        let signed = signed();
        let base = signed.base.as_str();
        let long = base
            .replace(&"n".repeat(400), &format!("{}{}", "n".repeat(300), "\u{7}".repeat(60_000)));
        let said = signed.explain(&long).to_string();
        assert!(said.contains("nnn\\u{7}\\u{7}") && said.len() < 1000, "{said}");
        let named = format!("{base}\n\"{}\": 1", "x".repeat(60_000));
        assert!(signed.explain(&named).to_string().len() < 1000);
    }
}
