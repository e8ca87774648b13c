//! Values of structured fields, in the one form that RFC 9651 §4.1 serialises them to.

use std::{collections::BTreeSet, convert::Infallible};

use sfv::{
    Dictionary, FieldType as _, Item, KeyRef, List, ListSerializer, Parser,
    visitor::{DictionaryVisitor, EntryVisitor},
};

use crate::FieldType;

/// Why a field has no such value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// It is not of its type, or that type has no members.
    Malformed,
    /// It has no such member.
    Absent,
}

/// The whole value.
pub(crate) fn strict(value: &str, field_type: FieldType) -> Result<String, NoValue> {
    let parser = Parser::new(value);
    // What has no members has no serialisation, and a field that is present and empty has an empty value.
    let text = match field_type {
        FieldType::Item => parser.parse::<Item>().map(|item| item.serialize()),
        FieldType::List => parser.parse::<List>().map(|list| list.serialize().unwrap_or_default()),
        FieldType::Dictionary => {
            parser.parse::<Dictionary>().map(|members| members.serialize().unwrap_or_default())
        }
    };
    text.map_err(|_| NoValue::Malformed)
}

/// The members that are asked for of a Dictionary, which may have thousands.
pub(crate) struct Members(Dictionary);

impl Members {
    /// Reads a whole field, and keeps the members with these keys.
    pub(crate) fn read(
        value: &str,
        field_type: FieldType,
        keys: &BTreeSet<&str>,
    ) -> Result<Self, NoValue> {
        match field_type {
            FieldType::Dictionary => {}
            FieldType::Item | FieldType::List => return Err(NoValue::Malformed),
        }
        let asked = Asked { keys, members: Dictionary::new() };
        let members = Parser::new(value).parse_dictionary_with_visitor(asked);
        members.map(Self).map_err(|_| NoValue::Malformed)
    }

    /// The value of one of them.
    pub(crate) fn value(&self, key: &str) -> Result<String, NoValue> {
        // A list of one is written as that one alone.
        let mut list = ListSerializer::new();
        list.members(self.0.get(key));
        list.finish().ok_or(NoValue::Absent)
    }
}

struct Asked<'k> {
    keys: &'k BTreeSet<&'k str>,
    members: Dictionary,
}

impl<'de> DictionaryVisitor<'de> for Asked<'_> {
    type Out = Dictionary;
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        match self.keys.contains(key.as_str()) {
            true => DictionaryVisitor::entry(&mut self.members, key).map(Some),
            false => Ok(None),
        }
    }

    fn finish(self) -> Result<Dictionary, Infallible> {
        Ok(self.members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("a"),
            Just("b"),
            Just("c"),
            Just("=1"),
            Just("=2.50"),
            Just("=?0"),
            Just("=(x y;q)"),
            Just("=\"a, b\""),
            Just(";p=1"),
            Just(";p"),
            Just("="),
            Just(" "),
            Just(", "),
            Just(", "),
            Just(","),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_member_is_that_of_the_whole_dictionary(field in text()) {
            let keys = BTreeSet::from(["a", "b", "", "A"]);
            let ours = Members::read(&field, FieldType::Dictionary, &keys);
            let whole = Parser::new(&field).parse::<Dictionary>();
            prop_assert_eq!(ours.is_ok(), whole.is_ok());
            if let (Ok(ours), Ok(mut whole)) = (ours, whole) {
                for key in keys {
                    let member = whole.swap_remove(key).and_then(|member| vec![member].serialize());
                    prop_assert_eq!(ours.value(key), member.ok_or(NoValue::Absent));
                }
            }
        }
    }

    #[test]
    fn only_a_dictionary_has_members() {
        for field_type in [FieldType::Item, FieldType::List] {
            let members = Members::read("a", field_type, &BTreeSet::from(["a"]));
            assert_eq!(members.err(), Some(NoValue::Malformed));
        }
    }
}
