/// Writes rows under a heading, in columns as wide as their widest cell. Without rows the text is empty.
pub(crate) fn columns<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    lines(&heading.map(|name| Column { name, align: Align::Left }), rows)
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column<'n> {
    pub(crate) name: &'n str,
    pub(crate) align: Align,
}

/// Where the cells of a column begin or end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Align {
    Left,
    /// For numbers.
    Right,
}

/// Writes rows under the names of their columns, as wide as their widest cell. Without rows the text is empty.
pub(crate) fn lines<R: AsRef<[String]>>(columns: &[Column<'_>], rows: &[R]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heading: Vec<_> = columns.iter().map(|column| column.name.to_owned()).collect();
    let all = || std::iter::once(heading.as_slice()).chain(rows.iter().map(AsRef::as_ref));
    let mut widths = vec![0; columns.len()];
    for row in all() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(columns.iter().zip(&widths));
        let cells = cells.map(|(cell, (column, width))| match column.align {
            Align::Left => format!("{cell:width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Writes names and values, a line each. A name without a value has no line.
pub(crate) fn facts<const N: usize>(facts: [(&str, Option<String>); N]) -> String {
    let known = |(name, value): (&str, Option<String>)| Some([format!("{name}:"), value?]);
    let rows: Vec<_> = facts.into_iter().filter_map(known).collect();
    let width = rows.iter().map(|[name, _]| name.len()).max().unwrap_or(0);
    rows.iter().map(|[name, value]| format!("{name:width$} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".into(), "long one".into()], ["bücher".into(), String::new()]];
        assert_eq!(columns(["NAME", "X"], &rows), "NAME    X\na       long one\nbücher\n");
        assert_eq!(columns(["NAME"], &[]), "");
    }

    #[test]
    fn numbers_end_below_each_other() {
        let columns =
            [Column { name: "N", align: Align::Right }, Column { name: "X", align: Align::Left }];
        let rows = [["10".into(), "a".into()], ["9".into(), "b".into()]];
        assert_eq!(lines(&columns, &rows), " N  X\n10  a\n 9  b\n");
    }

    #[test]
    fn what_has_no_value_has_no_line() {
        let text = facts([("a", Some("1".into())), ("b", None), ("long", Some("2".into()))]);
        assert_eq!(text, "a:    1\nlong: 2\n");
    }
}
