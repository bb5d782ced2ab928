/// A row of comma-separated values as RFC 4180 has it, with a line break at its end: a cell with a
/// comma, a quotation mark or a line break stands in quotation marks, and those within are doubled.
pub(super) fn row<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) -> String {
    let mut row = String::new();
    for cell in cells {
        let cell = cell.as_ref();
        if cell.contains([',', '"', '\n', '\r']) {
            row.extend(["\"", &cell.replace('"', "\"\""), "\""]);
        } else {
            row.push_str(cell);
        }
        row.push(',');
    }
    row.pop();
    row.push('\n');
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_would_break_a_row_are_quoted() {
        assert_eq!(row(["a b", "c,d", "e\"f", "g\nh", ""]), "a b,\"c,d\",\"e\"\"f\",\"g\nh\",\n");
    }
}
