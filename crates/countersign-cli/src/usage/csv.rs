/// Writes a line of CSV (RFC 4180).
///
/// Names of products come from strangers. A spreadsheet would take a text that begins with `=` for a formula: such a text gets an
/// apostrophe.
pub(super) fn line<'c>(cells: impl IntoIterator<Item = &'c str>) -> String {
    let cells: Vec<_> = cells.into_iter().map(cell).collect();
    format!("{}\r\n", cells.join(","))
}

fn cell(text: &str) -> String {
    let harmless = match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    match harmless.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", harmless.replace('"', "\"\"")),
        false => harmless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_it_is_needed_and_are_no_formulas() {
        let cells = ["a", "", "b,c", "d\"e", "f\ng", "=1+1", "-x", "+y,z"];
        assert_eq!(line(cells), "a,,\"b,c\",\"d\"\"e\",\"f\ng\",'=1+1,'-x,\"'+y,z\"\r\n");
    }
}
