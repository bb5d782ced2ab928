use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use fmam_core::{Sample, SampleSource};
use fmam_experiment::{Artist, Evaluation, ExperimentError, exhibited, exhibits};
use fmam_files::{LockError, MadeDirs, stands_at};
use fmam_methods::Detector;
use fmam_record::{Decision, MAPS_DIR, Metrics, OVERLAYS_DIR, RecordError};
use serde::Serialize;
use serde_json::{Value, json};

use super::writable::{check_writable, is_free};
use crate::Error;
use crate::output::test_findings::TestFindings;
use crate::report::Overlays;

/// Test images that are drawn.
const N_OVERLAYS: usize = 12;

/// The figures of an evaluation as `metrics.json` has them: a key for each metric, `decision` with
/// the threshold and the intervals where the detector was calibrated, and `findings` about the
/// images, where there are some.
#[derive(Debug, Clone, Serialize)]
pub struct Figures<'a> {
    #[serde(flatten)]
    metrics: &'a Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a Decision>,
    #[serde(skip_serializing_if = "TestFindings::is_empty")]
    findings: &'a TestFindings,
}

impl<'a> Figures<'a> {
    /// The figures of `evaluation`, with `findings` about its images.
    pub fn of(evaluation: &'a Evaluation, findings: &'a TestFindings) -> Self {
        Self { metrics: &evaluation.metrics, decision: evaluation.decision.as_ref(), findings }
    }
}

/// The lines of all images within the folder.
const SCORES_FILE: &str = "scores.jsonl";
/// The figures within the folder, the last file that an evaluation needs.
const METRICS_FILE: &str = "metrics.json";

/// Bytes of a line, at most.
const MAX_LINE: u64 = 1 << 20;

/// The folder of an evaluation: `scores.jsonl` with a line for each image, as it is scored, then
/// `metrics.json`, then pictures of some images; maps of all where the caller has them.
///
/// No file costs another its content: a map or a picture that cannot be written is counted, and the
/// first line that cannot be written is told at the end, by [`EvaluationFolder::write_figures`].
/// While the folder is open no other process writes to it.
#[derive(Debug)]
pub struct EvaluationFolder {
    folder: PathBuf,
    /// Locked.
    scores: File,
    n_lines: usize,
    /// The first failure to write a line; none is written after it.
    failure: Option<io::Error>,
    /// True after the folder was removed or replaced: nothing is written there any more.
    has_vanished: bool,
    /// Maps and pictures that a crash of the machine could still damage.
    unsynced: Vec<PathBuf>,
    omitted: Vec<Error>,
    /// Removes folders that were made for it and stayed empty.
    _made: MadeDirs,
}

impl EvaluationFolder {
    /// Begins in the folder `out`, which must be new or empty, or hold an evaluation that was not
    /// finished, be it only its pictures that are missing: that one is removed.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] for a folder that holds something else, [`Error::Record`] where another
    /// process is at work in it, [`Error::Read`], [`Error::Write`].
    pub fn begin(out: &Path) -> Result<Self, Error> {
        let write_error = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Write { path, source }
        };
        let metrics = out.join(METRICS_FILE);
        let own: &[&str] = match out.join(SCORES_FILE).exists() {
            true if is_undrawn(out) => &[SCORES_FILE, METRICS_FILE, OVERLAYS_DIR, MAPS_DIR],
            true => &[SCORES_FILE, OVERLAYS_DIR, MAPS_DIR],
            false => &[],
        };
        let is_ours = || is_free(out, own).map_err(|source| Error::Read { path: out.to_owned(), source });
        if !is_ours()? {
            return Err(Error::NotEmpty { path: out.to_owned() });
        }
        let made = check_writable(out)?;
        let path = out.join(SCORES_FILE);
        let scores = fmam_files::open_locked(&path).map_err(|error| match error {
            LockError::Held => RecordError::InUse { folder: out.to_owned() }.into(),
            LockError::Io(source) => Error::Write { path: path.clone(), source },
        })?;
        // Another process may have finished in it meanwhile.
        if metrics.exists() {
            if !is_undrawn(out) {
                return Err(Error::NotEmpty { path: out.to_owned() });
            }
            fs::remove_file(&metrics).map_err(write_error(&metrics))?;
        }
        scores.set_len(0).map_err(write_error(&path))?;
        for name in [OVERLAYS_DIR, MAPS_DIR] {
            let folder = out.join(name);
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(write_error(&folder)(error)),
                _ => {}
            }
        }
        fmam_files::remove_leftovers(out).map_err(write_error(out))?;
        Ok(Self {
            folder: out.to_owned(),
            scores,
            n_lines: 0,
            failure: None,
            has_vanished: false,
            unsynced: Vec::new(),
            omitted: Vec::new(),
            _made: made,
        })
    }

    /// The folder of the maps of all images, for [`EvaluationFolder::keep_map`].
    pub fn maps(&self) -> PathBuf {
        self.folder.join(MAPS_DIR)
    }

    /// Writes the line of the next image.
    pub fn add(&mut self, sample: &Sample, score: f32) {
        self.has_vanished |= !stands_at(&self.scores, &self.folder.join(SCORES_FILE)).unwrap_or(true);
        if self.failure.is_none() {
            self.failure = self.scores.write_all(score_line(sample, score, None).as_bytes()).err();
        }
        self.n_lines += usize::from(self.failure.is_none());
    }

    /// Writes a map by `write`, which gives its file, or counts it as omitted.
    pub fn keep_map(&mut self, write: impl FnOnce() -> Result<PathBuf, ExperimentError>) {
        if self.has_vanished {
            return;
        }
        match write() {
            Ok(path) => self.unsynced.push(path),
            Err(error) => self.omitted.push(error.into()),
        }
    }

    /// Writes `metrics.json`, the last file that an evaluation needs.
    ///
    /// # Errors
    /// [`Error::Vanished`] where the folder is no longer there; [`Error::Write`] for it, and for
    /// the first line of [`EvaluationFolder::add`] that could not be written.
    pub fn write_figures(&mut self, figures: &Figures<'_>) -> Result<(), Error> {
        let path = self.folder.join(SCORES_FILE);
        let failed = |source| Error::Write { path: path.clone(), source };
        if self.has_vanished || !stands_at(&self.scores, &path).map_err(failed)? {
            return Err(Error::Vanished { path: self.folder.clone() });
        }
        let text = format!("{}\n", serde_json::to_string_pretty(figures)?);
        let written = write(&self.folder.join(METRICS_FILE), &text);
        self.failure.take().map_or(Ok(()), Err).map_err(failed)?;
        written
    }

    /// Draws some images of the `evaluation` of `detector` on `test`, names the pictures in their
    /// lines, and makes everything durable. Gives the errors of maps and pictures that could not be
    /// written.
    pub fn draw(
        mut self,
        detector: &Detector,
        test: &dyn SampleSource,
        evaluation: &Evaluation,
    ) -> Vec<Error> {
        let place = |index: usize| format!("{OVERLAYS_DIR}/{index:04}.png");
        let mut drawn = BTreeSet::new();
        for index in exhibits(test, &evaluation.image_scores, N_OVERLAYS) {
            let path = self.folder.join(place(index));
            // One at a time: images in their own size are large.
            let picture = exhibited(detector, test, &[index], |_| path.clone()).and_then(|exhibits| {
                Overlays.draw(evaluation.colour_range, &exhibits).map_err(ExperimentError::Overlays)
            });
            match picture {
                Ok(()) => {
                    drawn.insert(index);
                    self.unsynced.push(path);
                }
                Err(error) => self.omitted.push(error.into()),
            }
        }
        let line = |(index, score): (usize, &f32)| {
            let overlay = drawn.contains(&index).then(|| place(index));
            score_line(test.sample(index), *score, Some(overlay))
        };
        let lines: String = evaluation.image_scores.iter().enumerate().map(line).collect();
        let synced = fmam_files::sync_files(&self.unsynced)
            .map_err(|source| Error::Write { path: self.folder.clone(), source });
        self.omitted.extend(
            [synced, write(&self.folder.join(SCORES_FILE), &lines)].into_iter().filter_map(Result::err),
        );
        std::mem::take(&mut self.omitted)
    }
}

impl Drop for EvaluationFolder {
    /// A folder without a line is no result.
    fn drop(&mut self) {
        let path = self.folder.join(SCORES_FILE);
        let is_empty = self.n_lines == 0 && !self.folder.join(METRICS_FILE).exists();
        if is_empty && stands_at(&self.scores, &path).unwrap_or(false) {
            let _ = fs::remove_file(path);
        }
    }
}

/// True if the evaluation in `folder` was stopped before its pictures were drawn and named.
fn is_undrawn(folder: &Path) -> bool {
    let head = fmam_files::read_head(&folder.join(SCORES_FILE), MAX_LINE).unwrap_or_default();
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line: Value = serde_json::from_slice(line).unwrap_or_default();
    line.get("image_score").is_some() && line.get("overlay").is_none()
}

/// The line of an image; `overlay` is `None` as long as it is not known which images are drawn.
fn score_line(sample: &Sample, score: f32, overlay: Option<Option<String>>) -> String {
    let mut line = json!({
        "sample": sample.id,
        "label": sample.label,
        "defect_type": sample.defect_type,
        "image_score": score,
    });
    if let Some(overlay) = overlay {
        line["overlay"] = overlay.into();
    }
    format!("{line}\n")
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fmam_files::write_atomic(path, |file| file.write_all(text.as_bytes()))
        .map_err(|source| Error::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use fmam_core::{Label, Split};

    use super::*;

    fn sample(id: &str) -> Sample {
        Sample {
            id: id.to_owned(),
            split: Split::Test,
            label: Label::Normal,
            defect_type: None,
            image_path: id.into(),
            mask_paths: Vec::new(),
        }
    }

    #[test]
    fn a_used_folder_is_refused_and_an_unfinished_evaluation_is_begun_anew() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("new/e");
        drop(EvaluationFolder::begin(&out).unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        let mut folder = EvaluationFolder::begin(&out).unwrap();
        folder.add(&sample("a"), 1.0);
        folder.add(&sample("b"), 2.0);
        // Each line stands there at once.
        let text = || fs::read_to_string(out.join(SCORES_FILE)).unwrap();
        assert_eq!(text().lines().count(), 2);
        let another = EvaluationFolder::begin(&out).unwrap_err();
        assert!(matches!(another, Error::Record(RecordError::InUse { .. })), "{another}");
        drop(folder);
        for left in [".partial-x", "maps/screw/a.tiff", "overlays/.partial-y"] {
            fs::create_dir_all(out.join(left).parent().unwrap()).unwrap();
            fs::write(out.join(left), "half").unwrap();
        }
        drop(EvaluationFolder::begin(&out).unwrap());
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        for used in ["notes.txt", METRICS_FILE] {
            fs::create_dir_all(&out).unwrap();
            fs::write(out.join(SCORES_FILE), "kept").unwrap();
            fs::write(out.join(used), "kept").unwrap();
            let refused = EvaluationFolder::begin(&out).unwrap_err();
            assert!(matches!(refused, Error::NotEmpty { .. }), "{refused}");
            assert_eq!(text(), "kept");
            fs::remove_dir_all(&out).unwrap();
        }
        // Figures without pictures are those of a process that was killed while it drew.
        for (overlay, is_begun) in [(None, true), (Some(None), false), (Some(Some("x".to_owned())), false)] {
            fs::create_dir_all(&out).unwrap();
            fs::write(out.join(SCORES_FILE), score_line(&sample("a"), 1.0, overlay)).unwrap();
            fs::write(out.join(METRICS_FILE), "{}").unwrap();
            assert_eq!(EvaluationFolder::begin(&out).is_ok(), is_begun);
            assert_eq!(out.join(METRICS_FILE).exists(), !is_begun);
            fs::remove_dir_all(&out).unwrap();
        }
    }

    #[test]
    fn a_folder_that_was_removed_is_told() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("e");
        let mut folder = EvaluationFolder::begin(&out).unwrap();
        folder.add(&sample("a"), 1.0);
        fs::remove_dir_all(&out).unwrap();
        folder.add(&sample("b"), 2.0);
        folder.keep_map(|| panic!("it would make the folder anew"));
        let (metrics, findings) = (Metrics::default(), TestFindings::default());
        let error = folder.write_figures(&Figures { metrics: &metrics, decision: None, findings: &findings });
        assert!(matches!(error, Err(Error::Vanished { .. })), "{error:?}");
        drop(folder);
        assert!(!out.exists());
    }
}
