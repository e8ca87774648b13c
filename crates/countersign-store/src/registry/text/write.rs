use std::fmt::{self, Write};

use countersign::{Algorithm, Timestamp};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{VERSION, entry::Line, stored::Stored};
use crate::registry::{Registry, error::RegistryError};

const HEADING: &str = "\
# The applications and keys of a registry, as `countersign registry export` writes them. `countersign registry apply` makes a
# registry so. An export does not keep comments.
";

impl Registry {
    /// Returns the applications and keys as text, in the form of [`RegistryText`](crate::RegistryText): sorted, one thing on a line,
    /// and the same for the same content. The keys of removed applications are left out.
    ///
    /// # Errors
    ///
    /// [`RegistryError::DamagedApplication`] or [`RegistryError::DamagedCredential`] for a damaged row, which the text would
    /// lose; or an error of the database.
    pub async fn export(&self) -> Result<String, RegistryError> {
        Ok(write(&self.stored().await?))
    }
}

/// Writes the text of a registry.
fn write(stored: &Stored) -> String {
    let mut text = format!("{HEADING}version = {VERSION}\n");
    for (name, application) in &stored.applications {
        let name = Name(name.as_str());
        text.push_str(&format!("\n[application.{name}]\n"));
        push(&mut text, application.entry.lines());
        for (key, stored) in &application.keys {
            text.push('\n');
            if stored.entry.key.algorithm() == Algorithm::HmacSha256 {
                text.push_str(
                    "# An HMAC secret, which is not in this text.
",
                );
            }
            text.push_str(&format!("[application.{name}.key.{}]\n", Name(key)));
            push(&mut text, stored.entry.lines());
        }
    }
    text
}

fn push(text: &mut String, lines: Vec<(String, Line)>) {
    for (name, line) in lines {
        text.push_str(&format!("{name} = {line}\n"));
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) if text.contains('\n') => {
                write!(f, "\"\"\"\n{}\"\"\"", Escaped { text, keep: '\n' })
            }
            Self::Text(text) => Quoted(text).fmt(f),
            Self::Time(time) => f.write_str(&moment(*time)),
            Self::List(items) => {
                f.write_str("[\n")?;
                items.iter().try_for_each(|item| writeln!(f, "    {},", Quoted(item)))?;
                f.write_char(']')
            }
        }
    }
}

/// Writes a time in RFC 3339, which TOML has as a type, or after the year 9999 in seconds.
fn moment(time: Timestamp) -> String {
    let moment = i64::try_from(time.unix()).ok();
    let moment = moment.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let text = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    text.unwrap_or_else(|| time.unix().to_string())
}

/// A text in quotes.
pub(super) struct Quoted<'t>(pub(super) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Escaped { text: self.0, keep: ' ' })
    }
}

/// The name of a table, in quotes where it needs them.
struct Name<'t>(&'t str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match !self.0.is_empty() && self.0.bytes().all(bare) {
            true => f.write_str(self.0),
            false => Quoted(self.0).fmt(f),
        }
    }
}

/// The inside of a basic string of TOML.
struct Escaped<'t> {
    text: &'t str,
    /// A control character that stays as it is.
    keep: char,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.chars().try_for_each(|character| match character {
            '"' | '\\' => write!(f, "\\{character}"),
            '\n' if self.keep != '\n' => f.write_str("\\n"),
            control if control.is_control() && control != self.keep => {
                write!(f, "\\u{:04X}", u32::from(control))
            }
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "\\PC*|[a\"\\\\\n\r\t\u{0}\u{85}]*", name in "[a\" .\\\\é\n]+") {
            let written = format!("{} = {}", Name(&name), Line::Text(text.clone()));
            let read: toml::Table = written.parse().unwrap();
            prop_assert_eq!(read[&name].as_str(), Some(text.as_str()));
            let list = vec![text, name];
            let written = format!("list = {}", Line::List(list.clone()));
            let read: toml::Table = written.parse().unwrap();
            prop_assert_eq!(read["list"].clone().try_into::<Vec<String>>().unwrap(), list);
        }
    }

    #[test]
    fn times_are_written_as_times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_763_900_000, "2025-11-23T12:13:20Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "253402300800"),
        ] {
            assert_eq!(moment(Timestamp::from_unix(seconds)), text);
        }
    }
}
