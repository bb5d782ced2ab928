//! What is fetched: the manifests of weights and data sets, downloads and archives with a bar.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use fmam_fetch::{Download, ExpectedSha256, Limits, Retry, cache_dir, check_digest, extract, record_digest};
use fmam_models::{BACKBONES, BackboneSpec, Weights};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use crate::exit::usage;
use crate::interrupt;

const DATASETS: &str = include_str!("../datasets.toml");

/// Published weights of a backbone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishedWeights {
    /// Name of the backbone.
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(crate) url: String,
    /// Of the file: 64 digits, or the first 8.
    pub(crate) sha256: String,
    pub(crate) licence: String,
}

impl PublishedWeights {
    fn of(spec: &BackboneSpec) -> Option<Self> {
        let Weights::File(Some(published)) = spec.weights else { return None };
        Some(Self {
            name: spec.name.to_owned(),
            architecture: published.title.to_owned(),
            url: published.url.to_owned(),
            sha256: published.sha256.to_owned(),
            licence: published.licence.to_owned(),
        })
    }
}

/// A data set that can be had.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishedDataset {
    pub(crate) name: String,
    /// What its archive becomes under the data root.
    pub(crate) folder: String,
    pub(crate) page: String,
    /// Its archive, where a program may fetch it.
    pub(crate) url: Option<String>,
    pub(crate) licence: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(default)]
    weights: Vec<PublishedWeights>,
    #[serde(default)]
    dataset: Vec<PublishedDataset>,
}

impl Manifest {
    /// The manifest in the file `path`.
    fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("the manifest is damaged")
    }
}

/// The weights of the manifest in `path`, or those that backbones tell.
pub(crate) fn published_weights(path: Option<&Path>) -> Result<Vec<PublishedWeights>> {
    let Some(path) = path else {
        return Ok(BACKBONES.iter().filter_map(|spec| PublishedWeights::of(spec)).collect());
    };
    Ok(Manifest::read(path)?.weights)
}

/// The data sets of the manifest in `path`, or of the one in the program.
pub(crate) fn published_datasets(path: Option<&Path>) -> Result<Vec<PublishedDataset>> {
    let manifest = path.map_or_else(|| Manifest::parse(DATASETS), Manifest::read)?;
    Ok(manifest.dataset)
}

/// The one of `known` that is called `name`.
pub(crate) fn find<'a, T>(known: &'a [T], name: &str, name_of: fn(&T) -> &str, what: &str) -> Result<&'a T> {
    known.iter().find(|entry| name_of(entry) == name).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(name_of).collect();
        usage(anyhow!("there are no published {what} `{name}`; known are {}", names.join(", ")))
    })
}

/// The folder that fetched weights are kept in.
pub(crate) fn weights_dir() -> Result<PathBuf> {
    Ok(cache_dir()?.join("weights"))
}

/// The weights of a backbone that were fetched before.
pub(crate) fn fetched_weights(backbone: &str) -> Option<PathBuf> {
    Some(weights_dir().ok()?.join(format!("{backbone}.safetensors"))).filter(|path| path.is_file())
}

/// Brings the file at `url` to `path`, unless it is there already, as it was. Its digest is kept
/// beside it. With `offline` nothing is fetched.
pub(crate) fn bring(
    url: &str,
    path: &Path,
    sha256: Option<ExpectedSha256>,
    max_bytes: u64,
    offline: bool,
) -> Result<()> {
    if path.is_file() {
        let digest = check_digest(path)?;
        if let Some(expected) = sha256.filter(|expected| !expected.matches(&digest)) {
            return Err(anyhow!("{} has SHA-256 {digest}, expected {expected}; delete it", path.display()));
        }
        return Ok(());
    }
    if offline {
        return Err(anyhow!("{} was not fetched before; repeat without --offline", path.display()));
    }
    let bar = bar(url.rsplit('/').next().unwrap_or_default().to_owned());
    let download = Download { url: url.to_owned(), path: path.to_owned(), sha256, max_bytes };
    let fetched = download.run(&Retry::default(), &mut |done, total| {
        bar.set_length(total.unwrap_or(done));
        bar.set_position(done);
        !interrupt::requested()
    });
    bar.finish_and_clear();
    Ok(record_digest(path, &fetched?)?)
}

/// Unpacks `archive` to `target` with a bar.
pub(crate) fn unpack(archive: &Path, target: &Path, limits: Limits) -> Result<()> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let bar = bar(format!("unpacking {name}"));
    let unpacked = extract(archive, target, limits, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        !interrupt::requested()
    });
    bar.finish_and_clear();
    Ok(unpacked?)
}

/// A bar that counts bytes, on a terminal only.
fn bar(message: String) -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{msg} [{bar:30.cyan}] {bytes}/{total_bytes}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::HubFile;

    #[test]
    fn published_weights_are_named_or_pinned_by_their_digest() {
        let published = published_weights(None).unwrap();
        for found in &published {
            let digest: ExpectedSha256 = found.sha256.parse().unwrap();
            // torchvision's file names carry it; the hub's files are pinned by all of it.
            let is_named = found.url.contains(&digest.to_string());
            let is_pinned = HubFile::at(&found.url).is_some() && found.sha256.len() == 64;
            assert!(is_named || is_pinned, "{}", found.url);
        }
        assert!(find(&published, "resnet18", |weights| &weights.name, "weights").is_ok());
        assert!(find(&published, "none", |weights| &weights.name, "weights").is_err());
    }

    #[test]
    fn data_sets_of_the_manifest_are_known() {
        for entry in published_datasets(None).unwrap() {
            let is_known = fmam_datasets::dataset(&entry.name).is_ok() || entry.name == "dtd";
            assert!(
                is_known && entry.page.starts_with("http") && !entry.licence.is_empty(),
                "{}",
                entry.name
            );
        }
    }
}
