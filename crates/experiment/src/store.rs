//! Run folders on disk. A run is prepared in a folder beside them and moved into place when it is whole: what has a
//! `record.json` under `runs/` is finished.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use fmam_record::{RECORD_FILE, RecordTextError, RunKey, RunRecord, device_kind, differences};

use crate::{ExperimentError, RunPlan};

/// The folders that [`check_writable`] made. Those that are still empty are removed when it is dropped, so that what
/// failed leaves nothing behind.
#[must_use = "dropped, it removes the folders"]
#[derive(Debug)]
pub struct NewFolders {
    /// The deepest first.
    folders: Vec<PathBuf>,
}

impl Drop for NewFolders {
    fn drop(&mut self) {
        for folder in &self.folders {
            // Only ever removes an empty folder: that it is not empty is no failure.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Makes the folder `out` and proves that files can be written there, so that a long run does not fail at its end.
///
/// # Errors
/// [`ExperimentError::Write`] naming it.
pub fn check_writable(out: &Path) -> Result<NewFolders, ExperimentError> {
    let missing = out.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let new = NewFolders { folders: missing.map(Path::to_owned).collect() };
    fs::create_dir_all(out).map_err(|source| write_error(out, source))?;
    let probe = out.join(format!(".write-probe-{}", std::process::id()));
    File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(|source| write_error(out, source))?;
    Ok(new)
}

/// Whether the output folder `out` has the run of `plan`, done on a device like the one called `device`. Without a record it has
/// not, whatever else is there. Nothing is locked or changed.
///
/// # Errors
/// [`ExperimentError::ConfigDiffers`], [`ExperimentError::DamagedRecord`] or [`ExperimentError::RecordSchema`] for a finished run
/// that cannot be taken for this one; [`ExperimentError::Read`].
pub fn is_finished(out: &Path, plan: &RunPlan, device: &str) -> Result<bool, ExperimentError> {
    let folder = out.join(plan.key.dir());
    let path = folder.join(RECORD_FILE);
    let record = match read_record(&path) {
        Ok(record) => record,
        Err(ExperimentError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let differ = differences(&record.config, &plan.config).into_iter();
    let mut differences: Vec<String> =
        differ.map(|(key, there, now)| format!("{key}: {there} there, {now} now")).collect();
    if record.seed != plan.key.seed {
        differences.push(format!("seed: {} there, {} now", record.seed.value(), plan.key.seed.value()));
    }
    let n_test = record.n_test_normal + record.n_test_anomalous;
    for (split, there, now) in [("training", record.n_train, plan.n_train), ("test", n_test, plan.n_test)] {
        if there != now {
            differences.push(format!("data set: {there} {split} images there, {now} now"));
        }
    }
    let (there, now) = (device_kind(&record.device), device_kind(device));
    if there != now {
        differences.push(format!("device: {there} there, {now} now"));
    }
    if differences.is_empty() {
        Ok(true)
    } else {
        Err(ExperimentError::ConfigDiffers { folder, differences })
    }
}

/// The record in the file `path`.
pub(crate) fn read_record(path: &Path) -> Result<RunRecord, ExperimentError> {
    let path = path.to_owned();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(source) => return Err(ExperimentError::Read { path, source }),
    };
    RunRecord::from_json(&text).map_err(|error| match error {
        RecordTextError::Json(source) => ExperimentError::DamagedRecord { path, source },
        RecordTextError::Schema { found } => ExperimentError::RecordSchema { path, found },
    })
}

/// A run's folder in the making; dropped without [`PartialRun::finish`] it is removed.
pub(crate) struct PartialRun {
    partial: PathBuf,
    target: PathBuf,
    finished: bool,
}

impl PartialRun {
    /// An empty folder for the run; what an interrupted process left is removed.
    pub(crate) fn begin(out: &Path, key: &RunKey) -> Result<Self, ExperimentError> {
        remove_leftover(out, key)?;
        let partial = partial_dir(out, key);
        fs::create_dir(&partial).map_err(|source| write_error(&partial, source))?;
        Ok(Self { partial, target: out.join(key.dir()), finished: false })
    }

    /// Where the run's files go meanwhile.
    pub(crate) fn dir(&self) -> &Path {
        &self.partial
    }

    /// Writes the record and moves the folder into place; an older run there is replaced.
    pub(crate) fn finish(mut self, record: &RunRecord) -> Result<(), ExperimentError> {
        write_record(&self.partial.join(RECORD_FILE), record)?;
        self.replace_target().map_err(|source| write_error(&self.target, source))?;
        self.finished = true;
        Ok(())
    }

    fn replace_target(&self) -> std::io::Result<()> {
        if self.target.exists() {
            // The record first: a folder that is half removed must not look finished.
            match fs::remove_file(self.target.join(RECORD_FILE)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => fs::remove_dir_all(&self.target)?,
            }
        }
        let parent = self.target.parent().unwrap_or(&self.target);
        fs::create_dir_all(parent)?;
        sync_dir(&self.partial)?;
        fs::rename(&self.partial, &self.target)?;
        sync_dir(parent)
    }
}

fn write_record(path: &Path, record: &RunRecord) -> Result<(), ExperimentError> {
    let mut text = serde_json::to_vec_pretty(record).map_err(ExperimentError::Json)?;
    text.push(b'\n');
    File::create(path)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .map_err(|source| write_error(path, source))
}

/// Puts `record` in the place of the one of the same run, all or nothing.
pub(crate) fn replace_record(out: &Path, record: &RunRecord) -> Result<(), ExperimentError> {
    let folder = out.join(record.key().dir());
    let (path, partial) = (folder.join(RECORD_FILE), folder.join(format!(".{RECORD_FILE}.partial")));
    let written = write_record(&partial, record).and_then(|()| {
        let moved = fs::rename(&partial, &path).and_then(|()| sync_dir(&folder));
        moved.map_err(|source| write_error(&path, source))
    });
    if written.is_err() {
        // The error that matters is the one at hand.
        let _ = fs::remove_file(&partial);
    }
    written
}

impl Drop for PartialRun {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: what stays is removed at the next start.
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

/// Removes what an interrupted process left of this run.
pub(crate) fn remove_leftover(out: &Path, key: &RunKey) -> Result<(), ExperimentError> {
    let partial = partial_dir(out, key);
    match fs::remove_dir_all(&partial) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(write_error(&partial, source)),
        _ => Ok(()),
    }
}

/// Directly under `out`: on the same file system as `runs`, so that moving is atomic, and outside of it, so that
/// nobody takes it for a run.
fn partial_dir(out: &Path, key: &RunKey) -> PathBuf {
    out.join(format!(".partial-{}", key.flat_name()))
}

/// Makes a rename within `dir` survive a crash. Only Unix can open a folder for that.
fn sync_dir(dir: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

pub(crate) fn write_error(path: &Path, source: std::io::Error) -> ExperimentError {
    ExperimentError::Write { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use fmam_core::{ImageSize, Needs, Seed};
    use fmam_record::{Artefacts, Metrics, RUN_RECORD_SCHEMA};
    use serde_json::{Value, json};

    use super::*;

    fn plan(config: Value) -> RunPlan {
        let key = RunKey {
            dataset: "demo".into(),
            category: "plain".into(),
            method: "rkd".into(),
            backbone: "tiny".into(),
            seed: Seed::new(1),
        };
        RunPlan { key, n_train: 4, n_test: 4, config, stages: Vec::new(), needs: Needs::default() }
    }

    fn record(plan: &RunPlan) -> RunRecord {
        let RunKey { dataset, category, method, backbone, seed } = plan.key.clone();
        RunRecord {
            schema: RUN_RECORD_SCHEMA,
            dataset,
            category,
            method,
            backbone,
            seed,
            device: "cpu".into(),
            image_size: ImageSize::square(64),
            n_train: 4,
            n_test_normal: 2,
            n_test_anomalous: 2,
            metrics: Metrics::from_iter([("image_auroc", Some(1.0)), ("pixel_auroc", None)]),
            fit_seconds: 1.5,
            score_images_per_second: 8.0,
            peak_rss_bytes: None,
            started_at: 7,
            config: plan.config.clone(),
            versions: Default::default(),
            curve: Vec::new(),
            pixels: None,
            analysis: None,
            artefacts: Artefacts::default(),
        }
    }

    fn store(out: &Path, plan: &RunPlan) {
        let partial = PartialRun::begin(out, &plan.key).unwrap();
        fs::write(partial.dir().join("map.png"), "x").unwrap();
        partial.finish(&record(plan)).unwrap();
    }

    fn entries(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_finished_run_is_known_by_its_configuration() {
        let out = tempfile::tempdir().unwrap();
        let done = plan(json!({"method": {"epochs": 10, "lr": 0.1}}));
        assert!(!is_finished(out.path(), &done, "cpu").unwrap());
        store(out.path(), &done);
        assert!(is_finished(out.path(), &done, "cpu").unwrap());
        assert_eq!(entries(&out.path().join(done.key.dir())), ["map.png", "record.json"]);

        let other = plan(json!({"method": {"epochs": 20, "lr": 0.1}, "weights": "a.pth"}));
        let Err(ExperimentError::ConfigDiffers { folder, differences }) =
            is_finished(out.path(), &other, "cpu")
        else {
            panic!("other settings must not count as finished");
        };
        assert!(folder.ends_with("seed-1"));
        assert_eq!(differences, ["method.epochs: 10 there, 20 now", "weights: null there, \"a.pth\" now"]);
    }

    #[test]
    fn an_unfinished_run_leaves_nothing_and_looks_like_nothing() {
        let out = tempfile::tempdir().unwrap();
        let plan = plan(json!({}));
        let partial = PartialRun::begin(out.path(), &plan.key).unwrap();
        fs::write(partial.dir().join("map.png"), "x").unwrap();
        assert!(!is_finished(out.path(), &plan, "cpu").unwrap());
        assert!(!out.path().join("runs").exists());
        drop(partial);
        assert!(entries(out.path()).is_empty());
    }

    #[test]
    fn leftovers_of_a_killed_process_are_removed() {
        let out = tempfile::tempdir().unwrap();
        let plan = plan(json!({}));
        let partial = PartialRun::begin(out.path(), &plan.key).unwrap();
        fs::write(partial.dir().join("record.json"), "{").unwrap();
        std::mem::forget(partial);
        assert!(!is_finished(out.path(), &plan, "cpu").unwrap());
        store(out.path(), &plan);
        assert_eq!(entries(out.path()), ["runs"]);
        assert!(is_finished(out.path(), &plan, "cpu").unwrap());
    }

    #[test]
    fn a_repeated_run_replaces_the_old_folder_whole() {
        let out = tempfile::tempdir().unwrap();
        let old = plan(json!({"a": 1}));
        store(out.path(), &old);
        fs::write(out.path().join(old.key.dir()).join("stale.png"), "x").unwrap();
        let new = plan(json!({"a": 2}));
        store(out.path(), &new);
        assert!(is_finished(out.path(), &new, "cpu").unwrap());
        assert_eq!(entries(&out.path().join(new.key.dir())), ["map.png", "record.json"]);
    }

    #[test]
    fn damaged_and_foreign_records_are_named() {
        let out = tempfile::tempdir().unwrap();
        let plan = plan(json!({}));
        store(out.path(), &plan);
        let path = out.path().join(plan.key.dir()).join(RECORD_FILE);
        fs::write(&path, "{\"schema\": 99}").unwrap();
        assert!(matches!(
            is_finished(out.path(), &plan, "cpu"),
            Err(ExperimentError::RecordSchema { found: 99, .. })
        ));
        fs::write(&path, "{\"schema\": 1, \"dat").unwrap();
        let error = is_finished(out.path(), &plan, "cpu").unwrap_err();
        assert!(matches!(&error, ExperimentError::DamagedRecord { path: named, .. } if *named == path));
    }

    #[test]
    fn a_file_in_the_way_makes_the_output_unwritable() {
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = check_writable(&file.join("runs")).unwrap_err();
        assert!(matches!(error, ExperimentError::Write { .. }));
        let new = check_writable(&out.path().join("new/deep/er")).unwrap();
        assert!(entries(&out.path().join("new/deep/er")).is_empty());
        fs::write(out.path().join("new/kept"), "x").unwrap();
        drop(new);
        assert_eq!(entries(&out.path().join("new")), ["kept"]);
    }

    #[test]
    fn another_data_set_or_device_is_a_difference() {
        let out = tempfile::tempdir().unwrap();
        let mut plan = plan(json!({}));
        store(out.path(), &plan);
        plan.n_test = 5;
        let Err(ExperimentError::ConfigDiffers { differences, .. }) =
            is_finished(out.path(), &plan, "cuda:1")
        else {
            panic!("other data must not count as finished");
        };
        assert_eq!(differences, ["data set: 4 test images there, 5 now", "device: cpu there, cuda now"]);
    }
}
