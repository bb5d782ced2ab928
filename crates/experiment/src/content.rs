//! Digests of what a run reads: the files of its images and of its weights.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fmam_core::{Progress, Sample, SampleSource, StageId, ordered_map};
use fmam_files::{Digest, Hasher};

use crate::ExperimentError;

/// SHA-256 of bytes, in hexadecimal digits.
pub(crate) fn bytes_sha256(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

/// SHA-256 of the file `path`, or over the names and contents of the files below the folder `path`,
/// in hexadecimal digits.
pub(crate) fn files_sha256(path: &Path) -> Result<String, ExperimentError> {
    let error = |path: &Path, source| ExperimentError::Read { path: path.to_owned(), source };
    let of_file = |path: &Path| Digest::of_file(path).map_err(|source| error(path, source));
    if !path.is_dir() {
        return Ok(of_file(path)?.to_string());
    }
    let (mut files, mut folders) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|source| error(&folder, source))? {
            let entry = entry.map_err(|source| error(&folder, source))?;
            let kind = entry.file_type().map_err(|source| error(&folder, source))?;
            if kind.is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.sort();
    let mut digest = SamplesDigest::default();
    for file in files.iter().filter(|path| path.is_file()) {
        digest.text(&file.strip_prefix(path).unwrap_or(file).to_string_lossy());
        digest.0.update(of_file(file)?.as_bytes());
    }
    Ok(digest.finish())
}

/// The digest of a list of samples in the making.
#[derive(Default)]
struct SamplesDigest(Hasher);

impl SamplesDigest {
    /// Adds a sample with what its files hold: a digest for each file that it has.
    fn add(&mut self, sample: &Sample, files: &[[u8; 32]]) {
        self.text(&sample.id);
        self.text(sample.defect_type.as_deref().unwrap_or_default());
        self.0.update([sample.label as u8, u8::from(!sample.mask_paths.is_empty()), files.len() as u8]);
        files.iter().for_each(|file| self.0.update(file));
    }

    /// The length parts one text from the next.
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    fn finish(self) -> String {
        self.0.finish().to_string()
    }
}

/// The files of a sample: none for a generated one.
fn files(sample: &Sample) -> impl Iterator<Item = &Path> {
    let image = Some(sample.image_path.as_path()).filter(|path| !path.as_os_str().is_empty());
    image.into_iter().chain(sample.mask_paths.iter().map(PathBuf::as_path))
}

/// Digests of the contents of a sample's files.
fn contents(sample: &Sample) -> Result<Vec<[u8; 32]>, ExperimentError> {
    let read = |path: &Path| {
        let digest = Digest::of_file(path);
        digest
            .map(|digest| *digest.as_bytes())
            .map_err(|source| ExperimentError::Read { path: path.to_owned(), source })
    };
    files(sample).map(read).collect()
}

/// SHA-256 over the samples of `sources` and over the sizes and modification times of their files,
/// which costs a look into the folders and no reading.
pub(crate) fn fingerprint(sources: &[&dyn SampleSource]) -> String {
    let mut digest = SamplesDigest::default();
    let facts = |path: &Path| -> [u8; 32] {
        // A file that cannot be looked at is told when it is read.
        let Ok(metadata) = fs::metadata(path) else { return [0xff; 32] };
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let mut facts = [0; 32];
        facts[..8].copy_from_slice(&metadata.len().to_le_bytes());
        facts[8..24].copy_from_slice(&modified.map_or(0, |since| since.as_nanos()).to_le_bytes());
        facts
    };
    for source in sources {
        for sample in (0..source.len()).map(|index| source.sample(index)) {
            digest.add(sample, &files(sample).map(facts).collect::<Vec<_>>());
        }
    }
    digest.finish()
}

/// SHA-256 over the samples of `sources` and over the contents of their files. `visit` sees each
/// sample just before its files are read.
pub(crate) fn digest(
    sources: &[&dyn SampleSource],
    threads: usize,
    progress: &dyn Progress,
    visit: impl Fn(&dyn SampleSource, usize) -> Result<(), ExperimentError> + Sync,
) -> Result<String, ExperimentError> {
    let mut digest = SamplesDigest::default();
    progress.start(&StageId::READING, sources.iter().map(|source| source.len() as u64).sum());
    let mut n_read = 0;
    for source in sources {
        let work = |index| visit(*source, index).and_then(|()| contents(source.sample(index)));
        ordered_map(source.len(), threads, 2 * threads, work, |index, files| {
            if progress.cancelled() {
                return Err(ExperimentError::Cancelled);
            }
            digest.add(source.sample(index), &files?);
            n_read += 1;
            progress.update(n_read, "");
            Ok(())
        })?;
    }
    progress.finish();
    Ok(digest.finish())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use fmam_core::{Label, Silent, Split};
    use fmam_testkit::Listed;

    use super::*;

    fn listed(folder: &Path) -> Listed {
        let sample = |name: &str, mask: Option<&str>| Sample {
            id: format!("test/{name}"),
            split: Split::Test,
            label: if mask.is_some() { Label::Anomalous } else { Label::Normal },
            defect_type: mask.map(|_| "cut".to_owned()),
            image_path: folder.join(name),
            mask_paths: mask.map(|name| folder.join(name)).into_iter().collect(),
        };
        Listed(vec![sample("a", None), sample("b", Some("m"))])
    }

    #[test]
    fn contents_decide_the_digest_and_times_the_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [("a", "one"), ("b", "two"), ("m", "mask")] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let source = listed(dir.path());
        let both = || (digest(&[&source], 2, &Silent, |_, _| Ok(())).unwrap(), fingerprint(&[&source]));
        let before = both();
        assert_eq!(both(), before);
        assert_eq!(before.0.len(), 64);

        let touch = |name: &str| {
            let file = File::options().write(true).open(dir.path().join(name)).unwrap();
            file.set_modified(UNIX_EPOCH).unwrap();
        };
        touch("a");
        let after = both();
        assert!(after.0 == before.0 && after.1 != before.1);

        // The same size, another content: of an image, and of a mask.
        for name in ["a", "m"] {
            touch(name);
            let before = both();
            let content: String = fs::read_to_string(dir.path().join(name)).unwrap().chars().rev().collect();
            fs::write(dir.path().join(name), content).unwrap();
            let after = both();
            assert!(after.0 != before.0 && after.1 != before.1, "{name}");
        }
        fs::remove_file(dir.path().join("b")).unwrap();
        assert!(
            matches!(digest(&[&source], 1, &Silent, |_, _| Ok(())), Err(ExperimentError::Read { path, .. })
            if path == dir.path().join("b"))
        );
        fingerprint(&[&source]);
    }
}
