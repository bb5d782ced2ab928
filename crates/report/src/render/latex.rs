//! The results as LaTeX tables with the rules of the package `booktabs`.

use crate::model::layout::{self, Cell, Layout};
use crate::{Estimate, Report};

impl Report {
    /// The text of `report.tex`: tables to be taken into a paper with `\input`, which needs
    /// `\usepackage{booktabs}`. The results on each data set, then where there are several of them
    /// the paper's Table 1 (data sets) and Table 4 (backbones), and the figures of each category.
    /// Per cent; mean over the categories, then mean and sample standard deviation over the seeds;
    /// the best of a column, in the last tables of a line, bold, the second best underlined. Where
    /// the paper has figures, they and the differences to them stand beside.
    pub fn latex(&self) -> String {
        let mut text = "% Written by fmam. Needs \\usepackage{booktabs}.\n".to_owned();
        let mut tables: Vec<Layout> = self.datasets().map(layout::results).collect();
        tables.extend(layout::table_1(self));
        tables.extend(self.datasets().flat_map(layout::table_4));
        tables.extend(self.datasets().flat_map(|rows| layout::by_category(self, rows)));
        tables.iter().for_each(|layout| text.push_str(&table(layout)));
        text
    }
}

fn table(layout: &Layout) -> String {
    let columns = "l".repeat(layout.n_names) + &"r".repeat(layout.header.len() - layout.n_names);
    let header: Vec<String> = layout.header.iter().map(|title| escape(title)).collect();
    let mut text = format!(
        "\n% {}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{} \\\\\n\\midrule\n",
        escape(&layout.title),
        header.join(" & ")
    );
    for row in &layout.rows {
        let cells: Vec<String> = row.iter().map(cell).collect();
        text.push_str(&format!("{} \\\\\n", cells.join(" & ")));
    }
    text + "\\bottomrule\n\\end{tabular}\n"
}

fn cell(cell: &Cell) -> String {
    let none = || "--".to_owned();
    match cell {
        Cell::Name(name) | Cell::Code(name) => escape(name),
        Cell::Ours(estimate, rank) => {
            let text = spread(*estimate);
            match rank {
                Some(0) => format!("\\textbf{{{text}}}"),
                Some(1) => format!("\\underline{{{text}}}"),
                _ => text,
            }
        }
        Cell::Paper(figure) => figure.map_or_else(none, |figure| format!("{figure:.1}")),
        Cell::Difference(points) => points.map_or_else(none, |points| {
            // No negative zero.
            let tenths = (10.0 * points).round() / 10.0 + 0.0;
            if tenths == 0.0 { "$0.0$".to_owned() } else { format!("${tenths:+.1}$") }
        }),
    }
}

fn spread(estimate: Option<Estimate>) -> String {
    match estimate {
        None => "--".to_owned(),
        Some(Estimate { mean, std: None, .. }) => format!("{:.1}", 100.0 * mean),
        Some(Estimate { mean, std: Some(std), .. }) => {
            format!("{:.1} $\\pm$ {:.1}", 100.0 * mean, 100.0 * std)
        }
    }
}

/// Text in which LaTeX takes no character for a command.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', c]),
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            // At the begin of a row they would belong to the `\\` before it.
            '[' | ']' | '*' => escaped.extend(['{', c, '}']),
            c if c.is_control() => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use fmam_metrics::{AUPRO, IMAGE_AUROC};

    use super::*;
    use crate::fixture::{raise, record};

    #[test]
    fn a_row_that_begins_like_an_argument_is_text() {
        assert_eq!(escape("[1ex] *\u{7}\n"), "{[}1ex{]} {*}  ");
        let report = Report::from_records(vec![record("mvtec", "screw", "[2cm]", 0)]);
        assert!(report.latex().contains("\n{[}2cm{]} & resnet18"), "{}", report.latex());
    }

    #[test]
    fn a_table_for_each_data_set() {
        let mut runs = vec![record("magnetic_tile", "tile", "own_50%", 0)];
        for seed in 0..2 {
            runs.push(record("mvtec", "screw", "rkd", seed));
            let mut better = record("mvtec", "screw", "rkd+fmam", seed);
            raise(&mut better, &IMAGE_AUROC, 0.02);
            better.metrics.set(&AUPRO, None);
            runs.push(better);
        }
        expect![[r#"
            % Written by fmam. Needs \usepackage{booktabs}.

            % magnetic\_tile
            \begin{tabular}{llrrr}
            \toprule
            Method & Backbone & Image AUROC & Pixel AUROC & AUPRO \\
            \midrule
            own\_50\% & resnet18 & 90.0 & 95.0 & 87.5 \\
            \bottomrule
            \end{tabular}

            % MVTec AD
            \begin{tabular}{llrrrrrrr}
            \toprule
            Method & Backbone & Image AUROC & paper & difference & Pixel AUROC & paper & difference & AUPRO \\
            \midrule
            RKD & resnet18 & \underline{90.5 $\pm$ 0.7} & 96.1 & $-5.6$ & 95.5 $\pm$ 0.7 & 97.1 & $-1.6$ & 87.5 $\pm$ 0.0 \\
            RKD+FMAM & resnet18 & \textbf{92.5 $\pm$ 0.7} & 98.2 & $-5.7$ & 95.5 $\pm$ 0.7 & 97.3 & $-1.8$ & -- \\
            \bottomrule
            \end{tabular}

            % Image-level and pixel-level AUROC of methods on data sets (the paper's Table 1)
            \begin{tabular}{llrrrrrrrr}
            \toprule
            Method & Backbone & magnetic\_tile, image & magnetic\_tile, pixel & MVTec AD, image & paper & difference & MVTec AD, pixel & paper & difference \\
            \midrule
            RKD & resnet18 & -- & -- & \underline{90.5 $\pm$ 0.7} & 96.1 & $-5.6$ & 95.5 $\pm$ 0.7 & 97.1 & $-1.6$ \\
            RKD+FMAM & resnet18 & -- & -- & \textbf{92.5 $\pm$ 0.7} & 98.2 & $-5.7$ & 95.5 $\pm$ 0.7 & 97.3 & $-1.8$ \\
            own\_50\% & resnet18 & 90.0 & 95.0 & -- & -- & -- & -- & -- & -- \\
            \bottomrule
            \end{tabular}
        "#]]
        .assert_eq(&Report::from_records(runs).latex());
    }
}
