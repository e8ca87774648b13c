use countersign::{Code, KeyError, KeyId, PublishableKey};
use http::{HeaderMap, header::COOKIE};

/// The publishable key that a request shows beside its signature, in the places where a server looks by default.
#[derive(Debug, Default)]
pub(super) struct Presented {
    key: Option<PublishableKey>,
    in_query: bool,
}

/// Why a server refuses what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadPresented {
    NoKey,
    PrivateKey,
    TwoKeys,
}

impl BadPresented {
    pub(super) const fn code(self) -> Code {
        match self {
            Self::NoKey => Code::KeyUnknown,
            Self::PrivateKey => Code::SignatureRequired,
            Self::TwoKeys => Code::AmbiguousCredential,
        }
    }

    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::NoKey => "what it shows as a publishable key is none",
            Self::PrivateKey => "it shows a private key in the place of a publishable key",
            Self::TwoKeys => {
                "it carries two different keys, or a key in the URL beside a signature"
            }
        }
    }
}

impl Presented {
    pub(super) fn find(headers: &HeaderMap, query: Option<&str>) -> Result<Self, BadPresented> {
        let mut presented = Self::default();
        for value in headers.get_all("x-api-key") {
            let text = value.to_str().map_err(|_| BadPresented::NoKey)?;
            presented.add(text.trim_matches([' ', '\t']))?;
        }
        for text in values(query.unwrap_or(""), '&') {
            presented.add(text)?;
            presented.in_query = true;
        }
        for cookies in headers.get_all(COOKIE) {
            for text in values(&String::from_utf8_lossy(cookies.as_bytes()), ';') {
                presented.add(text)?;
            }
        }
        Ok(presented)
    }

    fn add(&mut self, text: &str) -> Result<(), BadPresented> {
        let key = text.parse().map_err(|error| match error {
            KeyError::WrongKind { .. } => BadPresented::PrivateKey,
            _ => BadPresented::NoKey,
        })?;
        match self.key.replace(key) {
            Some(other) if other != key => Err(BadPresented::TwoKeys),
            _ => Ok(()),
        }
    }

    /// A signed request shows no other key than the one it is signed with, and none in its URL.
    pub(super) fn agrees_with(&self, signing: Option<&KeyId>) -> Result<(), BadPresented> {
        let same = self.key.is_none_or(|shown| signing == Some(&KeyId::Publishable(shown)));
        if same && !self.in_query { Ok(()) } else { Err(BadPresented::TwoKeys) }
    }
}

fn values(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let pairs = text.split(separator).filter_map(|pair| pair.trim_matches(' ').split_once('='));
    pairs.filter(|(name, _)| *name == "api_key").map(|(_, value)| value)
}
