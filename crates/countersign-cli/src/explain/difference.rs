use std::fmt;

use countersign::BaseDifference;
use serde_json::{Value, json};

use crate::printable::one_line;

/// The first line that differs between the base rebuilt from the message and the base from the other side.
pub(super) struct Difference<'b>(pub(super) BaseDifference<'b>);

impl Difference<'_> {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "line": self.0.line(),
            "component": self.0.component(),
            "here": self.0.here(),
            "expected": self.0.there(),
        })
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |line: Option<&str>| line.map_or("(no such line)".to_owned(), one_line);
        let (line, component) = (self.0.line(), one_line(self.0.component()));
        writeln!(f, "line {line} is the first that differs: {component}")?;
        writeln!(f, "  here:     {}", shown(self.0.here()))?;
        write!(f, "  expected: {}", shown(self.0.there()))
    }
}
