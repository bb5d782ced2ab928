//! The results as LaTeX tables with the rules of the package `booktabs`.

use crate::markdown::{Figure, ranks};
use crate::paper::{dataset_title, method_title, published};
use crate::{Estimate, Report, Summary};

const FIGURES: [(&str, Figure); 3] = [
    ("Image AUROC", |row| row.image_auroc),
    ("Pixel AUROC", |row| row.pixel_auroc),
    ("AUPRO", |row| row.aupro),
];

impl Report {
    /// The text of `report.tex`: a table for each data set, to be taken into a paper with `\input`, which needs
    /// `\usepackage{booktabs}`. Per cent; mean over the categories, then mean and sample standard deviation over the seeds; the best of a column
    /// bold, the second best underlined. Where the paper has figures, they and the differences to them stand beside.
    pub fn latex(&self) -> String {
        let mut text = "% Written by fmam. Needs \\usepackage{booktabs}.\n".to_owned();
        for rows in self.datasets() {
            text.push_str(&table(rows));
        }
        text
    }
}

fn table(rows: &[Summary]) -> String {
    let paper = |row: &Summary| published(&row.dataset, &row.method, &row.backbone);
    let compared = rows.iter().any(|row| paper(row).is_some());
    let titles = FIGURES.map(|(title, _)| title).join(" & ");
    let (columns, more) = if compared {
        ("llrrrrrrr", " & Paper, image & difference & Paper, pixel & difference")
    } else {
        ("llrrr", "")
    };
    let mut text = format!(
        "\n% {}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\nMethod & Backbone & {titles}{more} \\\\\n\\midrule\n",
        escape(dataset_title(&rows[0].dataset))
    );
    for row in rows {
        let mut cells = vec![escape(method_title(&row.method)), escape(&row.backbone)];
        cells.extend(FIGURES.map(|(_, figure)| {
            let text = spread(figure(row));
            match ranks(row, rows, figure) {
                Some(0) => format!("\\textbf{{{text}}}"),
                Some(1) => format!("\\underline{{{text}}}"),
                _ => text,
            }
        }));
        if compared {
            let paper = paper(row);
            let both = [
                (paper.map(|paper| paper.image_auroc), row.image_auroc),
                (paper.map(|paper| paper.pixel_auroc), row.pixel_auroc),
            ];
            for (theirs, ours) in both {
                let difference = theirs.zip(ours).map(|(theirs, ours)| 100.0 * ours.mean - theirs);
                cells.push(theirs.map_or("--".to_owned(), |theirs| format!("{theirs:.1}")));
                cells.push(difference.map_or("--".to_owned(), |difference| format!("${difference:+.1}$")));
            }
        }
        text.push_str(&format!("{} \\\\\n", cells.join(" & ")));
    }
    text + "\\bottomrule\n\\end{tabular}\n"
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
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::fixture::record;

    #[test]
    fn a_table_for_each_data_set() {
        let mut runs = vec![record("magnetic_tile", "tile", "own_50%", 0)];
        for seed in 0..2 {
            runs.push(record("mvtec", "screw", "rkd", seed));
            let mut better = record("mvtec", "screw", "rkd+fmam", seed);
            better.metrics.image_auroc += 0.02;
            better.metrics.aupro = None;
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
            Method & Backbone & Image AUROC & Pixel AUROC & AUPRO & Paper, image & difference & Paper, pixel & difference \\
            \midrule
            RKD & resnet18 & \underline{90.5 $\pm$ 0.7} & 95.5 $\pm$ 0.7 & 87.5 $\pm$ 0.0 & 96.1 & $-5.6$ & 97.1 & $-1.6$ \\
            RKD+FMAM & resnet18 & \textbf{92.5 $\pm$ 0.7} & 95.5 $\pm$ 0.7 & -- & 98.2 & $-5.7$ & 97.3 & $-1.8$ \\
            \bottomrule
            \end{tabular}
        "#]]
        .assert_eq(&Report::from_records(runs).latex());
    }
}
