use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fmam_files::{Digest, LockError, MadeDirs, stands_at};
use fmam_inspection::{Calibration, Threshold};
use fmam_record::{RecordError, RecordedPath};
use fmam_report::{
    ReportError, defect_mask, overlay_in_colour, sheet, write_large_png, write_map_file, write_mask_png,
};
use serde::Serialize;

use super::drawing::Drawing;
use super::finished::{LINES_FILE, MAX_LINE, read_lines};
use super::line::{Files, Line};
use super::places::{Layout, PICTURE_FOLDERS, Pictures, Taken};
use super::writable::{check_writable, is_free, remove_leftovers_below};
use crate::{Error, Verdict};

/// The detector and the threshold of the lines, within the folder.
pub(crate) const BY_FILE: &str = "verdicts_by.json";

/// Pictures that are made durable at once: waiting for the disk after each takes longer than
/// drawing it.
const PICTURES_PER_SYNC: usize = 256;

/// A folder of verdicts: `predictions.jsonl` with a [`Line`] for each image, and the files of
/// [`Pictures`].
///
/// The line of an image is written first and its pictures after it, so that no picture costs a
/// verdict: a file that cannot be written is counted, and no line names it. A line and the files of
/// an image depend on the image, its path and the detector, not on other images. The folder can be
/// read at any time, and a process that is killed loses the image under way only.
/// [`Predictions::resume`] goes on in it. A crash of the machine may cost the pictures of the last
/// 256 images.
///
/// While it is open no other process writes to the folder.
#[derive(Debug)]
pub struct Predictions {
    folder: PathBuf,
    lines: File,
    /// Bytes of whole lines.
    length: u64,
    pictures: Pictures,
    /// Pictures that a crash of the machine could still damage.
    unsynced: Vec<PathBuf>,
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
    /// Files that could not be written; the line was.
    pub omitted: Vec<Error>,
}

impl Predictions {
    /// Begins in the folder `out`, which must be new, empty, or without a whole line of an earlier
    /// call; it is never renamed or replaced. The second value tells the images that are scored.
    ///
    /// # Errors
    /// [`Error::Resumable`] for a folder with earlier predictions, [`Error::NotEmpty`] for another
    /// one that is not empty, [`Error::Record`] where another process is at work in it,
    /// [`Error::Write`].
    pub fn begin(out: &Path, pictures: Pictures) -> Result<(Self, Taken), Error> {
        let (mut predictions, taken) = Self::open(out, pictures)?;
        if predictions.length > 0 {
            return Err(Error::Resumable { path: out.to_owned() });
        }
        predictions.cut().map_err(|source| predictions.write_error(source))?;
        Ok((predictions, taken))
    }

    /// Goes on in the folder `out`, which may also be new or empty. The images of its lines are
    /// among those that are scored; a last line that was not written to its end is removed, and so
    /// is one whose pictures were not written.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] for a folder that holds something else, [`Error::DamagedLine`],
    /// [`Error::Record`] where another process is at work in it, [`Error::Read`], [`Error::Write`].
    pub fn resume(out: &Path, pictures: Pictures) -> Result<(Self, Taken), Error> {
        let (mut predictions, taken) = Self::open(out, pictures)?;
        predictions.cut().map_err(|source| predictions.write_error(source))?;
        Ok((predictions, taken))
    }

    /// Locks the folder and reads its lines.
    fn open(out: &Path, pictures: Pictures) -> Result<(Self, Taken), Error> {
        let path = out.join(LINES_FILE);
        let free = is_free(out, &[BY_FILE]).map_err(|source| Error::Read { path: out.to_owned(), source })?;
        if !free && !path.exists() {
            return Err(Error::NotEmpty { path: out.to_owned() });
        }
        let made = check_writable(out)?;
        let mut lines = fmam_files::open_locked(&path).map_err(|error| match error {
            LockError::Held => RecordError::InUse { folder: out.to_owned() }.into(),
            LockError::Io(source) => Error::Write { path: path.clone(), source },
        })?;
        let mut taken = Taken::new(pictures);
        let length = read_lines(&mut lines, out, &mut taken)?;
        fmam_files::remove_leftovers(out).map_err(|source| Error::Write { path: out.to_owned(), source })?;
        for name in PICTURE_FOLDERS {
            let folder = out.join(name);
            remove_leftovers_below(&folder).map_err(|source| Error::Write { path: folder, source })?;
        }
        let folder = out.to_owned();
        let predictions = Self { folder, lines, length, pictures, unsynced: Vec::new(), _made: made };
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
            Ok(_) if self.length > 0 => Err(Error::OtherVerdicts { path: self.folder.clone() }),
            Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::Read { path, source }),
            // Without a line what a killed process stated is of nothing.
            Ok(_) | Err(_) => fmam_files::write_atomic(&path, |file| file.write_all(text.as_bytes()))
                .map_err(|source| Error::Write { path, source }),
        }
    }

    /// True if the pictures are better with the images as they were given, see
    /// [`Verdicts::with_originals`](crate::Verdicts::with_originals).
    pub fn needs_originals(&self) -> bool {
        self.pictures.overlays == Some(Layout::Overlay)
    }

    /// Writes the line of a verdict, then its files. The overlay has the size of the image where
    /// [`Verdicts::with_originals`](crate::Verdicts::with_originals) was asked for, else the
    /// detector's. `calibration` is that of the detector.
    ///
    /// # Errors
    /// [`Error::Vanished`] where the folder is no longer there, [`Error::Write`] for a line that
    /// cannot be written; the lines and files before it stay as they are. A picture that cannot be
    /// written is no error: see [`Added::omitted`].
    pub fn add(&mut self, verdict: &Verdict, calibration: Option<&Calibration>) -> Result<Added, Error> {
        self.check_place()?;
        let planned = self.planned(verdict);
        let line = Line::new(verdict, planned.clone()).json()?;
        let start = self.length;
        if let Err(source) = self.lines.write_all(line.as_bytes()) {
            // Half a line would be in the way of every reader, and a later line begins in its
            // place. A failure to remove it is no worse than the first one, which is told.
            let _ = self.cut();
            return Err(self.write_error(source));
        }
        self.length += line.len() as u64;
        let mut added = Added::default();
        if planned == Files::default() {
            return Ok(added);
        }
        self.draw(verdict, calibration, planned.clone(), &mut added);
        if added.files != planned {
            let kept = Line::new(verdict, added.files.clone()).json()?;
            self.rewrite(start, &kept, line.len()).map_err(|source| self.write_error(source))?;
        }
        if self.unsynced.len() >= PICTURES_PER_SYNC {
            self.sync_pictures()?;
        }
        Ok(added)
    }

    /// Makes everything in the folder durable, at the end of the work.
    ///
    /// # Errors
    /// [`Error::Vanished`] where the folder is no longer there, [`Error::Write`].
    pub fn finish(mut self) -> Result<(), Error> {
        self.check_place()?;
        self.lines.sync_data().map_err(|source| self.write_error(source))?;
        self.sync_pictures()
    }

    /// Checks that the lines go to the file at their path, and not to one that was removed.
    fn check_place(&self) -> Result<(), Error> {
        match stands_at(&self.lines, &self.folder.join(LINES_FILE)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Vanished { path: self.folder.clone() }),
            Err(source) => Err(self.write_error(source)),
        }
    }

    fn write_error(&self, source: io::Error) -> Error {
        Error::Write { path: self.folder.join(LINES_FILE), source }
    }

    /// Removes what follows the whole lines.
    fn cut(&mut self) -> io::Result<()> {
        self.lines.set_len(self.length)?;
        self.lines.seek(SeekFrom::Start(self.length)).map(drop)
    }

    /// Puts the line `kept` in the place of the last one, which begins at `start` and has `length`
    /// bytes. Blanks fill the rest, so that the file needs no other room and is whole all along.
    fn rewrite(&mut self, start: u64, kept: &str, length: usize) -> io::Result<()> {
        let mut kept = kept.trim_end().to_owned();
        kept.extend(std::iter::repeat_n(' ', (length - 1).saturating_sub(kept.len())));
        kept.push('\n');
        self.lines.seek(SeekFrom::Start(start))?;
        self.lines.write_all(kept.as_bytes())?;
        self.lines.seek(SeekFrom::Start(self.length)).map(drop)
    }

    fn sync_pictures(&mut self) -> Result<(), Error> {
        let written = std::mem::take(&mut self.unsynced);
        fmam_files::sync_files(&written).map_err(|source| Error::Write { path: self.folder.clone(), source })
    }

    /// The files that a verdict is to have.
    fn planned(&self, verdict: &Verdict) -> Files {
        let path = path_of(verdict);
        Files {
            overlay: self.pictures.overlay(&path).map(Into::into),
            map: self.pictures.map(&path).map(Into::into),
            mask: self.pictures.mask(&path).filter(|_| verdict.inspection.is_some()).map(Into::into),
        }
    }

    /// Writes the pictures `planned` of a verdict.
    fn draw(
        &mut self,
        verdict: &Verdict,
        calibration: Option<&Calibration>,
        planned: Files,
        added: &mut Added,
    ) {
        let padded = &verdict.prediction.anomaly_map;
        let contour = verdict.inspection.as_ref().map(|inspection| inspection.threshold.contour);
        let drawing = Drawing::of(verdict, calibration);
        let (colours, map, size) = (drawing.colours(), drawing.content(), drawing.size());
        let needs_large =
            self.pictures.overlays != Some(Layout::Sheet) || planned.map.is_some() || planned.mask.is_some();
        let large = match needs_large.then(|| drawing.large_map()).transpose() {
            Ok(large) => large,
            Err(error) => {
                added.omitted.push(error);
                return;
            }
        };
        let large = large.as_ref().unwrap_or(map);
        let Files { overlay, map: map_file, mask } = planned;
        let layout = self.pictures.overlays.unwrap_or_default();
        added.files.overlay = self.keep(overlay, added, |file| {
            let picture = match (layout, &verdict.original) {
                (Layout::Sheet, _) => sheet(&verdict.image, padded, colours),
                (Layout::Overlay, Some(original)) => overlay_in_colour(original, large, colours),
                (Layout::Overlay, None) => overlay_in_colour(&verdict.image, map, colours),
            };
            write_large_png(file, &picture?)
        });
        if let Some(format) = self.pictures.maps {
            added.files.map =
                self.keep(map_file, added, |file| write_map_file(file, format, large, size, colours.range()));
        }
        if let Some(contour) = contour {
            added.files.mask =
                self.keep(mask, added, |file| write_mask_png(file, &defect_mask(large, contour, size)?));
        }
    }

    /// Writes a file; gives its place, or counts it as omitted.
    fn keep(
        &mut self,
        place: Option<RecordedPath>,
        added: &mut Added,
        write: impl FnOnce(&Path) -> Result<(), ReportError>,
    ) -> Option<RecordedPath> {
        let place = place?;
        let file = self.folder.join(&place.0);
        match write(&file) {
            Ok(()) => {
                self.unsynced.push(file);
                Some(place)
            }
            Err(error) => {
                added.omitted.push(error.into());
                None
            }
        }
    }
}

impl Drop for Predictions {
    /// A folder without a line is no result.
    fn drop(&mut self) {
        // The lines reach the disk by themselves; this only makes it sooner.
        let _ = self.lines.sync_data();
        if self.length == 0 && self.check_place().is_ok() {
            let _ = fs::remove_file(self.folder.join(BY_FILE));
            let _ = fs::remove_file(self.folder.join(LINES_FILE));
        }
    }
}

/// The path of an image, or its name.
fn path_of(verdict: &Verdict) -> PathBuf {
    verdict.path.clone().unwrap_or_else(|| PathBuf::from(&verdict.name))
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
    fn an_image_has_its_line_and_its_files() {
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

    #[cfg(unix)]
    #[test]
    fn a_folder_that_is_removed_or_renamed_loses_no_line_in_silence() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        let is_replaced = |predictions: &mut Predictions| {
            let added = predictions.add(&verdict("b.png", None), None);
            assert!(matches!(added, Err(Error::Vanished { .. })), "{added:?}");
        };
        let begin = || {
            let (mut predictions, _) = Predictions::begin(&out, Pictures::default()).unwrap();
            predictions.add(&verdict("a.png", None), None).unwrap();
            predictions
        };
        let mut predictions = begin();
        fs::remove_dir_all(&out).unwrap();
        is_replaced(&mut predictions);
        assert!(!out.exists() && predictions.finish().is_err());
        let mut predictions = begin();
        let kept = root.path().join("kept");
        fs::rename(&out, &kept).unwrap();
        is_replaced(&mut predictions);
        assert!(!out.exists());
        // Another process may have begun in a folder of the same name.
        let _other = begin();
        is_replaced(&mut predictions);
        drop(predictions);
        for folder in [&out, &kept] {
            assert_eq!(fs::read_to_string(folder.join(LINES_FILE)).unwrap().lines().count(), 1);
        }
    }

    #[test]
    fn a_picture_that_cannot_be_written_costs_no_line_and_no_line_names_it() {
        let root = tempfile::tempdir().unwrap();
        let (mut predictions, _) = Predictions::begin(root.path(), ALL).unwrap();
        // No folder of maps can be made, whatever the name of the image.
        fs::write(root.path().join("maps"), "in the way").unwrap();
        let long = "n".repeat(254);
        for (image, n_omitted) in [("a", 1), (long.as_str(), 3), ("a.png/b", 3), ("öl ä.png", 1)] {
            let added = predictions.add(&verdict(image, Some(1.0)), None).unwrap();
            assert_eq!(added.omitted.len(), n_omitted, "{image}: {:?}", added.omitted);
            assert!(added.files.map.is_none());
            let text = fs::read_to_string(root.path().join(LINES_FILE)).unwrap();
            let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            assert_eq!((line["image"].as_str(), line.get("map")), (Some(image), None));
            assert_eq!(line.get("overlay").is_some(), n_omitted == 1, "{line}");
        }
        predictions.finish().unwrap();
        assert_eq!(fs::read_to_string(root.path().join(LINES_FILE)).unwrap().lines().count(), 4);
        drop(Predictions::resume(root.path(), ALL).unwrap());
    }

    #[test]
    fn an_image_without_its_pictures_is_scored_again() {
        let root = tempfile::tempdir().unwrap();
        let images = ["a.png", "b.png", "gone.png"].map(|name| root.path().join(name));
        let out = root.path().join("out");
        let overlay = |image: &Path| out.join(Pictures::default().overlay(image).unwrap());
        let (mut predictions, _) = Predictions::begin(&out, Pictures::default()).unwrap();
        let add = |predictions: &mut Predictions, image: &Path| {
            let named = crate::Verdict { path: Some(image.to_owned()), ..verdict("x", None) };
            assert!(predictions.add(&named, None).unwrap().omitted.is_empty());
        };
        for image in &images[..2] {
            fs::write(image, "x").unwrap();
            add(&mut predictions, image);
        }
        predictions.finish().unwrap();
        // As a process leaves it that is killed between a line and its picture.
        fs::remove_file(overlay(&images[1])).unwrap();
        let (mut predictions, taken) = Predictions::resume(&out, Pictures::default()).unwrap();
        assert!(taken.knows(&images[0]) && !taken.knows(&images[1]));
        add(&mut predictions, &images[1]);
        add(&mut predictions, &images[2]);
        predictions.finish().unwrap();
        // The line of an image that cannot be scored again stays.
        fs::remove_file(overlay(&images[2])).unwrap();
        let (_, taken) = Predictions::resume(&out, Pictures::default()).unwrap();
        assert!(images.iter().all(|image| taken.knows(image)));
    }

    #[test]
    fn a_call_after_a_kill_before_the_first_line_begins_anew() {
        let root = tempfile::tempdir().unwrap();
        let by = |model: &str| VerdictsBy {
            model_sha256: model.to_owned(),
            threshold: None,
            pictures: Pictures::NONE,
        };
        for left in ["", "{\"image\":\"a.p"] {
            let (predictions, _) = Predictions::begin(root.path(), Pictures::NONE).unwrap();
            predictions.state(&by("one")).unwrap();
            std::mem::forget(predictions);
            // The lock of a killed process is free: here another file stands for that.
            fs::remove_file(root.path().join(LINES_FILE)).unwrap();
            fs::write(root.path().join(LINES_FILE), left).unwrap();
            fs::write(root.path().join(".partial-x"), "probe").unwrap();
            let (mut predictions, _) = Predictions::begin(root.path(), Pictures::NONE).unwrap();
            predictions.state(&by("another")).unwrap();
            predictions.add(&verdict("a.png", None), None).unwrap();
            let other = predictions.state(&by("one"));
            assert!(matches!(other, Err(Error::OtherVerdicts { .. })), "{other:?}");
            predictions.finish().unwrap();
            assert_eq!(n_entries(root.path()), 2);
            let text = fs::read_to_string(root.path().join(LINES_FILE)).unwrap();
            assert!(text.starts_with("{\"image\":\"a.png\"") && text.lines().count() == 1, "{text}");
            fs::remove_file(root.path().join(LINES_FILE)).unwrap();
            // The statement alone is no result.
        }
        // A probe alone was left by a kill, too.
        fs::write(root.path().join(".partial-x"), "probe").unwrap();
        drop(Predictions::begin(root.path(), Pictures::NONE).unwrap());
        assert_eq!(n_entries(root.path()), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_temporary_files_of_a_killed_process_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let (mut predictions, _) = Predictions::begin(root.path(), Pictures::default()).unwrap();
        predictions.add(&verdict("in/a.png", None), None).unwrap();
        drop(predictions);
        let left = [".partial-x", "overlays/in/.partial-x"].map(|name| root.path().join(name));
        left.iter().for_each(|left| fs::write(left, "half").unwrap());
        drop(Predictions::resume(root.path(), Pictures::default()).unwrap());
        assert!(left.iter().all(|left| !left.exists()) && root.path().join("overlays/in/a.png").is_file());
    }
}
