use fmam_datasets::DATASETS;
use fmam_methods::METHODS;
use fmam_metrics::METRICS;
use fmam_models::BACKBONES;

/// The tables whose entries have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Methods.
    Methods,
    /// Backbones.
    Backbones,
    /// Data sets.
    Datasets,
    /// Metrics.
    Metrics,
}

impl Kind {
    /// The names of the entries, and a line on each.
    pub fn entries(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Methods => METHODS.iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Backbones => BACKBONES.iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Datasets => DATASETS.iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Metrics => METRICS.iter().map(|entry| (entry.key, entry.summary)).collect(),
        }
    }

    /// The names, one on a line.
    pub fn names(self) -> String {
        self.entries().iter().map(|(name, _)| format!("{name}\n")).collect()
    }
}

/// Everything that has a name, as text.
pub fn catalogue() -> String {
    let kinds = [
        ("Methods", Kind::Methods),
        ("Backbones", Kind::Backbones),
        ("Data sets", Kind::Datasets),
        ("Metrics", Kind::Metrics),
    ];
    let section = |(title, kind): (&str, Kind)| {
        let entries = kind.entries();
        let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines: String =
            entries.iter().map(|(name, summary)| format!("  {name:width$}  {summary}\n")).collect();
        format!("{title}\n{lines}")
    };
    kinds.map(section).join("\n")
}
