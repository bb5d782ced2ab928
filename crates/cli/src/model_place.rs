//! The folder of a new model: tried before the training, and saved to, or beside it, after.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fmam::output::{Claim, claim, parent_of};
use fmam::{Detector, Error};

/// Names of a kept model that are tried in a folder.
const TRIES: usize = 9;

/// Claims `out` for a new model: nothing lies there, not even a link that leads nowhere, a folder
/// of that name can be made, and no other process makes one.
pub(crate) fn claimed(out: &Path) -> Result<Claim> {
    if out.symlink_metadata().is_ok() {
        bail!("{} exists already; remove it or choose another --out", out.display());
    }
    let claim = claim(out)?;
    claim.check_new_dir().map_err(|source| Error::Write { path: out.to_owned(), source })?;
    Ok(claim)
}

/// Saves `detector` to the place of `claim`. Where that fails after all, the model is kept under
/// another name, which the error tells: a training is not to be lost.
pub(crate) fn save(detector: &Detector, claim: &Claim) -> Result<()> {
    let Err(error) = detector.save(claim.target()) else { return Ok(()) };
    let error = Error::from(error);
    match kept(detector, claim.target()) {
        Some(kept) => Err(error).context(format!("the model is kept in {}, not in --out", kept.display())),
        None => Err(error.into()),
    }
}

/// Saves `detector` to the first place that takes it, beside `out`, in the current folder, or in
/// that of temporary files.
fn kept(detector: &Detector, out: &Path) -> Option<PathBuf> {
    let own = out.file_name().unwrap_or_default();
    let folders = [parent_of(out).to_owned(), PathBuf::from("."), std::env::temp_dir()];
    let places = folders.iter().flat_map(|folder| [own, "fmam-model".as_ref()].map(|name| folder.join(name)));
    places.into_iter().find_map(|place| {
        let numbered = (2..2 + TRIES).map(|number| {
            let mut name = place.clone().into_os_string();
            name.push(format!("-{number}"));
            PathBuf::from(name)
        });
        let free = numbered.into_iter().find(|path| path.symlink_metadata().is_err())?;
        detector.save(&free).is_ok().then_some(free)
    })
}
