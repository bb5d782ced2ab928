//! Image files on the command line of a fit or a calibration.

use std::collections::HashSet;
use std::path::PathBuf;

use fmam::Error;
use fmam::input::Inputs;

/// The image files that `paths` name, each once: files, folders with all that lies within, quoted
/// patterns.
///
/// # Errors
/// As [`Inputs::add`], and for each file or folder that cannot be listed.
pub(crate) fn listed<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let mut inputs = Inputs::new(None);
    paths.into_iter().try_for_each(|path| inputs.add(path))?;
    let mut images = inputs.collect::<Result<Vec<_>, _>>()?;
    let mut known = HashSet::new();
    images.retain(|image| known.insert(image.clone()));
    Ok(images)
}
