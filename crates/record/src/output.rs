use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use fmam_core::AnomalyMap;
use fmam_files::{Lock, LockError, MadeDirs, NewDir};

use crate::events::{event_file_name, training_events};
use crate::folder::write_atomic;
use crate::layout::LOCK_FILE;
use crate::{GRID_FILE, GridList, RECORD_FILE, RecordError, RunRecord, write_maps};

/// An output folder that this process alone writes to, until the value is dropped.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    /// Dropped before the folders, which are removed only when they are empty.
    _lock: Lock,
    /// Takes the folder away again if nothing came to be in it.
    _made: MadeDirs,
}

impl OutputFolder {
    /// Makes the folder `path` where it is missing, locks it, and removes what killed processes
    /// left.
    ///
    /// # Errors
    /// [`RecordError::InUse`] when another process has it, [`RecordError::Write`] when it cannot be
    /// written.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let made = fmam_files::check_writable(path).map_err(write_error(path))?;
        let lock_file = path.join(LOCK_FILE);
        let lock = Lock::acquire(&lock_file).map_err(|error| match error {
            LockError::Held => RecordError::InUse { folder: path.to_owned() },
            LockError::Io(source) => RecordError::Write { path: lock_file, source },
        })?;
        // Under the lock: a leftover has the same kind of name as another process's run under way.
        fmam_files::remove_leftovers(path).map_err(write_error(path))?;
        Ok(Self { path: path.to_owned(), _lock: lock, _made: made })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An empty folder for the files of a run, which [`NewRun::finish`] moves into place.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn begin_run(&self) -> Result<NewRun<'_>, RecordError> {
        // On the same file system as the runs, so that moving is atomic, and outside of their
        // folder, so that nobody takes it for a run.
        let dir = NewDir::within(&self.path).map_err(write_error(&self.path))?;
        Ok(NewRun { output: self, dir })
    }

    /// Puts `record` and its maps in the place of those of the same finished run.
    ///
    /// # Errors
    /// [`RecordError::Write`], [`RecordError::MapFile`], [`RecordError::Json`].
    pub fn replace_record(&self, record: &RunRecord, maps: &[AnomalyMap]) -> Result<(), RecordError> {
        let dir = self.path.join(record.key().dir());
        fmam_files::remove_leftovers(&dir).map_err(write_error(&dir))?;
        write_run(&dir, record, maps)
    }

    /// Writes which part of a grid the folder has.
    ///
    /// # Errors
    /// [`RecordError::Json`], [`RecordError::Write`].
    pub fn write_grid(&self, grid: &GridList) -> Result<(), RecordError> {
        let text = serde_json::to_string_pretty(grid).map_err(|source| RecordError::Json { source })?;
        write_atomic(&self.path.join(GRID_FILE), format!("{text}\n").as_bytes())
    }
}

/// A run's folder in the making. It is removed when it is dropped without [`NewRun::finish`].
#[derive(Debug)]
pub struct NewRun<'a> {
    output: &'a OutputFolder,
    dir: NewDir,
}

impl NewRun<'_> {
    /// The folder of the run's files meanwhile.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Adds the small `maps` of all test images, if the record's artefacts name them, the events
    /// for TensorBoard and the record, and moves the folder into place. An older run there is
    /// replaced.
    ///
    /// # Errors
    /// [`RecordError::Write`], [`RecordError::MapFile`], [`RecordError::Json`].
    pub fn finish(self, record: &RunRecord, maps: &[AnomalyMap]) -> Result<(), RecordError> {
        write_run(self.dir.path(), record, maps)?;
        let target = self.output.path.join(record.key().dir());
        remove_run(&target).and_then(|()| self.dir.finish(&target)).map_err(write_error(&target))
    }
}

/// Writes the record last: it says that the rest is there.
fn write_run(dir: &Path, record: &RunRecord, maps: &[AnomalyMap]) -> Result<(), RecordError> {
    if let Some(name) = &record.artefacts.maps {
        write_maps(&dir.join(name), maps)?;
    }
    write_atomic(&dir.join(event_file_name(record)), &training_events(record))?;
    let text = serde_json::to_vec_pretty(record).map_err(|source| RecordError::Json { source })?;
    let path = dir.join(RECORD_FILE);
    fmam_files::write_atomic(&path, |file| file.write_all(&text).and_then(|()| file.write_all(b"\n")))
        .map_err(write_error(&path))
}

/// Removes a run's folder as far as it is there.
pub(crate) fn remove_run(folder: &Path) -> std::io::Result<()> {
    let absent_is_fine = |removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    // The record first: a folder that is half removed must not look finished.
    absent_is_fine(fs::remove_file(folder.join(RECORD_FILE)))?;
    absent_is_fine(fs::remove_dir_all(folder))
}

fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> RecordError {
    move |source| RecordError::Write { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;
    use crate::fixture::record;
    use crate::{MAPS_FILE, load_records, load_run, read_maps};

    fn entries(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn map() -> AnomalyMap {
        AnomalyMap::new(ImageSize::square(2), vec![0.0, 1.0, 2.0, 3.0]).unwrap()
    }

    fn store(output: &OutputFolder, run: &RunRecord) {
        let new = output.begin_run().unwrap();
        fs::write(new.dir().join("map.png"), "x").unwrap();
        new.finish(run, &[map()]).unwrap();
    }

    #[test]
    fn a_run_appears_whole_with_its_maps_and_events() {
        let out = tempfile::tempdir().unwrap();
        let output = OutputFolder::open(out.path()).unwrap();
        let mut run = record("demo", "plain", "rkd", 1);
        run.artefacts.maps = Some(MAPS_FILE.to_owned());
        assert_eq!(load_run(out.path(), &run.key()).unwrap(), None);
        store(&output, &run);
        assert_eq!(load_run(out.path(), &run.key()).unwrap(), Some(run.clone()));
        let folder = out.path().join(run.key().dir());
        let events = event_file_name(&run);
        assert_eq!(entries(&folder), [events.as_str(), "map.png", "maps.tiff", "record.json"]);
        assert_eq!(read_maps(&folder.join(MAPS_FILE)).unwrap(), [map()]);
        drop(output);
        assert_eq!(entries(out.path()), ["runs"]);
    }

    #[test]
    fn an_unfinished_run_leaves_nothing_and_looks_like_nothing() {
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("new/out");
        let output = OutputFolder::open(&folder).unwrap();
        let new = output.begin_run().unwrap();
        fs::write(new.dir().join(RECORD_FILE), "{").unwrap();
        assert!(load_records(&folder).unwrap().is_empty());
        drop(new);
        drop(output);
        assert!(entries(out.path()).is_empty());
    }

    #[test]
    fn leftovers_of_a_killed_process_are_removed() {
        let out = tempfile::tempdir().unwrap();
        let output = OutputFolder::open(out.path()).unwrap();
        std::mem::forget(output.begin_run().unwrap());
        // An older program called them by the run.
        fs::create_dir(out.path().join(".partial-demo-plain-rkd-tiny-seed-0")).unwrap();
        drop(output);
        drop(OutputFolder::open(out.path()).unwrap());
        assert!(entries(out.path()).is_empty());
    }

    #[test]
    fn a_repeated_run_replaces_the_old_folder_whole() {
        let out = tempfile::tempdir().unwrap();
        let output = OutputFolder::open(out.path()).unwrap();
        let mut run = record("demo", "plain", "rkd", 1);
        store(&output, &run);
        let folder = out.path().join(run.key().dir());
        fs::write(folder.join("stale.png"), "x").unwrap();
        run.n_train += 1;
        store(&output, &run);
        assert_eq!(load_records(out.path()).unwrap(), [run.clone()]);
        assert!(!folder.join("stale.png").exists() && folder.join("map.png").exists());

        run.artefacts.maps = Some(MAPS_FILE.to_owned());
        output.replace_record(&run, &[map()]).unwrap();
        assert_eq!(load_records(out.path()).unwrap(), [run]);
        assert!(folder.join(MAPS_FILE).exists() && folder.join("map.png").exists());
    }

    #[test]
    fn a_folder_has_one_writer() {
        let out = tempfile::tempdir().unwrap();
        let first = OutputFolder::open(out.path()).unwrap();
        let under_way = first.begin_run().unwrap();
        let error = OutputFolder::open(out.path()).unwrap_err();
        assert!(matches!(&error, RecordError::InUse { folder } if folder == out.path()), "{error:?}");
        assert!(under_way.dir().exists());
        let file = out.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(OutputFolder::open(&file.join("runs")), Err(RecordError::Write { .. })));
    }
}
