//! Output folders joined into one: those of the parts of a grid, or of machines.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fmam_core::{GRID_FILE, GridList, RECORD_FILE, RunRecord, Shard, differences};

use crate::ReportError;
use crate::store::{load_records, write_atomic};

/// What came of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// Runs that were added.
    pub n_added: usize,
    /// Runs that the output folder had.
    pub n_known: usize,
    /// Folders of runs that the grid has and no output folder, with the part that would do each.
    pub missing: Vec<(String, Shard)>,
}

/// Adds the finished runs of the output folders `parts` to the output folder `out`, each run's folder whole or not at all. Files
/// are linked where the file system can, so that they take no more space, and copied elsewhere.
///
/// # Errors
/// As [`load_records`]; [`ReportError::Conflict`] when two folders have the same run with different settings;
/// [`ReportError::DamagedGrid`], [`ReportError::Write`]. Runs that were added before stay.
pub fn merge(parts: &[PathBuf], out: &Path) -> Result<Merged, ReportError> {
    let mut merged = Merged::default();
    let mut known = load_records(out)?;
    for part in parts {
        for record in load_records(part)? {
            let dir = record.key().dir();
            match known.iter().find(|other| other.key() == record.key()) {
                Some(other) => {
                    check_same(other, &record, &out.join(&dir), &part.join(&dir))?;
                    merged.n_known += 1;
                }
                None => {
                    add(&part.join(&dir), out, &record)?;
                    merged.n_added += 1;
                    known.push(record);
                }
            }
        }
    }
    let finished: Vec<String> = known.iter().map(|record| record.key().path()).collect();
    for part in parts {
        let Some(grid) = grid_of(part)? else { continue };
        for (position, run) in grid.runs.into_iter().enumerate() {
            let missing = (run, Shard::of_run(position, grid.shard.of));
            if !finished.contains(&missing.0) && !merged.missing.contains(&missing) {
                merged.missing.push(missing);
            }
        }
    }
    Ok(merged)
}

/// The grid that an output folder has a part of.
fn grid_of(part: &Path) -> Result<Option<GridList>, ReportError> {
    let path = part.join(GRID_FILE);
    match fs::read(&path) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(grid) => Ok(Some(grid)),
            Err(source) => Err(ReportError::DamagedGrid { path, source }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReportError::Read { path, source }),
    }
}

fn check_same(a: &RunRecord, b: &RunRecord, a_dir: &Path, b_dir: &Path) -> Result<(), ReportError> {
    let differ = differences(&a.config, &b.config).into_iter();
    let differ: Vec<String> = differ.map(|(key, a, b)| format!("{key}: {a} there, {b} here")).collect();
    if differ.is_empty() {
        return Ok(());
    }
    Err(ReportError::Conflict { there: a_dir.to_owned(), here: b_dir.to_owned(), differences: differ })
}

/// Brings the folder of a finished run under `out`.
fn add(folder: &Path, out: &Path, record: &RunRecord) -> Result<(), ReportError> {
    let target = out.join(record.key().dir());
    let partial = out.join(format!(".merging-{}-{}", record.key().flat_name(), std::process::id()));
    let failed = |path: &Path, source| ReportError::Write { path: path.to_owned(), source };
    let copied = link_tree(folder, &partial).and_then(|()| {
        // What lies there has no record: a run that did not finish.
        match fs::remove_dir_all(&target) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(target.parent().unwrap_or(out))?,
        }
        fs::rename(&partial, &target)
    });
    copied.map_err(|source| {
        // Best effort: the error at hand is the one to tell.
        let _ = fs::remove_dir_all(&partial);
        failed(&target, source)
    })
}

/// Links or copies every file. The record is copied: `fmam analyze` replaces it in one of the folders.
fn link_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let target = to.join(&name);
        if path.is_dir() {
            link_tree(&path, &target)?;
        } else if name == RECORD_FILE || fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

/// Writes the [`GridList`] of an output folder that has one part of a grid.
///
/// # Errors
/// [`ReportError::Json`], [`ReportError::Write`].
pub fn write_grid(out: &Path, grid: &GridList) -> Result<(), ReportError> {
    let text = serde_json::to_string_pretty(grid).map_err(|source| ReportError::Json { source })?;
    write_atomic(&out.join(GRID_FILE), format!("{text}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::record;

    /// An output folder with one run of seed `seed`, of a grid of three.
    fn part(root: &Path, seed: u64) -> PathBuf {
        let out = root.join(format!("part-{seed}"));
        let run = record("demo", "plain", "rkd", seed);
        let folder = out.join(run.key().dir());
        write_atomic(&folder.join("model/a.bin"), b"model").unwrap();
        write_atomic(&folder.join(RECORD_FILE), &serde_json::to_vec(&run).unwrap()).unwrap();
        let runs = (0..3).map(|seed| record("demo", "plain", "rkd", seed).key().path()).collect();
        write_grid(&out, &GridList { shard: Shard { index: seed as usize + 1, of: 3 }, runs }).unwrap();
        out
    }

    #[test]
    fn parts_become_one_folder_and_what_is_missing_is_told() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("whole");
        let parts = [part(root.path(), 0), part(root.path(), 2)];
        let merged = merge(&parts, &out).unwrap();
        let missing = vec![("runs/demo/plain/rkd/resnet18/seed-1".to_owned(), Shard { index: 2, of: 3 })];
        assert_eq!(merged, Merged { n_added: 2, n_known: 0, missing });
        assert_eq!(load_records(&out).unwrap().len(), 2);
        let model = out.join("runs/demo/plain/rkd/resnet18/seed-2/model/a.bin");
        assert_eq!(fs::read(model).unwrap(), b"model");
        // Only the runs: nothing half done, and no list of a part.
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);

        let parts = [parts[0].clone(), parts[1].clone(), part(root.path(), 1)];
        assert_eq!(merge(&parts, &out).unwrap(), Merged { n_added: 1, n_known: 2, missing: Vec::new() });
    }

    #[test]
    fn a_run_with_other_settings_is_refused_and_nothing_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let (out, other) = (part(root.path(), 0), part(&root.path().join("other"), 0));
        let path = other.join("runs/demo/plain/rkd/resnet18/seed-0").join(RECORD_FILE);
        let mut run = record("demo", "plain", "rkd", 0);
        run.config = json!({"train": {"epochs": 99, "lr": 0.4}});
        fs::write(&path, serde_json::to_vec(&run).unwrap()).unwrap();
        let error = merge(std::slice::from_ref(&other), &out).unwrap_err();
        assert!(error.to_string().contains("train.epochs: 10 there, 99 here"), "{error}");
        assert_eq!(load_records(&out).unwrap(), [record("demo", "plain", "rkd", 0)]);

        fs::write(other.join(GRID_FILE), "{").unwrap();
        fs::write(&path, serde_json::to_vec(&record("demo", "plain", "rkd", 0)).unwrap()).unwrap();
        assert!(matches!(merge(&[other], &out), Err(ReportError::DamagedGrid { .. })));
    }
}
