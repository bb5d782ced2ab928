use fmam_experiment::Registry;

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
    /// The names of the entries of `registry`, and a line on each.
    pub fn entries(self, registry: &Registry) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Methods => registry.methods().iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Backbones => registry.backbones().iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Datasets => registry.datasets().iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Metrics => registry.metrics().iter().map(|entry| (entry.key, entry.summary)).collect(),
        }
    }

    /// The names, one on a line.
    pub fn names(self, registry: &Registry) -> String {
        self.entries(registry).iter().map(|(name, _)| format!("{name}\n")).collect()
    }
}

/// Everything of `registry` that has a name, as text.
pub fn catalogue(registry: &Registry) -> String {
    let kinds = [
        ("Methods", Kind::Methods),
        ("Backbones", Kind::Backbones),
        ("Data sets", Kind::Datasets),
        ("Metrics", Kind::Metrics),
    ];
    let section = |(title, kind): (&str, Kind)| {
        let entries = kind.entries(registry);
        let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines: String =
            entries.iter().map(|(name, summary)| format!("  {name:width$}  {summary}\n")).collect();
        format!("{title}\n{lines}")
    };
    kinds.map(section).join("\n")
}
