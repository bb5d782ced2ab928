use std::path::Path;
use std::sync::Arc;

use fmam_core::{ImageSize, Label, Sample, SampleSource, ordered_map};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::names::refuse_shared_names;
use crate::source::{FileDigests, FileSource, MaskFormat, Sha, hash_description, hex};
use crate::{CachedSource, DEFAULT_CACHE_BYTES, DatasetError};

/// Begins what is hashed: a digest of another version or of something else differs.
const FINGERPRINT: &str = "fmam category fingerprint 1";
const CONTENT: &str = "fmam category content 1";
const GENERATED: &str = "fmam generated category 1";

/// One category: a product of which normal images are learnt and defects are to be found.
#[derive(Clone)]
pub struct Category {
    /// Its name in the data set.
    pub name: String,
    /// Normal images to fit on.
    pub train: Arc<dyn SampleSource>,
    /// Normal and anomalous images, with masks where the data set has them.
    pub test: Arc<dyn SampleSource>,
    content: Content,
}

/// The origin of a category's pixels.
#[derive(Clone)]
enum Content {
    Files {
        train: Arc<FileDigests>,
        test: Arc<FileDigests>,
    },
    /// By a program, from these settings.
    Generated(Value),
}

impl std::fmt::Debug for Category {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Category")
            .field("name", &self.name)
            .field("n_train", &self.train.len())
            .field("n_test", &self.test.len())
            .finish()
    }
}

impl Category {
    /// A category of image files under `folder`, after the checks that all layouts share.
    pub(crate) fn from_files(
        name: &str,
        folder: &Path,
        train: Vec<Sample>,
        test: Vec<Sample>,
        size: ImageSize,
        masks: MaskFormat,
    ) -> Result<Self, DatasetError> {
        for missing in [Label::Normal, Label::Anomalous] {
            if !test.iter().any(|sample| sample.label == missing) {
                return Err(DatasetError::OneClassTest { folder: folder.to_owned(), missing });
            }
        }
        let samples = train.iter().chain(&test);
        refuse_shared_names(samples.map(|sample| (sample.id.clone(), sample.image_path.as_path())))?;
        let mut train = FileSource::new(train, size, masks)?;
        let mut test = FileSource::new(test, size, masks)?;
        let content = Content::Files { train: train.digests(), test: test.digests() };
        Ok(Self { content, ..Self::cached(name, train, test) })
    }

    /// A category that the program generates; `settings` decide its pixels.
    pub(crate) fn generated(
        name: &str,
        train: impl SampleSource + 'static,
        test: impl SampleSource + 'static,
        settings: Value,
    ) -> Self {
        Self { content: Content::Generated(settings), ..Self::cached(name, train, test) }
    }

    fn cached(name: &str, train: impl SampleSource + 'static, test: impl SampleSource + 'static) -> Self {
        Self {
            name: name.to_owned(),
            train: Arc::new(CachedSource::new(train, DEFAULT_CACHE_BYTES)),
            test: Arc::new(CachedSource::new(test, DEFAULT_CACHE_BYTES)),
            content: Content::Generated(Value::Null),
        }
    }

    /// A cheap sign of a change: a SHA-256, in hexadecimal digits, over ids, labels and types of
    /// the samples and the sizes of their files, which are not read. The folder of the files and
    /// the size that images are resized to do not matter. A generated category has the same
    /// fingerprint and content digest, over its name and settings.
    ///
    /// # Errors
    /// [`DatasetError::Read`] for a file that is gone.
    pub fn fingerprint(&self) -> Result<String, DatasetError> {
        let Content::Files { .. } = &self.content else { return self.content_digest(1) };
        let mut hasher = Sha256::new();
        hasher.update(FINGERPRINT);
        for source in [&self.train, &self.test] {
            for sample in (0..source.len()).map(|index| source.sample(index)) {
                hash_description(&mut hasher, sample);
                for path in [Some(&sample.image_path), sample.mask_path.as_ref()].into_iter().flatten() {
                    let size = std::fs::metadata(path)
                        .map_err(|source| DatasetError::Read { path: path.clone(), source })?
                        .len();
                    hasher.update(size.to_le_bytes());
                }
            }
        }
        Ok(hex(&hasher.finalize().into()))
    }

    /// A SHA-256, in hexadecimal digits, over ids, labels and types of the samples and the bytes of
    /// their files, on `threads` threads, whose number does not change the digest. A file that was
    /// decoded before counts with the bytes that it had then and is not read again. The folder of
    /// the files and the size that images are resized to do not matter.
    ///
    /// # Errors
    /// [`DatasetError::Read`] for a file that cannot be read.
    pub fn content_digest(&self, threads: usize) -> Result<String, DatasetError> {
        let mut hasher = Sha256::new();
        match &self.content {
            Content::Generated(settings) => {
                // Keys of a JSON object are sorted.
                hasher.update(format!("{GENERATED}\n{}\n{settings}", self.name));
            }
            Content::Files { train, test } => {
                hasher.update(CONTENT);
                for (source, digests) in [(&self.train, train), (&self.test, test)] {
                    let digest = |index| digests.of_sample(index, source.sample(index));
                    let add = |_, digest: Result<Sha, DatasetError>| -> Result<(), DatasetError> {
                        hasher.update(digest?);
                        Ok(())
                    };
                    ordered_map(source.len(), threads, 2 * threads, digest, add)?;
                }
            }
        }
        Ok(hex(&hasher.finalize().into()))
    }
}
