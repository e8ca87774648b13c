//! Values of structured fields, in the one form that RFC 9651 §4.1 serialises them to.

use sfv::{Dictionary, FieldType as _, Item, List, Parser};

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

/// The value of one member of a Dictionary.
pub(crate) fn member(value: &str, field_type: FieldType, key: &str) -> Result<String, NoValue> {
    match field_type {
        FieldType::Dictionary => {}
        FieldType::Item | FieldType::List => return Err(NoValue::Malformed),
    }
    let members = Parser::new(value).parse::<Dictionary>();
    let member = members.map_err(|_| NoValue::Malformed)?.swap_remove(key);
    // A list of one is written as that one alone.
    vec![member.ok_or(NoValue::Absent)?].serialize().ok_or(NoValue::Absent)
}
