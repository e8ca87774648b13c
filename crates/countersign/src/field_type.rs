use std::str::FromStr;

/// The type of a structured field (RFC 9651 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// One Item.
    Item,
    /// A List.
    List,
    /// A Dictionary.
    Dictionary,
}

impl FromStr for FieldType {
    type Err = UnknownFieldType;

    /// `item`, `list` or `dictionary`.
    fn from_str(text: &str) -> Result<Self, UnknownFieldType> {
        match text {
            "item" => Ok(Self::Item),
            "list" => Ok(Self::List),
            "dictionary" => Ok(Self::Dictionary),
            _ => Err(UnknownFieldType),
        }
    }
}

/// The text is not `item`, `list` or `dictionary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a structured field is an item, a list or a dictionary")]
pub struct UnknownFieldType;

/// The types of structured fields. Components with `sf` and `key` of other fields have no value (RFC 9421 §2.1.1,
/// §2.1.2).
///
/// It has the structured fields of the HTTP Field Name registry, and those that a service adds.
#[derive(Clone, Copy, Debug)]
pub struct FieldTypes<'t>(&'t [(&'t str, FieldType)]);

/// The structured fields of the HTTP Field Name registry, including its provisional ones, and of drafts in use, such as
/// the `Signature-Agent` of Web Bot Auth (draft-meunier-web-bot-auth-architecture).
const REGISTERED: [(&str, FieldType); 60] = [
    ("accept-ch", FieldType::List),
    ("accept-query", FieldType::List),
    ("accept-signature", FieldType::Dictionary),
    ("activate-storage-access", FieldType::Item),
    ("available-dictionary", FieldType::Item),
    ("cache-group-invalidation", FieldType::List),
    ("cache-groups", FieldType::List),
    ("cache-status", FieldType::List),
    ("capsule-protocol", FieldType::Item),
    ("cdn-cache-control", FieldType::Dictionary),
    ("client-cert", FieldType::Item),
    ("client-cert-chain", FieldType::List),
    ("concealed-auth-export", FieldType::Item),
    ("content-digest", FieldType::Dictionary),
    ("critical-ch", FieldType::List),
    ("cross-origin-embedder-policy", FieldType::Item),
    ("cross-origin-embedder-policy-report-only", FieldType::Item),
    ("cross-origin-opener-policy", FieldType::Item),
    ("cross-origin-opener-policy-report-only", FieldType::Item),
    ("deprecation", FieldType::Item),
    ("dictionary-id", FieldType::Item),
    ("idempotency-key", FieldType::Item),
    ("incremental", FieldType::Item),
    ("link-template", FieldType::List),
    ("no-vary-search", FieldType::Dictionary),
    ("observe-browsing-topics", FieldType::Item),
    ("origin-agent-cluster", FieldType::Item),
    ("permissions-policy", FieldType::Dictionary),
    ("permissions-policy-report-only", FieldType::Dictionary),
    ("priority", FieldType::Dictionary),
    ("proxy-status", FieldType::List),
    ("ratelimit", FieldType::List),
    ("ratelimit-policy", FieldType::List),
    ("reporting-endpoints", FieldType::Dictionary),
    ("repr-digest", FieldType::Dictionary),
    ("sec-ch-ua", FieldType::List),
    ("sec-ch-ua-arch", FieldType::Item),
    ("sec-ch-ua-bitness", FieldType::Item),
    ("sec-ch-ua-form-factors", FieldType::List),
    ("sec-ch-ua-full-version", FieldType::Item),
    ("sec-ch-ua-full-version-list", FieldType::List),
    ("sec-ch-ua-mobile", FieldType::Item),
    ("sec-ch-ua-model", FieldType::Item),
    ("sec-ch-ua-platform", FieldType::Item),
    ("sec-ch-ua-platform-version", FieldType::Item),
    ("sec-ch-ua-wow64", FieldType::Item),
    ("sec-fetch-dest", FieldType::Item),
    ("sec-fetch-mode", FieldType::Item),
    ("sec-fetch-site", FieldType::Item),
    ("sec-fetch-storage-access", FieldType::Item),
    ("sec-fetch-user", FieldType::Item),
    ("sec-purpose", FieldType::Item),
    ("signature", FieldType::Dictionary),
    ("signature-agent", FieldType::Dictionary),
    ("signature-input", FieldType::Dictionary),
    ("unencoded-digest", FieldType::Dictionary),
    ("use-as-dictionary", FieldType::Dictionary),
    ("want-content-digest", FieldType::Dictionary),
    ("want-repr-digest", FieldType::Dictionary),
    ("want-unencoded-digest", FieldType::Dictionary),
];

impl<'t> FieldTypes<'t> {
    /// The registered fields alone.
    pub const REGISTERED: FieldTypes<'static> = FieldTypes(&[]);

    /// The registered fields and these: names in lower case. For a registered field, the type given here is used.
    pub const fn with(added: &'t [(&'t str, FieldType)]) -> Self {
        Self(added)
    }

    pub(crate) fn of(&self, name: &str) -> Option<FieldType> {
        let known = self.0.iter().chain(&REGISTERED);
        known.copied().find(|(other, _)| *other == name).map(|(_, field_type)| field_type)
    }
}

impl Default for FieldTypes<'_> {
    fn default() -> Self {
        Self::REGISTERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_known_and_a_service_can_add_to_it_or_know_better() {
        for (name, field_type) in [
            ("priority", FieldType::Dictionary),
            ("signature-agent", FieldType::Dictionary),
            ("cross-origin-opener-policy", FieldType::Item),
            ("permissions-policy", FieldType::Dictionary),
            ("sec-ch-ua", FieldType::List),
            ("concealed-auth-export", FieldType::Item),
            ("link-template", FieldType::List),
        ] {
            assert_eq!(FieldTypes::REGISTERED.of(name), Some(field_type), "{name}");
        }
        for unstructured in ["cookie", "date", "x-limits", "cache-control", "Priority", ""] {
            assert_eq!(FieldTypes::REGISTERED.of(unstructured), None, "{unstructured}");
        }
        let own = [("x-limits", FieldType::List), ("signature-agent", FieldType::Item)];
        let own = FieldTypes::with(&own);
        assert_eq!(own.of("x-limits"), Some(FieldType::List));
        assert_eq!(own.of("signature-agent"), Some(FieldType::Item));
        assert_eq!(own.of("priority"), Some(FieldType::Dictionary));
        let mut names = REGISTERED.map(|(name, _)| name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "each once");
    }

    #[test]
    fn a_type_is_read_by_its_name() {
        let named = ["item", "list", "dictionary"].map(str::parse);
        let types = [FieldType::Item, FieldType::List, FieldType::Dictionary].map(Ok);
        assert_eq!(named, types);
        assert_eq!("Item".parse::<FieldType>(), Err(UnknownFieldType));
    }
}
