use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fmam_core::AnomalyMap;
use fmam_files::{Digest, LockError, MadeDirs};
use fmam_inspection::{Calibration, Threshold};
use fmam_record::{RecordError, RecordedPath};
use fmam_report::{
    ReportError, defect_mask, overlay_in_colour, sheet, write_large_png, write_map_file, write_mask_png,
};
use serde::{Deserialize, Serialize};

use super::drawing::Drawing;
use super::line::{Files, Line};
use super::places::{Layout, PICTURE_FOLDERS, Pictures, Taken};
use super::writable::check_writable;
use crate::{Error, Verdict};

/// The lines of all images within the folder.
const LINES_FILE: &str = "predictions.jsonl";

/// Bytes of a line, and of `verdicts_by.json`, at most.
const MAX_LINE: u64 = 16 << 20;

/// The detector and the threshold of the lines, within the folder.
pub(crate) const BY_FILE: &str = "verdicts_by.json";

/// A folder of verdicts: `predictions.jsonl` with a [`Line`] for each image, and the files of
/// [`Pictures`].
///
/// An image is finished when its line stands there: its files are written before. A line and the
/// files of an image depend on the image, its path and the detector, not on other images. The
/// folder can be read at any time, and a process that is killed loses the image under way only.
/// [`Predictions::resume`] goes on in it.
///
/// While it is open no other process writes to the folder.
#[derive(Debug)]
pub struct Predictions {
    folder: PathBuf,
    lines: File,
    /// Bytes of whole lines.
    length: u64,
    pictures: Pictures,
    /// Removes folders that were made for it and stayed empty.
    _made: MadeDirs,
}

/// The detector, the threshold and the files of the verdicts in a folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerdictsBy {
    /// SHA-256 of `model.toml` of the detector, 64 hexadecimal digits.
    pub model_sha256: String,
    /// The threshold; `None` for scores without verdicts.
    pub threshold: Option<Threshold>,
    /// The files of each image.
    pub pictures: Pictures,
}

impl VerdictsBy {
    /// The verdicts of the detector in the folder `model` by `threshold`, with `pictures`.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn of(model: &Path, threshold: Option<Threshold>, pictures: Pictures) -> Result<Self, Error> {
        // The card has the digests of the networks.
        let path = model.join("model.toml");
        let digest = Digest::of_file(&path).map_err(|source| Error::Read { path, source })?;
        Ok(Self { model_sha256: digest.to_string(), threshold, pictures })
    }
}

/// The outcome of [`Predictions::add`].
#[derive(Debug, Default)]
pub struct Added {
    /// The files that were written.
    pub files: Files,
    /// Files that could not be written because of their names; the line was.
    pub omitted: Vec<Error>,
}

/// The part of a line that tells the image.
#[derive(Deserialize)]
struct Finished {
    image: RecordedPath,
}

impl Predictions {
    /// Begins in the folder `out`, which must be new or empty; it is never renamed or replaced. The
    /// second value tells the images that are scored.
    ///
    /// # Errors
    /// [`Error::Resumable`] for a folder with earlier predictions, [`Error::NotEmpty`] for another
    /// one that is not empty, [`Error::Write`].
    pub fn begin(out: &Path, pictures: Pictures) -> Result<(Self, Taken), Error> {
        if out.join(LINES_FILE).exists() {
            return Err(Error::Resumable { path: out.to_owned() });
        }
        Self::resume(out, pictures)
    }

    /// Goes on in the folder `out`, which may also be new or empty. The images of its lines are
    /// among those that are scored; a last line that was not written to its end is removed.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] for a folder that holds something else, [`Error::DamagedLine`],
    /// [`Error::Record`] where another process is at work in it, [`Error::Read`], [`Error::Write`].
    pub fn resume(out: &Path, pictures: Pictures) -> Result<(Self, Taken), Error> {
        let path = out.join(LINES_FILE);
        if !path.exists() && !is_free(out).map_err(|source| Error::Read { path: out.to_owned(), source })? {
            return Err(Error::NotEmpty { path: out.to_owned() });
        }
        let made = check_writable(out)?;
        let mut lines = fmam_files::open_locked(&path).map_err(|error| match error {
            LockError::Held => RecordError::InUse { folder: out.to_owned() }.into(),
            LockError::Io(source) => Error::Write { path: path.clone(), source },
        })?;
        let mut taken = Taken::new(pictures);
        let length = read_lines(&mut lines, &path, &mut taken)?;
        let cut = lines.set_len(length).and_then(|()| lines.seek(SeekFrom::Start(length)));
        cut.map_err(|source| Error::Write { path, source })?;
        for name in PICTURE_FOLDERS {
            let folder = out.join(name);
            remove_leftovers(&folder).map_err(|source| Error::Write { path: folder, source })?;
        }
        let predictions = Self { folder: out.to_owned(), lines, length, pictures, _made: made };
        Ok((predictions, taken))
    }

    /// States the detector and the threshold of all verdicts in the folder, in `verdicts_by.json`.
    /// Call it before the first verdict: a folder that is gone on in must have the same.
    ///
    /// # Errors
    /// [`Error::OtherVerdicts`] for a folder of another detector or threshold, [`Error::Read`],
    /// [`Error::Write`].
    pub fn state(&self, by: &VerdictsBy) -> Result<(), Error> {
        let path = self.folder.join(BY_FILE);
        let text = format!("{}\n", serde_json::to_string(by)?);
        match fmam_files::read_text_limited(&path, MAX_LINE) {
            Ok(known) if known == text => Ok(()),
            Ok(_) => Err(Error::OtherVerdicts { path: self.folder.clone() }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fmam_files::write_atomic(&path, |file| file.write_all(text.as_bytes()))
                    .map_err(|source| Error::Write { path, source })
            }
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// True if the pictures are better with the images as they were given, see
    /// [`Verdicts::with_originals`](crate::Verdicts::with_originals).
    pub fn needs_originals(&self) -> bool {
        self.pictures.overlays == Some(Layout::Overlay)
    }

    /// Writes the files of a verdict, then its line. The overlay has the size of the image where
    /// [`Verdicts::with_originals`](crate::Verdicts::with_originals) was asked for, else the
    /// detector's. `calibration` is that of the detector.
    ///
    /// # Errors
    /// [`Error::Report`], [`Error::Write`] for a file that cannot be written; the lines and files
    /// before it stay as they are.
    pub fn add(&mut self, verdict: &Verdict, calibration: Option<&Calibration>) -> Result<Added, Error> {
        let mut added = Added::default();
        if self.pictures != Pictures::NONE {
            self.draw(verdict, calibration, &mut added)?;
        }
        let line = Line::new(verdict, added.files.clone()).json()?;
        if let Err(source) = self.lines.write_all(line.as_bytes()) {
            // Half a line would be in the way of every reader, and a later line begins in its
            // place. A failure to remove it is no worse than the first one, which is told.
            let _ = self.lines.set_len(self.length);
            let _ = self.lines.seek(SeekFrom::Start(self.length));
            return Err(Error::Write { path: self.folder.join(LINES_FILE), source });
        }
        self.length += line.len() as u64;
        Ok(added)
    }

    /// Writes the pictures of a verdict.
    fn draw(
        &self,
        verdict: &Verdict,
        calibration: Option<&Calibration>,
        added: &mut Added,
    ) -> Result<(), Error> {
        let path = verdict.path.clone().unwrap_or_else(|| PathBuf::from(&verdict.name));
        let padded = &verdict.prediction.anomaly_map;
        let contour = verdict.inspection.as_ref().map(|inspection| inspection.threshold.contour);
        let drawing = Drawing::of(verdict, calibration);
        let (colours, map, size) = (drawing.colours(), drawing.content(), drawing.size());
        let needs_large = self.pictures.overlays != Some(Layout::Sheet)
            || self.pictures.maps.is_some()
            || self.pictures.masks;
        let large: Option<AnomalyMap> = needs_large.then(|| drawing.large_map()).transpose()?;
        let large = large.as_ref().unwrap_or(map);

        if let (Some(layout), Some(place)) = (self.pictures.overlays, self.pictures.overlay(&path)) {
            let file = self.folder.join(&place);
            let picture = match (layout, &verdict.original) {
                (Layout::Sheet, _) => sheet(&verdict.image, padded, colours),
                (Layout::Overlay, Some(original)) => overlay_in_colour(original, large, colours),
                (Layout::Overlay, None) => overlay_in_colour(&verdict.image, map, colours),
            };
            let written = picture.and_then(|picture| write_large_png(&file, &picture));
            added.files.overlay = added.keep(place, written)?;
        }
        if let (Some(format), Some(place)) = (self.pictures.maps, self.pictures.map(&path)) {
            let written = write_map_file(&self.folder.join(&place), format, large, size, colours.range());
            added.files.map = added.keep(place, written)?;
        }
        if let (Some(contour), Some(place)) = (contour, self.pictures.mask(&path)) {
            let written = defect_mask(large, contour, size)
                .and_then(|mask| write_mask_png(&self.folder.join(&place), &mask));
            added.files.mask = added.keep(place, written)?;
        }
        Ok(())
    }
}

impl Drop for Predictions {
    /// A folder without a line is no result.
    fn drop(&mut self) {
        // The lines reach the disk by themselves; this only makes it sooner.
        let _ = self.lines.sync_data();
        if self.length == 0 {
            let _ = fs::remove_file(self.folder.join(LINES_FILE));
            let _ = fs::remove_file(self.folder.join(BY_FILE));
        }
    }
}

impl Added {
    /// The place of a file that was written; `None` for one whose name the file system does not
    /// take.
    fn keep(
        &mut self,
        place: PathBuf,
        written: Result<(), ReportError>,
    ) -> Result<Option<RecordedPath>, Error> {
        match written {
            Ok(()) => Ok(Some(place.into())),
            Err(error) if is_of_name(&error) => {
                self.omitted.push(error.into());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// True if the name of a file is the reason that it could not be written: too long, or one of its
/// folders is the file of another image.
fn is_of_name(error: &ReportError) -> bool {
    let error: &(dyn std::error::Error + 'static) = error;
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| {
        matches!(
            error.kind(),
            ErrorKind::InvalidFilename
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::AlreadyExists
        )
    })
}

/// True if `out` is missing or an empty folder. A new file system has a folder for lost files.
fn is_free(out: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(out) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        if entry?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds the images of all whole lines to `taken`; gives the number of bytes of these lines.
fn read_lines(lines: &mut File, path: &Path, taken: &mut Taken) -> Result<u64, Error> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let (mut reader, mut length, mut line) = (BufReader::new(lines), 0, Vec::new());
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(read_error)?;
        // A line of this length is damaged, wherever it ends.
        if line.last() != Some(&b'\n') && (read as u64) < MAX_LINE {
            break;
        }
        let damaged = |source| Error::DamagedLine { path: path.to_owned(), number, source };
        let Finished { image } = serde_json::from_slice(&line).map_err(damaged)?;
        // Two images of earlier calls may have shared a file; both are finished.
        let _ = taken.admit(&image.0);
        length += read as u64;
    }
    Ok(length)
}

/// Removes the temporary files that a killed process left below `folder`.
fn remove_leftovers(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    fmam_files::remove_leftovers(folder)?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_leftovers(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fmam_datasets::image_size;
    use fmam_report::MapFormat;

    use super::*;
    use crate::output::fixture::verdict;

    const ALL: Pictures =
        Pictures { overlays: Some(Layout::Overlay), maps: Some(MapFormat::Tiff), masks: true };

    fn n_entries(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn the_files_of_an_image_stand_before_its_line_does() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("new/out");
        let (mut predictions, _) = Predictions::begin(&out, ALL).unwrap();
        let text = || fs::read_to_string(out.join(LINES_FILE)).unwrap();
        assert_eq!(text(), "");
        let added = predictions.add(&verdict("in/a.bmp", Some(1.0)), None).unwrap();
        let Files { overlay, map, mask } = added.files;
        for place in [&overlay, &mask] {
            let size = image_size(&out.join(&place.as_ref().unwrap().0)).unwrap();
            assert_eq!((size.height, size.width), (2, 4));
        }
        assert_eq!(map.unwrap().0, Path::new("maps/in/a.bmp.tiff"));
        assert!(out.join("maps/in/a.bmp.tiff").is_file());
        assert_eq!(text().lines().count(), 1);
        // There is no mask without a threshold.
        let added = predictions.add(&verdict("in/b.png", None), None).unwrap();
        assert!(added.files.mask.is_none() && added.files.overlay.is_some() && added.omitted.is_empty());
        drop(predictions);
        assert_eq!(text().lines().count(), 2);
    }

    #[test]
    fn a_folder_without_a_verdict_leaves_nothing_and_a_full_one_is_kept() {
        let root = tempfile::tempdir().unwrap();
        drop(Predictions::begin(&root.path().join("new/out"), ALL).unwrap());
        assert_eq!(n_entries(root.path()), 0);
        // As a new file system has it.
        fs::create_dir(root.path().join("lost+found")).unwrap();
        drop(Predictions::begin(root.path(), ALL).unwrap());
        fs::write(root.path().join("kept"), "x").unwrap();
        for begin in [Predictions::begin, Predictions::resume] {
            let refused = begin(root.path(), ALL).unwrap_err();
            assert!(matches!(refused, Error::NotEmpty { .. }), "{refused}");
            let refused = begin(&root.path().join("kept"), ALL).unwrap_err();
            assert!(matches!(refused, Error::NotEmpty { .. }), "{refused}");
        }
        assert_eq!(n_entries(root.path()), 2);
    }

    #[test]
    fn a_torn_line_is_removed_and_the_whole_ones_are_known() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(LINES_FILE);
        let (mut predictions, _) = Predictions::begin(root.path(), Pictures::NONE).unwrap();
        predictions.add(&verdict("a.png", None), None).unwrap();
        let another = Predictions::resume(root.path(), Pictures::NONE).unwrap_err();
        assert!(matches!(another, Error::Record(RecordError::InUse { .. })), "{another}");
        drop(predictions);
        let begun = Predictions::begin(root.path(), Pictures::NONE).unwrap_err();
        assert!(matches!(begun, Error::Resumable { .. }), "{begun}");

        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{{\"image\":\"b.p")).unwrap();
        let (mut predictions, mut taken) = Predictions::resume(root.path(), Pictures::NONE).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        let mut admit = |image: &str| taken.admit(Path::new(image)).unwrap();
        assert!(!admit("a.png") && admit("b.png"));
        predictions.add(&verdict("b.png", None), None).unwrap();
        drop(predictions);
        assert_eq!(fs::read_to_string(&path).unwrap(), whole.clone() + &whole.replace("a.png", "b.png"));

        fs::write(&path, format!("{whole}nothing\n{whole}")).unwrap();
        let damaged = Predictions::resume(root.path(), Pictures::NONE).unwrap_err();
        assert!(matches!(damaged, Error::DamagedLine { number: 2, .. }), "{damaged}");
    }

    #[test]
    fn a_name_that_the_file_system_refuses_costs_the_picture_only() {
        let root = tempfile::tempdir().unwrap();
        let (mut predictions, _) = Predictions::begin(root.path(), Pictures::default()).unwrap();
        let long = "n".repeat(254);
        for (image, n_omitted) in [("a", 0), (long.as_str(), 1), ("a.png/b", 1)] {
            let added = predictions.add(&verdict(image, None), None).unwrap();
            assert_eq!(added.omitted.len(), n_omitted, "{image}: {:?}", added.omitted);
            assert_eq!(added.files.overlay.is_some(), n_omitted == 0);
        }
        assert_eq!(fs::read_to_string(root.path().join(LINES_FILE)).unwrap().lines().count(), 3);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_temporary_files_of_a_killed_process_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let (mut predictions, _) = Predictions::begin(root.path(), Pictures::default()).unwrap();
        predictions.add(&verdict("in/a.png", None), None).unwrap();
        drop(predictions);
        let left = root.path().join("overlays/in/.partial-x");
        fs::write(&left, "half").unwrap();
        drop(Predictions::resume(root.path(), Pictures::default()).unwrap());
        assert!(!left.exists() && root.path().join("overlays/in/a.png").is_file());
    }
}
