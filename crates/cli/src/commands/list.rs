use anyhow::{Result, anyhow};
use clap::ValueEnum;
use fmam::{DeviceChoice, Session, Setting};
use fmam_datasets::DATASETS;
use fmam_methods::METHODS;
use fmam_metrics::METRICS;
use fmam_models::BACKBONES;

use crate::exit::usage;
use crate::stdout::print;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// List the names of one kind only, one on a line, or the settings of a method
    kind: Option<Kind>,
    /// With `settings`: the method whose settings are printed as TOML, defaults filled in
    #[arg(value_name = "METHOD", required_if_eq("kind", "settings"))]
    method: Option<String>,
    /// With `settings`: a setting over the defaults, as often as needed; the value is TOML
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "method")]
    settings: Vec<Setting>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Methods,
    Backbones,
    Datasets,
    Metrics,
    Settings,
}

impl Kind {
    /// Names and what they stand for.
    fn entries(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Methods => METHODS.iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Backbones => BACKBONES.iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Datasets => DATASETS.iter().map(|entry| (entry.name, entry.summary)).collect(),
            Self::Settings => Vec::new(),
            Self::Metrics => METRICS.iter().map(|entry| (entry.key, entry.summary)).collect(),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let text = match args.kind {
        Some(Kind::Settings) => {
            let session = Session::builder().device(DeviceChoice::Cpu).build()?;
            let method = args.method.as_deref().unwrap_or_default();
            toml::to_string(&session.settings(method, &args.settings)?)?
        }
        Some(_) if args.method.is_some() => {
            return Err(usage(anyhow!("a method goes with `fmam list settings` only")));
        }
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
