//! The weights files of backbones: those that a user names, and those that are fetched.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use candle_core::Device;
use fmam_experiment::{ExperimentConfig, ExperimentError};
use fmam_fetch::{
    ExpectedSha256, check_digest, forget, has_digest, record_digest, remove_digest_leftovers, sha256_file,
};
use fmam_models::{BackboneSpec, ModelError, Weights, save_tensors};

use super::hub::HubFile;
use super::published::{PublishedWeights, TransferProgress, bring, fetched_weights, find, weights_dir};
use crate::Error;
use crate::output::claim;

/// No published checkpoint is larger.
const MAX_BYTES: u64 = 2 << 30;

/// Puts the weights into `config`: those of the options, `[NAME=]FILE` each, and for backbones
/// without weights of their own those that were fetched before. A fetched file must be as it was
/// fetched.
///
/// # Errors
/// [`Error::WeightsOfWhich`], [`Error::Fetch`] for a fetched file that has changed.
pub fn set_weights<'a>(
    config: &mut ExperimentConfig,
    backbones: &[&BackboneSpec],
    options: impl IntoIterator<Item = &'a std::ffi::OsString>,
) -> Result<(), Error> {
    for option in options {
        let (backbone, file) = parse(option, backbones, &config.backbones)?;
        config.weights.insert(backbone, file);
    }
    for name in &config.backbones {
        if !config.weights.contains_key(name)
            && let Some(path) = fetched_weights(backbones, name)
        {
            config.weights.insert(name.clone(), path);
        }
    }
    for (_, path) in config.weights.iter().filter(|(name, _)| config.backbones.contains(name)) {
        if has_digest(path) {
            check_digest(path)?;
        }
    }
    Ok(())
}

/// Brings the published weights of the backbone `name`, one of `backbones`, into the cache and
/// makes safetensors of what its features need; gives that file. A file of another architecture
/// does not stay. One of the Hugging Face hub is taken from where the hub's own programs keep it,
/// if they have it.
///
/// The file comes from `from_file` where that is given; with `offline` nothing is fetched.
///
/// # Errors
/// [`Error::NotPublished`], [`Error::NotThePublished`], [`Error::OtherFile`],
/// [`Error::NotFetched`], [`Error::UnfitWeights`], [`Error::Fetch`], and those of the file system.
pub fn fetch_weights(
    backbones: &[&'static BackboneSpec],
    published: &[PublishedWeights],
    name: &str,
    from_file: Option<&Path>,
    offline: bool,
    progress: &mut TransferProgress<'_>,
) -> Result<PathBuf, Error> {
    let entry = find(published, name, |weights| &weights.name, "weights")?;
    let folder = weights_dir()?;
    std::fs::create_dir_all(&folder).map_err(|source| Error::Write { path: folder.clone(), source })?;
    let expected: ExpectedSha256 = entry.sha256.parse()?;
    let last = entry.url.rsplit('/').next().unwrap_or(name);
    let (file, url, shared) = match HubFile::at(&entry.url) {
        None => (folder.join(last), entry.url.clone(), None),
        Some(hub) => {
            let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|value| !value.is_empty());
            // The hub's names do not tell one model from another.
            (folder.join(format!("{name}-{last}")), hub.url(endpoint.as_deref()), hub.shared_copy())
        }
    };
    let target = folder.join(format!("{name}.safetensors"));
    let _claims = [claim(&target)?, claim(&file)?];
    for path in [&target, &file] {
        remove_digest_leftovers(path)?;
    }
    let given = match from_file {
        Some(from) => {
            let digest = sha256_file(from)?;
            if !expected.matches(&digest) {
                let (path, expected) = (from.to_owned(), expected.to_string());
                let title = entry.architecture.clone();
                return Err(Error::NotThePublished { path, digest, expected, title });
            }
            Some((from.to_owned(), digest))
        }
        None => shared.filter(|_| !file.is_file()).and_then(|from| {
            let digest = sha256_file(&from).ok().filter(|digest| expected.matches(digest))?;
            Some((from, digest))
        }),
    };
    match given {
        Some((from, digest)) => {
            copy(&from, &file)?;
            record_digest(&file, &digest)?;
        }
        None => bring(&url, &file, Some(expected), MAX_BYTES, offline, progress)?,
    }
    let spec = backbones.iter().find(|spec| spec.name == name);
    let unknown = || ModelError::UnknownBackbone {
        name: name.to_owned(),
        known: backbones.iter().map(|spec| spec.name).collect(),
    };
    let converted = spec
        .ok_or_else(unknown)
        .and_then(|spec| spec.load(Some(&file), &Device::Cpu))
        .and_then(|backbone| save_tensors(&target, backbone.tensors()));
    if let Err(source) = converted {
        forget(&file);
        return Err(Error::UnfitWeights { title: entry.architecture.clone(), source: Box::new(source) });
    }
    record_digest(&target, &sha256_file(&target)?)?;
    Ok(target)
}

/// The backbone whose weights are missing, where `error` says so and they can be fetched.
pub fn fetchable_weights(error: &Error) -> Option<&'static str> {
    let of_one = |error: &(dyn std::error::Error + 'static)| {
        // A boxed error stands in the chain as a box.
        let own = error.downcast_ref::<Box<Error>>().map(AsRef::as_ref).or_else(|| error.downcast_ref());
        let held = own.and_then(Error::held).unwrap_or(error);
        let model = match held.downcast_ref::<ExperimentError>() {
            Some(ExperimentError::Model(model)) => Some(model),
            _ => held.downcast_ref::<ModelError>(),
        };
        match model {
            Some(ModelError::WeightsNeeded { name, is_published: true }) => Some(*name),
            _ => None,
        }
    };
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |&error| error.source()).find_map(of_one)
}

/// Copies a file all or nothing.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let copied = fmam_files::open_regular(from)
        .and_then(|mut from| fmam_files::write_atomic(to, |to| std::io::copy(&mut from, to).map(drop)));
    copied.map_err(|source| Error::Copy { from: from.to_owned(), to: to.to_owned(), source })
}

/// The origin of the weights of a backbone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightsOrigin {
    /// They are built in, so many bytes of them.
    BuiltIn(usize),
    /// They are drawn at random.
    Random,
    /// They were fetched before, to this file.
    Fetched(PathBuf),
    /// They can be fetched: the title of the network, and the licence.
    Published {
        /// The title of the network and its training.
        title: String,
        /// The licence.
        licence: String,
    },
    /// They are in a file that a user has.
    File,
}

/// The origin of the weights of `spec` on this machine.
pub fn weights_origin(spec: &BackboneSpec) -> WeightsOrigin {
    match spec.weights {
        Weights::Embedded(bytes) => WeightsOrigin::BuiltIn(bytes.len()),
        Weights::Seeded(_) => WeightsOrigin::Random,
        Weights::File(published) => match (fetched_weights(&[spec], spec.name), published) {
            (Some(path), _) => WeightsOrigin::Fetched(path),
            (None, Some(published)) => WeightsOrigin::Published {
                title: published.title.to_owned(),
                licence: published.licence.to_owned(),
            },
            (None, None) => WeightsOrigin::File,
        },
    }
}

/// `NAME=FILE`, or `FILE` for the only backbone.
fn parse(text: &OsStr, known: &[&BackboneSpec], backbones: &[String]) -> Result<(String, PathBuf), Error> {
    let named = |name: &str| Some((name.to_owned(), after(text, &format!("{name}="))?));
    if let Some(named) = known.iter().find_map(|entry| named(entry.name)) {
        return Ok(named);
    }
    match backbones {
        [only] => Ok((only.clone(), text.into())),
        _ => Err(Error::WeightsOfWhich { file: text.into() }),
    }
}

/// The rest of `text`, which may be any path, behind the ASCII text `prefix`.
#[cfg(unix)]
fn after(text: &OsStr, prefix: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;

    text.as_bytes().strip_prefix(prefix.as_bytes()).map(|rest| OsStr::from_bytes(rest).into())
}

/// The rest of `text`, which may be any path, behind the ASCII text `prefix`.
#[cfg(windows)]
fn after(text: &OsStr, prefix: &str) -> Option<PathBuf> {
    use std::os::windows::ffi::{OsStrExt, OsStringExt};

    let units: Vec<u16> = text.encode_wide().collect();
    let prefix: Vec<u16> = prefix.encode_utf16().collect();
    units.strip_prefix(&prefix[..]).map(|rest| std::ffi::OsString::from_wide(rest).into())
}

/// The rest of `text` behind `prefix`.
#[cfg(not(any(unix, windows)))]
fn after(text: &OsStr, prefix: &str) -> Option<PathBuf> {
    text.to_str()?.strip_prefix(prefix).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, backbones: &[&str]) -> Result<(String, PathBuf), Error> {
        let backbones: Vec<_> = backbones.iter().map(|&name| name.to_owned()).collect();
        parse(text.as_ref(), fmam_models::BACKBONES, &backbones)
    }

    #[test]
    fn weights_belong_to_a_backbone() {
        let both = ["resnet18", "resnet34"];
        assert_eq!(parsed("a=b.pth", &["resnet18"]).unwrap(), ("resnet18".into(), "a=b.pth".into()));
        assert_eq!(parsed("resnet34=c.pth", &both).unwrap(), ("resnet34".into(), "c.pth".into()));
        assert!(parsed("c.pth", &both).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_text() {
        use std::os::unix::ffi::OsStrExt;

        let parsed = parse(OsStr::from_bytes(b"resnet18=a\xff=b"), fmam_models::BACKBONES, &[]).unwrap();
        assert_eq!(parsed, ("resnet18".into(), OsStr::from_bytes(b"a\xff=b").into()));
    }

    #[test]
    fn missing_weights_that_can_be_fetched_are_found_in_an_error() {
        let missing = |is_published| ModelError::WeightsNeeded { name: "resnet18", is_published };
        assert_eq!(fetchable_weights(&missing(true).into()), Some("resnet18"));
        let inner = Box::new(Error::from(missing(true)));
        let image = Error::Image { index: 0, name: "a".to_owned(), source: inner };
        assert_eq!(fetchable_weights(&image), Some("resnet18"));
        assert_eq!(fetchable_weights(&missing(false).into()), None);
        assert_eq!(fetchable_weights(&Error::NoCuda), None);
    }

    #[test]
    fn a_fetched_file_must_be_as_it_was_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        std::fs::write(&path, "one").unwrap();
        let set = |path: &Path| {
            let mut config = ExperimentConfig::for_dataset("demo");
            set_weights(&mut config, fmam_models::BACKBONES, [&path.as_os_str().to_owned()])
                .map(|()| config.weights)
        };
        assert_eq!(set(&path).unwrap()["efficientnet-lite0"], path);
        fmam_fetch::record_digest(&path, &fmam_fetch::sha256_file(&path).unwrap()).unwrap();
        set(&path).unwrap();
        std::fs::write(&path, "two").unwrap();
        let error = set(&path).unwrap_err();
        assert!(matches!(error, Error::Fetch(fmam_fetch::FetchError::Changed { .. })), "{error:?}");
    }
}
