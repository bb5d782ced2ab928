use std::path::Path;
use std::sync::OnceLock;

use fmam_core::{Label, Sample, Split};
use sha2::{Digest, Sha256};

use crate::DatasetError;

/// A SHA-256.
pub(crate) type Sha = [u8; 32];

/// Digests of the files of a list of samples. A file that is decoded anyway is hashed on the way.
pub(crate) struct FileDigests {
    images: Vec<OnceLock<Sha>>,
    masks: Vec<OnceLock<Sha>>,
}

impl FileDigests {
    /// No digests yet of the files of `n` samples.
    pub(crate) fn new(n: usize) -> Self {
        let none = || std::iter::repeat_with(OnceLock::new).take(n).collect();
        Self { images: none(), masks: none() }
    }

    /// Notes that `bytes` are the image file of sample `index`.
    pub(crate) fn note_image(&self, index: usize, bytes: &[u8]) {
        self.images[index].get_or_init(|| Sha256::digest(bytes).into());
    }

    /// Notes that `bytes` are the mask file of sample `index`.
    pub(crate) fn note_mask(&self, index: usize, bytes: &[u8]) {
        self.masks[index].get_or_init(|| Sha256::digest(bytes).into());
    }

    /// The digest of sample `index`: id, split, label, type and the content of its files. Files
    /// that were not decoded so far are read.
    pub(crate) fn of_sample(&self, index: usize, sample: &Sample) -> Result<Sha, DatasetError> {
        let mut hasher = Sha256::new();
        hash_description(&mut hasher, sample);
        hasher.update(known_or_read(&self.images[index], &sample.image_path)?);
        if let Some(mask) = &sample.mask_path {
            hasher.update(known_or_read(&self.masks[index], mask)?);
        }
        Ok(hasher.finalize().into())
    }
}

fn known_or_read(known: &OnceLock<Sha>, path: &Path) -> Result<Sha, DatasetError> {
    if let Some(digest) = known.get() {
        return Ok(*digest);
    }
    let bytes = std::fs::read(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    Ok(*known.get_or_init(|| Sha256::digest(&bytes).into()))
}

/// Feeds what is known of `sample` without its files, and without the folder they lie in, to
/// `hasher`.
pub(crate) fn hash_description(hasher: &mut Sha256, sample: &Sample) {
    let split = match sample.split {
        Split::Train => "train",
        Split::Test => "test",
    };
    let label = match sample.label {
        Label::Normal => "normal",
        Label::Anomalous => "anomalous",
    };
    let has_mask = if sample.mask_path.is_some() { "mask" } else { "no mask" };
    for text in [&sample.id, split, label, sample.defect_type.as_deref().unwrap_or_default(), has_mask] {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
}

/// 64 lower-case hexadecimal digits.
pub(crate) fn hex(digest: &Sha) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
