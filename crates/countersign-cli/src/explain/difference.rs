use std::fmt;

use serde_json::{Value, json};

use crate::failure::one_line;

/// The first line in which two signature bases differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference<'b> {
    /// Counted from 1.
    line: usize,
    /// As rebuilt from the message.
    here: Option<&'b str>,
    /// As the other side signed it.
    expected: Option<&'b str>,
}

impl<'b> Difference<'b> {
    /// `None` if they are the same. Line breaks may be CRLF, and a last one is none of the base.
    pub(super) fn first(here: &'b str, expected: &'b str) -> Option<Self> {
        let (mut here, mut expected) = (here.lines(), expected.lines());
        for line in 1.. {
            match (here.next(), expected.next()) {
                (None, None) => break,
                (here, expected) if here != expected => return Some(Self { line, here, expected }),
                _ => {}
            }
        }
        None
    }

    /// The component that the line is of, by the side that has one.
    fn component(&self) -> &'b str {
        self.here.or(self.expected).map_or("", identifier)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "line": self.line,
            "component": self.component(),
            "here": self.here,
            "expected": self.expected,
        })
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |line: Option<&str>| line.map_or("(no such line)".to_owned(), one_line);
        writeln!(
            f,
            "line {} is the first that differs: {}",
            self.line,
            one_line(self.component())
        )?;
        writeln!(f, "  here:     {}", shown(self.here))?;
        write!(f, "  expected: {}", shown(self.expected))
    }
}

/// What stands before the first colon that is not within a string.
fn identifier(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    let end = line.find(|character| {
        let ends = character == ':' && !quoted;
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => {}
        }
        ends
    });
    end.and_then(|end| line.get(..end)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str =
        "\"@method\": GET\n\"@query-param\";name=\"a: \\\":b\": c\n\"@signature-params\": ()";

    #[test]
    fn the_first_line_that_differs_names_its_component() {
        let table = [
            (BASE.replacen("GET", "PUT", 1), 1, "\"@method\""),
            (BASE.replacen(": c", ": d", 1), 2, "\"@query-param\";name=\"a: \\\":b\""),
            (BASE.replacen("()", "();created=1", 1), 3, "\"@signature-params\""),
            (BASE.replacen("\"@method\": GET\n", "", 1), 1, "\"@method\""),
            (format!("{BASE}\n\"x\": 1"), 4, "\"x\""),
            (BASE.replacen("GET", "GET ", 1), 1, "\"@method\""),
            (String::new(), 1, "\"@method\""),
        ];
        for (expected, line, component) in table {
            let difference = Difference::first(BASE, &expected).unwrap();
            assert_eq!((difference.line, difference.component()), (line, component), "{expected}");
        }
    }

    #[test]
    fn line_ends_are_no_difference() {
        for same in [BASE.to_owned(), format!("{BASE}\n"), BASE.replace('\n', "\r\n")] {
            assert_eq!(Difference::first(BASE, &same), None, "{same:?}");
        }
    }
}
