use std::borrow::Cow;

use sfv::{BareItemFromInput, Integer};

/// The value of a parameter, of a component or of a signature, by type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'m> {
    /// A String: printable ASCII, unescaped.
    Text(Cow<'m, str>),
    Integer(Integer),
    /// No value: a Boolean that is true.
    Flag,
    /// A type that no known parameter has.
    Other(BareItemFromInput<'m>),
}

impl<'m> From<BareItemFromInput<'m>> for Value<'m> {
    fn from(value: BareItemFromInput<'m>) -> Self {
        match value {
            BareItemFromInput::String(Cow::Borrowed(text)) => {
                Self::Text(Cow::Borrowed(text.as_str()))
            }
            BareItemFromInput::String(Cow::Owned(text)) => Self::Text(Cow::Owned(text.into())),
            BareItemFromInput::Integer(integer) => Self::Integer(integer),
            BareItemFromInput::Boolean(true) => Self::Flag,
            other => Self::Other(other),
        }
    }
}

/// Writes `;key=value` (RFC 9651 §4.1.1.2).
pub(crate) fn write_parameter(text: &mut String, key: &str, value: &Value<'_>) {
    text.push(';');
    text.push_str(key);
    match value {
        Value::Text(value) => {
            text.push('=');
            write_string(text, value);
        }
        Value::Integer(value) => {
            text.push('=');
            text.push_str(&value.to_string());
        }
        Value::Flag => {}
        Value::Other(value) => {
            text.push('=');
            let _text: &mut String =
                sfv::ItemSerializer::with_buffer(text).bare_item(value).finish();
        }
    }
}

/// Writes a valid String as RFC 9651 §4.1.6 serialises it.
pub(crate) fn write_string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}
