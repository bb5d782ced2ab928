use anyhow::Result;
use clap::ValueEnum;
use fmam_datasets::DATASETS;
use fmam_methods::METHODS;
use fmam_metrics::METRICS;
use fmam_models::BACKBONES;

use crate::stdout::print;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// List the names of one kind only, one on a line
    kind: Option<Kind>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Methods,
    Backbones,
    Datasets,
    Metrics,
}

impl Kind {
    /// Names and what they stand for.
    fn entries(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Methods => METHODS.iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Backbones => BACKBONES.iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Datasets => DATASETS.iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Metrics => METRICS.iter().map(|entry| (entry.key, entry.summary)).collect(),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let text = match args.kind {
        Some(kind) => kind.entries().iter().map(|(name, _)| format!("{name}\n")).collect(),
        None => [
            ("Methods", Kind::Methods),
            ("Backbones", Kind::Backbones),
            ("Data sets", Kind::Datasets),
            ("Metrics", Kind::Metrics),
        ]
        .map(|(title, kind)| section(title, &kind.entries()))
        .join("\n"),
    };
    print(&text)
}

fn section(title: &str, entries: &[(&str, &str)]) -> String {
    let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: String =
        entries.iter().map(|(name, summary)| format!("  {name:width$}  {summary}\n")).collect();
    format!("{title}\n{lines}")
}
