//! The weights files of backbones: those that a user names, and those that were fetched.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use fmam_experiment::ExperimentConfig;
use fmam_fetch::{check_digest, has_digest};
use fmam_models::{BACKBONES, Weights};

use crate::exit::usage;
use crate::transfer::fetched_weights;

/// Puts the weights into `config`: those of the options, `[NAME=]FILE` each, and for backbones
/// without weights of their own those that `fmam weights fetch` brought. A fetched file must be as
/// it was fetched.
pub(crate) fn set_weights<'a>(
    config: &mut ExperimentConfig,
    options: impl IntoIterator<Item = &'a std::ffi::OsString>,
) -> Result<()> {
    for option in options {
        let (backbone, file) = parse(option, &config.backbones)?;
        config.weights.insert(backbone, file);
    }
    for entry in BACKBONES.iter().filter(|entry| matches!(entry.weights, Weights::File(_))) {
        let is_open = config.backbones.iter().any(|name| name == entry.name)
            && !config.weights.contains_key(entry.name);
        if let Some(path) = fetched_weights(entry.name).filter(|_| is_open) {
            config.weights.insert(entry.name.to_owned(), path);
        }
    }
    for (_, path) in config.weights.iter().filter(|(name, _)| config.backbones.contains(name)) {
        if has_digest(path) {
            check_digest(path)?;
        }
    }
    Ok(())
}

/// `NAME=FILE`, or `FILE` for the only backbone.
fn parse(text: &OsStr, backbones: &[String]) -> Result<(String, PathBuf)> {
    let named = |name: &str| Some((name.to_owned(), after(text, &format!("{name}="))?));
    if let Some(named) = BACKBONES.iter().find_map(|entry| named(entry.name)) {
        return Ok(named);
    }
    match backbones {
        [only] => Ok((only.clone(), text.into())),
        _ => Err(usage(anyhow!(
            "--weights {}: there are several backbones, say whose with NAME=FILE",
            text.display()
        ))),
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
    use std::path::Path;

    use super::*;

    fn parsed(text: &str, backbones: &[&str]) -> Result<(String, PathBuf)> {
        let backbones: Vec<_> = backbones.iter().map(|&name| name.to_owned()).collect();
        parse(text.as_ref(), &backbones)
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

        let parsed = parse(OsStr::from_bytes(b"resnet18=a\xff=b"), &[]).unwrap();
        assert_eq!(parsed, ("resnet18".into(), OsStr::from_bytes(b"a\xff=b").into()));
    }

    #[test]
    fn a_fetched_file_must_be_as_it_was_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        std::fs::write(&path, "one").unwrap();
        let set = |path: &Path| {
            let mut config = ExperimentConfig::for_dataset("demo");
            set_weights(&mut config, [&path.as_os_str().to_owned()]).map(|()| config.weights)
        };
        assert_eq!(set(&path).unwrap()["efficientnet-lite0"], path);
        fmam_fetch::record_digest(&path, &fmam_fetch::sha256_file(&path).unwrap()).unwrap();
        set(&path).unwrap();
        std::fs::write(&path, "two").unwrap();
        let error = set(&path).unwrap_err();
        let changed = error.downcast_ref::<fmam_fetch::FetchError>();
        assert!(matches!(changed, Some(fmam_fetch::FetchError::Changed { .. })), "{error:?}");
    }
}
