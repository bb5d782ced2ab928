use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use fmam_core::ImageSize;
use fmam_datasets::{Counts, published_categories, published_counts};
use fmam_experiment::ExperimentError;
use fmam_fetch::{Limits, check_digest, has_digest};

use crate::data;
use crate::interrupt;
use crate::stdout::print;
use crate::transfer::{PublishedDataset, bring, find, published_datasets, unpack};

/// No data set of the manifest has more.
const LIMITS: Limits = Limits { max_entries: 200_000, max_bytes: 64 << 30 };

#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Say of every data set what it is and how to get it
    List,
    /// Bring a data set under --data-root: fetched where its licence lets a program do that, else
    /// from an archive
    Fetch {
        /// Data set; `fmam datasets list` names them
        name: String,
        /// Folder that holds the data sets
        #[arg(long, value_name = "DIR")]
        data_root: PathBuf,
        /// The archive, downloaded before (.zip, .tar, .tar.gz, .tar.xz)
        #[arg(long, value_name = "FILE")]
        from_archive: Option<PathBuf>,
        /// Another manifest than data/datasets.toml
        #[arg(long, value_name = "FILE", hide = true)]
        manifest: Option<PathBuf>,
    },
    /// Count the images of each category and compare with what is published
    Verify {
        /// Data set; `fmam list datasets` names them
        name: String,
        /// Folder that holds the data set
        #[arg(long, value_name = "DIR")]
        data_root: PathBuf,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.action {
        Action::List => list(),
        Action::Fetch { name, data_root, from_archive, manifest } => {
            interrupt::install()?;
            let published = published_datasets(manifest.as_deref())?;
            let entry = find(&published, name, |dataset| &dataset.name, "data sets")?;
            let folder = fetch(entry, data_root, from_archive.as_deref())?;
            print(&format!("{}\n", folder.display()))
        }
        Action::Verify { name, data_root } => verify(name, data_root),
    }
}

fn list() -> Result<()> {
    let lines: String = published_datasets(None)?
        .iter()
        .map(|entry| {
            let how = match &entry.url {
                Some(_) => format!("fmam datasets fetch {} --data-root DIR", entry.name),
                None => format!("fmam datasets fetch {} --data-root DIR --from-archive FILE", entry.name),
            };
            format!("{}\n  {}\n  {}\n  {how}\n", entry.name, entry.page, entry.licence)
        })
        .collect();
    print(&lines)
}

fn fetch(entry: &PublishedDataset, data_root: &Path, from_archive: Option<&Path>) -> Result<PathBuf> {
    let target = data_root.join(&entry.folder);
    if target.exists() {
        bail!("{} exists already; `fmam datasets verify` counts its images", target.display());
    }
    std::fs::create_dir_all(data_root).with_context(|| format!("cannot make {}", data_root.display()))?;
    let archive = match (from_archive, &entry.url) {
        (Some(archive), _) => {
            // One that was fetched before, for another folder.
            if has_digest(archive) {
                check_digest(archive)?;
            }
            archive.to_owned()
        }
        (None, Some(url)) => {
            let archive = data_root.join(url.rsplit('/').next().unwrap_or(&entry.name));
            bring(url, &archive, None, LIMITS.max_bytes, false)?;
            archive
        }
        (None, None) => bail!(
            "no program may fetch {}: get its archive from {} ({}) and repeat with --from-archive FILE",
            entry.name,
            entry.page,
            entry.licence
        ),
    };
    unpack(&archive, &target, LIMITS)?;
    Ok(target)
}

fn verify(name: &str, data_root: &Path) -> Result<()> {
    let dataset = data::open(name, Some(data_root.to_owned()))?;
    let categories = dataset.categories();
    let mut wrong = 0;
    for category in &categories {
        // The size does not matter to the counts.
        let found =
            Counts::of(&dataset.category(category, ImageSize::square(32)).map_err(ExperimentError::from)?);
        let told =
            |counts: Counts| format!("{} / {} / {}", counts.train, counts.test_normal, counts.test_anomalous);
        let verdict = match published_counts(name, category) {
            Some(published) if published == found => "as published".to_owned(),
            Some(published) => {
                wrong += 1;
                format!("published are {}", told(published))
            }
            None => "no published count".to_owned(),
        };
        print(&format!("{category}: {} images (training / normal / anomalous), {verdict}\n", told(found)))?;
    }
    let absent: Vec<_> = published_categories(name)
        .filter(|category| !categories.iter().any(|found| found == category))
        .collect();
    if !absent.is_empty() {
        print(&format!("not there: {}\n", absent.join(", ")))?;
    }
    if wrong > 0 {
        return Err(anyhow!("{wrong} categories have other images than published"));
    }
    Ok(())
}
