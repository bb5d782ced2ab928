use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use fmam_files::read_limited;

use crate::{RECORD_FILE, RUN_RECORD_SCHEMA, RUNS_DIR, RecordError, RecordTextError, RunKey, RunRecord};

/// Folders between [`RUNS_DIR`] and a record, as [`RunKey::dir`] has them: data set, category,
/// method, backbone, seed.
const RUN_DEPTH: usize = 5;

/// Bytes of a record, or of the list of a grid, at most; it holds a score for each test image.
pub(crate) const MAX_BYTES: u64 = 1 << 30;

/// Reads every run record under `out_dir/runs`, in the order of their paths. No `runs` folder means
/// no records; folders without a record (runs that did not finish) are passed over.
///
/// # Errors
/// Each names the file: [`RecordError::Read`], [`RecordError::Damaged`] for a record that is not
/// whole, [`RecordError::Schema`] for one of another version, [`RecordError::Misplaced`] for one
/// that does not lie in its [`RunKey::dir`], [`RecordError::Outside`] for one that names a file
/// outside of that folder.
pub fn load_records(out_dir: &Path) -> Result<Vec<RunRecord>, RecordError> {
    let runs = out_dir.join(RUNS_DIR);
    let mut paths = Vec::new();
    if runs.exists() {
        find_records(&runs, RUN_DEPTH, &mut paths)?;
    }
    paths.sort();
    paths.iter().map(|path| load_record(out_dir, path)).collect()
}

fn find_records(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), RecordError> {
    let unreadable = |source| RecordError::Read { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // `is_dir` follows links, so that runs may live on another disk; the depth bounds a cycle.
        if depth > 0 && path.is_dir() {
            find_records(&path, depth - 1, found)?;
        } else if path.file_name().is_some_and(|name| name == RECORD_FILE) {
            found.push(path);
        }
    }
    Ok(())
}

/// The record of the run `key` in the output folder `out_dir`; `None` for a run that is not
/// finished. Nothing is locked or changed.
///
/// # Errors
/// As [`load_records`].
pub fn load_run(out_dir: &Path, key: &RunKey) -> Result<Option<RunRecord>, RecordError> {
    let path = out_dir.join(key.dir()).join(RECORD_FILE);
    match load_record(out_dir, &path) {
        Ok(record) => Ok(Some(record)),
        Err(RecordError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn load_record(out_dir: &Path, path: &Path) -> Result<RunRecord, RecordError> {
    let text = read_limited(path, MAX_BYTES);
    let text = text.map_err(|source| RecordError::Read { path: path.to_owned(), source })?;
    let record = RunRecord::from_json(&text).map_err(|error| match error {
        RecordTextError::Json(source) => RecordError::Damaged { path: path.to_owned(), source },
        RecordTextError::Schema { found } => {
            RecordError::Schema { path: path.to_owned(), found, expected: RUN_RECORD_SCHEMA }
        }
        RecordTextError::Outside { path: outside } => {
            RecordError::Outside { record: path.to_owned(), path: outside }
        }
    })?;
    let expected = out_dir.join(record.key().dir());
    if path.parent() != Some(&expected) {
        return Err(RecordError::Misplaced { path: path.to_owned(), expected });
    }
    Ok(record)
}

/// Writes a file of the output folder all or nothing.
pub(crate) fn write_atomic(path: &Path, content: &[u8]) -> Result<(), RecordError> {
    fmam_files::write_atomic(path, |file| file.write_all(content))
        .map_err(|source| RecordError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use fmam_core::Seed;

    use super::*;
    use crate::fixture::record;

    fn store(out: &Path, record: &RunRecord) -> PathBuf {
        let path = out.join(record.key().dir()).join(RECORD_FILE);
        write_atomic(&path, &serde_json::to_vec(record).unwrap()).unwrap();
        path
    }

    #[test]
    fn records_come_back_in_path_order_and_unfinished_runs_are_passed_over() {
        let out = tempfile::tempdir().unwrap();
        assert!(load_records(out.path()).unwrap().is_empty());
        let (a, b) = (record("mvtec", "cable", "rkd", 1), record("mvtec", "screw", "nkd", 0));
        store(out.path(), &b);
        store(out.path(), &a);
        fs::create_dir_all(out.path().join("runs/mvtec/screw/nkd/resnet18/seed-7/maps")).unwrap();
        assert_eq!(load_records(out.path()).unwrap(), [a, b]);
    }

    #[test]
    fn a_damaged_record_is_named() {
        let out = tempfile::tempdir().unwrap();
        let path = store(out.path(), &record("mvtec", "screw", "nkd", 0));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = load_records(out.path()).unwrap_err();
        assert!(matches!(&error, RecordError::Damaged { path: named, .. } if *named == path));
        assert!(error.to_string().contains("seed-0"), "{error}");
    }

    #[test]
    fn a_record_of_another_version_or_in_another_folder_is_refused() {
        let out = tempfile::tempdir().unwrap();
        let mut run = record("mvtec", "screw", "nkd", 0);
        let path = store(out.path(), &run);
        fs::write(&path, r#"{"schema": 2, "new": true}"#).unwrap();
        assert!(matches!(
            load_records(out.path()),
            Err(RecordError::Schema { found: 2, expected: RUN_RECORD_SCHEMA, .. })
        ));
        run.seed = Seed::new(5);
        fs::write(&path, serde_json::to_vec(&run).unwrap()).unwrap();
        let error = load_records(out.path()).unwrap_err();
        assert!(matches!(error, RecordError::Misplaced { expected, .. } if expected.ends_with("seed-5")));
    }

    #[test]
    fn a_record_that_points_outside_of_its_folder_is_named() {
        let out = tempfile::tempdir().unwrap();
        let mut run = record("mvtec", "screw", "nkd", 0);
        run.artefacts.maps = Some("../../secret.tiff".to_owned());
        let path = store(out.path(), &run);
        for error in [load_records(out.path()).unwrap_err(), load_run(out.path(), &run.key()).unwrap_err()] {
            assert!(matches!(&error, RecordError::Outside { record, .. } if *record == path), "{error:?}");
            assert!(error.to_string().contains("../../secret.tiff"), "{error}");
        }
    }

    #[test]
    fn writing_replaces_the_old_content_and_leaves_no_temporary_file() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("new/report.csv");
        write_atomic(&path, b"old and long").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(out.path().join("new")).unwrap().count(), 1);

        // A folder stands where the file should go: the rename fails.
        let taken = out.path().join("taken");
        fs::create_dir_all(taken.join("inside")).unwrap();
        assert!(matches!(write_atomic(&taken, b"x"), Err(RecordError::Write { path, .. }) if path == taken));
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2);
    }
}
