/// A row of comma-separated values in the making, as RFC 4180 has it: a cell with a comma, a
/// quotation mark or a line break stands in quotation marks, and those within are doubled.
///
/// A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, which can read
/// files or call programs. A [`CsvRow::text`] of that kind gets an apostrophe in front.
#[derive(Debug, Clone, Default)]
pub struct CsvRow(String);

impl CsvRow {
    /// A row without cells.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a cell with a text of an input: a name, a path.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        // A spreadsheet passes over a tab and the end of a line before a formula.
        let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
        if is_formula { self.cell(&format!("'{text}")) } else { self.cell(text) }
    }

    /// Adds a cell with a number, or with a text of this program.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a number, or a text that was made for the cell")]
    pub fn value(self, value: impl ToString) -> Self {
        self.cell(&value.to_string())
    }

    fn cell(mut self, cell: &str) -> Self {
        if cell.contains([',', '"', '\n', '\r']) {
            self.0.extend(["\"", &cell.replace('"', "\"\""), "\""]);
        } else {
            self.0.push_str(cell);
        }
        self.0.push(',');
        self
    }

    /// The row, with a line break at its end.
    pub fn end(mut self) -> String {
        self.0.pop();
        self.0.push('\n');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_would_break_a_row_are_quoted() {
        let row = CsvRow::new().text("a b").text("c,d").text("e\"f").value("g\nh").value("");
        assert_eq!(row.end(), "a b,\"c,d\",\"e\"\"f\",\"g\nh\",\n");
    }

    #[test]
    fn a_name_is_no_formula_and_a_number_stays_one() {
        let row = CsvRow::new().text("=cmd|' /C calc'!A0").text("+1").text("-a.png").text("@b").text("a=b");
        assert_eq!(row.end(), "'=cmd|' /C calc'!A0,'+1,'-a.png,'@b,a=b\n");
        assert_eq!(CsvRow::new().text("\t=1").text("\r=1").end(), "'\t=1,\"'\r=1\"\n");
        assert_eq!(CsvRow::new().value(-1.5).value("-inf").end(), "-1.5,-inf\n");
    }
}
