//! The Describable Textures Dataset (Cimpoi et al., CVPR 2014): the texture source of anomaly
//! synthesis.

use std::path::Path;
use std::sync::Arc;

use fmam_core::{ImageSize, SampleSource, Split};

use super::files::{EXTENSIONS, Tree, name_of, sample, stem_of, subfolders};
use crate::source::{FileSource, MaskFormat};
use crate::{CachedSource, DatasetError};

/// Bytes of decoded textures that are kept. The whole DTD at 256x256 is 1.1 GB; synthesis draws
/// from it at random.
const CACHE_BYTES: usize = 1 << 28;

/// The images of the Describable Textures Dataset under `root`, `dtd/images/CLASS/CLASS_NNNN.jpg`
/// or `images/CLASS/CLASS_NNNN.jpg`, as normal training samples that are resized to `size` without
/// keeping the aspect ratio; sorted by class and name. `None` when there is no DTD under `root`.
///
/// # Errors
/// [`DatasetError::ListFolder`] or [`DatasetError::DuplicateStem`] for a folder that cannot be
/// used.
pub fn textures(root: &Path, size: ImageSize) -> Result<Option<Arc<dyn SampleSource>>, DatasetError> {
    for folder in [root.join("dtd/images"), root.join("images")] {
        if !folder.is_dir() {
            continue;
        }
        let mut samples = Vec::new();
        for class_folder in subfolders(&folder)? {
            let class = name_of(&class_folder);
            // DTD's own naming: a folder called `images` of anything else is no texture source.
            let of_dtd =
                |image: &Path| stem_of(image).strip_prefix(&class).is_some_and(|rest| rest.starts_with('_'));
            let images = Tree::below(&class_folder, &EXTENSIONS)?;
            let of_dtd = images.files.iter().filter(|image| of_dtd(image));
            samples.extend(
                of_dtd.map(|image| sample(Split::Train, &class, &images.name(image), image.clone(), None)),
            );
        }
        if !samples.is_empty() {
            return Ok(Some(Arc::new(CachedSource::new(
                FileSource::new(samples, &size.into(), MaskFormat::Binary)?.of_any_shape(),
                CACHE_BYTES,
            ))));
        }
    }
    Ok(None)
}
