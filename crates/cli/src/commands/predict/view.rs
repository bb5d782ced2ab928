use std::fmt::Write as _;
use std::io::IsTerminal;

use anyhow::Result;
use fmam::Outcome;
use fmam::output::Line;
use fmam_core::{escaped, shown_line};
use serde_json::json;

/// The form of the verdicts on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    Table,
}

/// Verdicts as text, each as it comes.
#[derive(Debug)]
pub(super) struct View {
    form: Form,
    is_begun: bool,
}

impl View {
    /// The form asked for, else that of the place where the text goes.
    pub(super) fn new(json: bool, csv: bool, table: bool) -> Self {
        let form = match (json, csv, table) {
            (true, _, _) => Form::Json,
            (_, true, _) => Form::Csv,
            (_, _, true) => Form::Table,
            _ if std::io::stdout().is_terminal() => Form::Table,
            _ => Form::Json,
        };
        Self { form, is_begun: false }
    }

    /// The text of a verdict, after the head of the whole for the first one.
    pub(super) fn show(&mut self, line: &Line<'_>) -> Result<String> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let (head, row) = match self.form {
            Form::Json => (String::new(), line.json()?),
            Form::Csv => (Line::csv_header(), line.csv()?),
            Form::Table => (HEAD.to_owned(), table_row(line)),
        };
        Ok(if is_first { head + &row } else { row })
    }

    /// The line of an image without a verdict, for machines; `None` for people, who read of it on
    /// stderr.
    pub(super) fn show_error(&self, image: &str, error: &str) -> Option<String> {
        let line = json!({ "image": image, "verdict": null, "error": error });
        (self.form == Form::Json).then(|| format!("{line}\n"))
    }
}

const HEAD: &str = "verdict       score  p-value  regions  seconds  image\n";

/// A verdict as a row, and a line for each warning.
fn table_row(line: &Line<'_>) -> String {
    let verdict = line.verdict.map_or("-", Outcome::name);
    let p_value = line.p_value.map_or("-".to_owned(), |p| format!("{p:.4}"));
    let regions = line.threshold.map_or("-".to_owned(), |_| line.regions.len().to_string());
    let seconds = line.seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.3}"));
    let image = line.image.0.to_string_lossy();
    let image = escaped(&image);
    let mut row =
        format!("{verdict:<7}  {:>10.4}  {p_value:>7}  {regions:>7}  {seconds:>7}  {image}\n", line.score);
    for warning in line.warnings {
        let _ = writeln!(row, "         warning: {}", shown_line(&warning.to_string()));
    }
    row
}

#[cfg(test)]
mod tests {
    use fmam::output::Files;

    use super::*;

    #[test]
    fn a_table_has_its_head_once_and_names_do_no_harm() {
        let line = Line {
            reduction: None,
            image: "a\u{1b}[31m\n.png".into(),
            verdict: Some(Outcome::Defect),
            score: 1.25,
            p_value: Some(0.01),
            threshold: Some(1.0),
            regions: &[],
            warnings: &[],
            files: Files::default(),
            seconds: Some(0.5),
        };
        let mut view = View::new(false, false, true);
        let row = "defect       1.2500   0.0100        0    0.500  a\\u{1b}[31m\\n.png\n";
        assert_eq!(view.show(&line).unwrap(), format!("{HEAD}{row}"));
        assert_eq!(view.show(&line).unwrap(), row);
        let plain = Line { verdict: None, p_value: None, threshold: None, seconds: None, ..line };
        assert!(table_row(&plain).starts_with("-            1.2500        -        -        -  a"));
        assert!(View::new(true, false, false).show(&plain).unwrap().starts_with("{\"image\":"));
        assert!(View::new(false, true, false).show(&plain).unwrap().starts_with("image,verdict,"));
    }
}
