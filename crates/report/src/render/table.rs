use fmam_core::shown;

use crate::model::layout::{Cell, Layout};
use crate::text::{Markup, points, spread_percent};

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table of text, for Markdown or for a terminal.
pub(crate) struct Table {
    header: Vec<String>,
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of the report with its cells as `markup` has them.
    pub(crate) fn laid_out(layout: &Layout, markup: Markup) -> Self {
        let align = |k| if k < layout.n_names { Align::Left } else { Align::Right };
        let titles = layout.header.iter().enumerate().map(|(k, title)| (markup.name(title), align(k)));
        let mut table = Self::new(titles);
        let none = || "–".to_owned();
        for row in &layout.rows {
            table.row(row.iter().map(|cell| match cell {
                Cell::Name(name) => markup.name(name),
                Cell::Code(name) => markup.code(name),
                Cell::Ours(estimate, rank) => markup.ranked(spread_percent(*estimate), *rank),
                Cell::Paper(figure) => figure.map_or_else(none, |figure| format!("{figure:.1}")),
                Cell::Difference(difference) => difference.map_or_else(none, points),
            }));
        }
        table
    }

    pub(crate) fn new(columns: impl IntoIterator<Item = (impl Into<String>, Align)>) -> Self {
        let (header, align) = columns.into_iter().map(|(title, align)| (title.into(), align)).unzip();
        Self { header, align, rows: Vec::new() }
    }

    /// Appends a row; missing cells are empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.header.len(), String::new());
        self.rows.push(row);
    }

    /// The titles with their sides.
    pub(crate) fn header(&self) -> impl Iterator<Item = (&str, Align)> {
        self.aligned(&self.header)
    }

    /// The cells of each row with their sides.
    pub(crate) fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = (&str, Align)>> {
        self.rows.iter().map(|row| self.aligned(row))
    }

    fn aligned<'a>(&'a self, cells: &'a [String]) -> impl Iterator<Item = (&'a str, Align)> {
        cells.iter().map(String::as_str).zip(self.align.iter().copied())
    }

    /// A Markdown table whose source is aligned too.
    pub(crate) fn markdown(&self) -> String {
        // The delimiter row needs three dashes.
        let widths: Vec<usize> = self.widths().into_iter().map(|width| width.max(3)).collect();
        let rule: Vec<String> = widths
            .iter()
            .zip(&self.align)
            .map(|(&width, align)| match align {
                Align::Left => "-".repeat(width),
                Align::Right => format!("{}:", "-".repeat(width - 1)),
            })
            .collect();
        let mut text = String::new();
        for row in [&self.header, &rule].into_iter().chain(&self.rows) {
            text.push_str(&format!("| {} |\n", self.padded(row, &widths).join(" | ")));
        }
        text
    }

    /// Columns two spaces apart under a rule, with cells that cannot act on a terminal. No trailing
    /// spaces.
    pub(crate) fn terminal(&self) -> String {
        let rows = self.rows.iter().map(|row| row.iter().map(|cell| shown(cell).into_owned()).collect());
        let table = Self { header: self.header.clone(), align: self.align.clone(), rows: rows.collect() };
        let widths = table.widths();
        let rule: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
        let mut text = String::new();
        for row in [&table.header, &rule].into_iter().chain(&table.rows) {
            text.push_str(table.padded(row, &widths).join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.fold(self.header[column].chars().count(), usize::max)
        };
        (0..self.header.len()).map(width).collect()
    }

    fn padded(&self, row: &[String], widths: &[usize]) -> Vec<String> {
        row.iter()
            .zip(widths.iter().zip(&self.align))
            .map(|(cell, (&width, align))| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn columns_are_aligned_by_characters_not_bytes() {
        let mut table = Table::new([("name", Align::Left), ("±", Align::Right)]);
        table.row(["a long name", "98.2 ± 0.3"]);
        table.row(["b", "7.1"]);
        table.row(["c"]);
        expect![[r#"
            | name        |          ± |
            | ----------- | ---------: |
            | a long name | 98.2 ± 0.3 |
            | b           |        7.1 |
            | c           |            |
        "#]]
        .assert_eq(&table.markdown());
        expect![[r#"
            name                  ±
            ───────────  ──────────
            a long name  98.2 ± 0.3
            b                   7.1
            c
        "#]]
        .assert_eq(&table.terminal());
    }
}
