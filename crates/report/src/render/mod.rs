//! A report as text: Markdown, LaTeX, CSV, JSON, HTML, and tables for a terminal.

mod ablation;
mod analysis;
mod comparison;
mod csv;
pub(crate) mod csv_row;
mod gallery;
mod html;
pub(crate) mod json;
mod latex;
mod markdown;
mod notes;
#[cfg(test)]
mod schema_check;
mod table;
mod terminal;

use std::path::{Path, PathBuf};

use crate::error::{sync, write_whole};
use crate::{Report, ReportError};

impl Report {
    /// Writes what [`Report::write_tables`] writes, and `report.html`, atomically, and returns
    /// their paths.
    ///
    /// # Errors
    /// As [`Report::write_tables`]; [`ReportError::Plot`].
    pub fn write(&self, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
        let mut paths = self.write_tables(dir)?;
        let page = dir.join("report.html");
        write_whole(&page, self.html(dir)?.as_bytes())?;
        sync(std::slice::from_ref(&page))?;
        paths.push(page);
        Ok(paths)
    }

    /// Writes `report.json`, `report.csv`, `summary.csv`, `report.md` and `report.tex` into `dir`,
    /// each atomically, and returns their paths. The page encodes the pictures of all runs; these
    /// files are cheap.
    ///
    /// # Errors
    /// [`ReportError::Write`] naming the path; [`ReportError::Json`].
    pub fn write_tables(&self, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
        let files = [
            ("report.json", self.json()?),
            ("report.csv", self.csv()),
            ("summary.csv", self.summary_csv()),
            ("report.md", self.markdown()),
            ("report.tex", self.latex()),
        ];
        let write = |(name, text): (&str, String)| {
            let path = dir.join(name);
            write_whole(&path, text.as_bytes())?;
            Ok(path)
        };
        let paths = files.into_iter().map(write).collect::<Result<Vec<_>, ReportError>>()?;
        sync(&paths)?;
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use fmam_metrics::METRICS;
    use serde_json::Value;

    use super::*;
    use crate::fixture::record;
    use crate::text::{escape, escape_html, percent};

    #[test]
    fn every_registered_metric_stands_in_every_output() {
        let value = |k: usize| 0.101 + 0.001 * k as f64;
        let runs = ["cable", "screw"].map(|category| {
            let mut run = record("mvtec", category, "rkd", 0);
            METRICS.iter().enumerate().for_each(|(k, metric)| run.metrics.set(metric, Some(value(k))));
            run
        });
        let out = tempfile::tempdir().unwrap();
        let report = Report::from_records(runs.to_vec());
        let (markdown, latex, terminal) = (report.markdown(), report.latex(), report.terminal_table());
        let (csv, summary, html) = (report.csv(), report.summary_csv(), report.html(out.path()).unwrap());
        let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        let (_, results) = markdown.split_once("## Results").unwrap();
        let (results, _) = results.split_once("\n## ").unwrap();
        let (_, by_category) = markdown.split_once("## By category").unwrap();
        // The cell below `title` in the line that starts with `start`.
        let cell = |table: &str, separator: char, title: &str, start: &str| {
            let fields = |line: &str| line.split(separator).map(|f| f.trim().to_owned()).collect::<Vec<_>>();
            let lines: Vec<&str> = table.lines().collect();
            let head = lines.iter().position(|line| fields(line).iter().any(|field| field == title))?;
            let column = fields(lines[head]).iter().position(|field| field == title)?;
            let line = lines[head..].iter().find(|line| line.starts_with(start))?;
            fields(line).get(column).cloned()
        };
        for (k, metric) in METRICS.iter().enumerate() {
            let (key, heading, shown) = (metric.key, metric.heading(), percent(value(k)));
            let title = escape(&heading);
            let number = Some(value(k).to_string());
            assert_eq!(cell(results, '|', &title, "| RKD"), Some(shown.clone()), "report.md: {key}");
            assert_eq!(cell(&csv, ',', key, "mvtec,cable"), number, "report.csv: {key}");
            let mean = cell(&summary, ',', &format!("{key}_mean"), "mvtec").unwrap();
            assert!((mean.parse::<f64>().unwrap() - value(k)).abs() < 1e-12, "summary.csv: {key}");
            assert_eq!(json["runs"][0][key], value(k), "report.json: {key}");
            assert!(json["summary"][0][key]["mean"].is_f64(), "report.json, summary: {key}");
            let in_head = format!(">{}</th>", escape_html(&heading));
            let n_tables = 1 + usize::from(metric.is_headline);
            assert_eq!(html.matches(&in_head).count(), n_tables, "report.html: {key}");
            let of_run = serde_json::json!({ "key": key, "title": heading }).to_string();
            assert!(html.contains(&of_run), "report.html, a run: {key}");
            for (name, text) in
                [("terminal", &terminal[..]), ("report.tex", &latex), ("report.md", by_category)]
            {
                let is_there = text.contains(&heading) && text.contains(&shown);
                assert_eq!(is_there, metric.is_headline, "{name}, headlines: {key}");
            }
        }
    }

    #[test]
    fn writing_gives_six_files_and_nothing_else() {
        let out = tempfile::tempdir().unwrap();
        let report = Report::from_records(vec![record("demo", "weave", "nkd", 0)]);
        let paths = report.write(out.path()).unwrap();
        assert_eq!(paths.len(), 6);
        assert_eq!(std::fs::read_to_string(&paths[1]).unwrap(), report.csv());
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 6);

        let file = out.path().join("report.csv");
        assert!(matches!(report.write(&file), Err(ReportError::Write { .. })));
    }
}
