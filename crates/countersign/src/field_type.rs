/// Which kind of structured field a field is (RFC 9651 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// One Item.
    Item,
    /// A List.
    List,
    /// A Dictionary.
    Dictionary,
}

/// Which fields are structured. Of others the components `sf` and `key` have no value (RFC 9421 §2.1.1, §2.1.2).
///
/// Known are those that the RFCs define as structured, and what a service adds for fields of its own.
#[derive(Clone, Copy, Debug)]
pub struct FieldTypes<'t>(&'t [(&'t str, FieldType)]);

/// From the HTTP Field Name registry.
const REGISTERED: [(&str, FieldType); 20] = [
    ("accept-ch", FieldType::List),
    ("accept-signature", FieldType::Dictionary),
    ("available-dictionary", FieldType::Item),
    ("cache-status", FieldType::List),
    ("capsule-protocol", FieldType::Item),
    ("cdn-cache-control", FieldType::Dictionary),
    ("client-cert", FieldType::Item),
    ("client-cert-chain", FieldType::List),
    ("content-digest", FieldType::Dictionary),
    ("deprecation", FieldType::Item),
    ("dictionary-id", FieldType::Item),
    ("origin-agent-cluster", FieldType::Item),
    ("priority", FieldType::Dictionary),
    ("proxy-status", FieldType::List),
    ("repr-digest", FieldType::Dictionary),
    ("signature", FieldType::Dictionary),
    ("signature-input", FieldType::Dictionary),
    ("use-as-dictionary", FieldType::Dictionary),
    ("want-content-digest", FieldType::Dictionary),
    ("want-repr-digest", FieldType::Dictionary),
];

impl<'t> FieldTypes<'t> {
    /// The registered fields alone.
    pub const REGISTERED: FieldTypes<'static> = FieldTypes(&[]);

    /// The registered fields, and these: names in lower case.
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
