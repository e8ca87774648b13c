/// The first line in which two signature bases differ, by [`SignatureBase::difference`](crate::SignatureBase::difference).
///
/// Its lines are field values, which may be secret. Those of the other base are text of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseDifference<'b> {
    line: usize,
    here: Option<&'b str>,
    there: Option<&'b str>,
}

impl<'b> BaseDifference<'b> {
    /// `None` if the bases are equal. Accepts CRLF, and a line break at the end, which is no part of the base.
    pub(crate) fn first(here: &'b str, there: &'b str) -> Option<Self> {
        let (mut here, mut there) = (here.lines(), there.lines());
        for line in 1.. {
            match (here.next(), there.next()) {
                (None, None) => break,
                (here, there) if here != there => return Some(Self { line, here, there }),
                _ => {}
            }
        }
        None
    }

    /// Its number, counted from 1.
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The line of the first base; `None` after its end.
    pub const fn here(&self) -> Option<&'b str> {
        self.here
    }

    /// The line of the other base; `None` after its end.
    pub const fn there(&self) -> Option<&'b str> {
        self.there
    }

    /// The component of the line, as the first base identifies it, or else the other base.
    pub fn component(&self) -> &'b str {
        self.here.or(self.there).map_or("", |line| split(line).0)
    }

    /// The first base's value of the component; `None` if it has no such line.
    pub fn value_here(&self) -> Option<&'b str> {
        self.here.map(|line| split(line).1)
    }

    /// The other base's value of the component, or its whole line if that is of another component.
    pub fn value_there(&self) -> Option<&'b str> {
        let (identifier, value) = split(self.there?);
        if identifier == self.component() { Some(value) } else { self.there }
    }
}

/// The identifier, before the first colon outside a string, and the value after it.
fn split(line: &str) -> (&str, &str) {
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
    let Some((identifier, rest)) = end.and_then(|end| line.split_at_checked(end)) else {
        return (line, "");
    };
    (identifier, rest.strip_prefix(": ").unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str =
        "\"@method\": GET\n\"@query-param\";name=\"a: \\\":b\": c\n\"@signature-params\": ()";

    #[test]
    fn the_first_line_that_differs_names_its_component() {
        let param = "\"@query-param\";name=\"a: \\\":b\"";
        let of_another = "\"@query-param\";name=\"a: \\\":b\": c";
        let table = [
            (BASE.replacen("GET", "PUT", 1), 1, "\"@method\"", Some("GET"), Some("PUT")),
            (BASE.replacen(": c", ": d", 1), 2, param, Some("c"), Some("d")),
            (
                BASE.replacen("()", "();created=1", 1),
                3,
                "\"@signature-params\"",
                Some("()"),
                Some("();created=1"),
            ),
            (
                BASE.replacen("\"@method\": GET\n", "", 1),
                1,
                "\"@method\"",
                Some("GET"),
                Some(of_another),
            ),
            (format!("{BASE}\n\"x\": 1"), 4, "\"x\"", None, Some("1")),
            (BASE.replacen("GET", "GET ", 1), 1, "\"@method\"", Some("GET"), Some("GET ")),
            (BASE.replacen(": GET", "", 1), 1, "\"@method\"", Some("GET"), Some("")),
            (String::new(), 1, "\"@method\"", Some("GET"), None),
        ];
        for (there, line, component, here, value) in table {
            let difference = BaseDifference::first(BASE, &there).unwrap();
            assert_eq!((difference.line(), difference.component()), (line, component), "{there}");
            assert_eq!((difference.value_here(), difference.value_there()), (here, value));
        }
    }

    #[test]
    fn line_ends_are_no_difference() {
        for same in [BASE.to_owned(), format!("{BASE}\n"), BASE.replace('\n', "\r\n")] {
            assert_eq!(BaseDifference::first(BASE, &same), None, "{same:?}");
        }
    }
}
