//! The published files: manifests of weights and data sets, downloads and archives.

use std::path::{Path, PathBuf};

use fmam_fetch::{Download, ExpectedSha256, Limits, Retry, cache_dir, check_digest, extract, record_digest};
use fmam_models::{BackboneSpec, Weights};
use serde::Deserialize;

use crate::Error;

const DATASETS: &str = include_str!("../../datasets.toml");

/// Bytes of a manifest, at most.
const MAX_BYTES: u64 = 4 << 20;

/// A receiver of the progress of a transfer: the name of the file, bytes done, and bytes in all
/// where that is known. False stops the transfer.
pub type TransferProgress<'a> = dyn FnMut(&str, u64, Option<u64>) -> bool + 'a;

/// Published weights of a backbone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedWeights {
    /// The name of the backbone.
    pub name: String,
    /// The title of the network and its training.
    pub architecture: String,
    /// The address of the file.
    pub url: String,
    /// SHA-256 of the file: 64 digits, or the first 8.
    pub sha256: String,
    /// The licence.
    pub licence: String,
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

/// A published data set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedDataset {
    /// The registered name.
    pub name: String,
    /// The folder under the data root that its archive becomes.
    pub folder: String,
    /// The page of its authors.
    pub page: String,
    /// The address of its archive, where a program may fetch it.
    pub url: Option<String>,
    /// The licence.
    pub licence: String,
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
    fn read(path: &Path) -> Result<Self, Error> {
        let text = fmam_files::read_text_limited(path, MAX_BYTES)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::Manifest(Box::new(error)))
    }
}

/// The weights of the manifest in `path`, or those that `backbones` tell.
///
/// # Errors
/// [`Error::Read`], [`Error::Manifest`].
pub fn published_weights(
    path: Option<&Path>,
    backbones: &[&BackboneSpec],
) -> Result<Vec<PublishedWeights>, Error> {
    let Some(path) = path else {
        return Ok(backbones.iter().filter_map(|spec| PublishedWeights::of(spec)).collect());
    };
    Ok(Manifest::read(path)?.weights)
}

/// The data sets of the manifest in `path`, or of the one in the program.
///
/// # Errors
/// [`Error::Read`], [`Error::Manifest`].
pub fn published_datasets(path: Option<&Path>) -> Result<Vec<PublishedDataset>, Error> {
    let manifest = path.map_or_else(|| Manifest::parse(DATASETS), Manifest::read)?;
    Ok(manifest.dataset)
}

/// The one of `known` that is called `name`.
pub(super) fn find<'a, T>(
    known: &'a [T],
    name: &str,
    name_of: fn(&T) -> &str,
    what: &'static str,
) -> Result<&'a T, Error> {
    known.iter().find(|entry| name_of(entry) == name).ok_or_else(|| {
        let known = known.iter().map(|entry| name_of(entry).to_owned()).collect();
        Error::NotPublished { what, name: name.to_owned(), known }
    })
}

/// The folder that fetched weights are kept in.
///
/// # Errors
/// [`Error::Fetch`] where there is no home folder.
pub fn weights_dir() -> Result<PathBuf, Error> {
    Ok(cache_dir()?.join("weights"))
}

/// The weights of the backbone called `name` that were fetched before, for one that has none built
/// in.
pub fn fetched_weights(backbones: &[&BackboneSpec], name: &str) -> Option<PathBuf> {
    let spec = backbones.iter().find(|spec| spec.name == name)?;
    let Weights::File(_) = spec.weights else { return None };
    Some(weights_dir().ok()?.join(format!("{name}.safetensors"))).filter(|path| path.is_file())
}

/// Brings the file at `url` to `path`, unless it is there already, as it was. Its digest is kept
/// beside it. With `offline` nothing is fetched.
pub(super) fn bring(
    url: &str,
    path: &Path,
    sha256: Option<ExpectedSha256>,
    max_bytes: u64,
    offline: bool,
    progress: &mut TransferProgress<'_>,
) -> Result<(), Error> {
    if path.is_file() {
        let digest = check_digest(path)?;
        if let Some(expected) = sha256.filter(|expected| !expected.matches(&digest)) {
            let (path, expected) = (path.to_owned(), expected.to_string());
            return Err(Error::OtherFile { path, digest, expected });
        }
        return Ok(());
    }
    if offline {
        return Err(Error::NotFetched { path: path.to_owned() });
    }
    let name = url.rsplit('/').next().unwrap_or_default();
    let download = Download { url: url.to_owned(), path: path.to_owned(), sha256, max_bytes };
    let digest = download.run(&Retry::default(), &mut |done, total| progress(name, done, total))?;
    Ok(record_digest(path, &digest)?)
}

/// Unpacks `archive` to `target`.
pub(super) fn unpack(
    archive: &Path,
    target: &Path,
    limits: Limits,
    progress: &mut TransferProgress<'_>,
) -> Result<(), Error> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("unpacking {name}");
    Ok(extract(archive, target, limits, &mut |done, total| progress(&name, done, Some(total)))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::hub::HubFile;

    #[test]
    fn published_weights_are_named_or_pinned_by_their_digest() {
        let published = published_weights(None, fmam_models::BACKBONES).unwrap();
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
