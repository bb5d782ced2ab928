//! Output folders joined into one: those of the parts of a grid, or of machines.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fmam_files::NewDir;

use crate::folder::MAX_BYTES;
use crate::output::remove_run;
use crate::{
    GRID_FILE, GridList, OutputFolder, RECORD_FILE, RecordError, RunKey, RunRecord, SOURCES_KEY, Shard,
    device_kind, load_records, setting_differences,
};

/// The result of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// Runs that were added.
    pub n_added: usize,
    /// Runs that the output folder had.
    pub n_known: usize,
    /// Folders of runs that the grid has and no output folder, with the part that would do each.
    pub missing: Vec<(String, Shard)>,
    /// Parts without a run that do not say either which they would have: none is there, or another
    /// folder was meant.
    pub empty: Vec<PathBuf>,
}

/// Adds the finished runs of the output folders `parts` to the output folder `out`, each run's
/// folder whole or not at all. Files are linked where the file system can, so that they take no
/// more space, and copied elsewhere.
///
/// # Errors
/// Before anything is added: as [`load_records`]; [`RecordError::Conflict`] when two folders have
/// the same run with different settings, data, kind of device or sources of the program, or runs
/// that differ in more than their seed; [`RecordError::DamagedGrid`]. Then
/// [`RecordError::Write`]: runs that were added before stay.
pub fn merge(parts: &[PathBuf], out: &OutputFolder) -> Result<Merged, RecordError> {
    let out = out.path();
    let mut merged = Merged::default();
    let mut known: Vec<_> = load_records(out)?.into_iter().map(|record| (out.to_owned(), record)).collect();
    let n_there = known.len();
    let mut grids = Vec::new();
    for part in parts {
        let (records, grid) = (load_records(part)?, grid_of(part)?);
        if records.is_empty() && grid.is_none() {
            merged.empty.push(part.clone());
        }
        grids.extend(grid);
        for record in records {
            let is_known = known.iter().any(|(_, other)| other.key() == record.key());
            check_fit(&known, &record, part)?;
            if is_known {
                merged.n_known += 1;
            } else {
                known.push((part.clone(), record));
            }
        }
    }
    merged.n_added = known.len() - n_there;
    for (part, record) in &known[n_there..] {
        add(&part.join(record.key().dir()), out, record)?;
    }
    let finished: Vec<String> = known.iter().map(|(_, record)| record.key().path()).collect();
    for grid in grids {
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
fn grid_of(part: &Path) -> Result<Option<GridList>, RecordError> {
    let path = part.join(GRID_FILE);
    match fmam_files::read_limited(&path, MAX_BYTES) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(grid) => Ok(Some(grid)),
            Err(source) => Err(RecordError::DamagedGrid { path, source }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RecordError::Read { path, source }),
    }
}

/// Checks that `record`, of the output folder `part`, is what the same run is elsewhere, and that
/// the runs which share a row of the report with it differ from it in their seed only.
fn check_fit(known: &[(PathBuf, RunRecord)], record: &RunRecord, part: &Path) -> Result<(), RecordError> {
    let key = record.key();
    let in_row = |other: &RunRecord| RunKey { seed: key.seed, ..other.key() } == key;
    for (folder, other) in known.iter().filter(|(_, other)| in_row(other)) {
        let differ = setting_differences(&other.config, &record.config)?.into_iter();
        let differ = differ.filter(|difference| !is_of_the_machine(&difference.key));
        let mut differ: Vec<String> = differ
            .map(|difference| {
                format!("{}: {} there, {} here", difference.key, difference.there, difference.here)
            })
            .collect();
        let counts = |r: &RunRecord| (r.n_train, r.n_test_normal, r.n_test_anomalous);
        if counts(other) != counts(record) {
            let (a, b) = (counts(other), counts(record));
            differ.push(format!(
                "images for training, normal and anomalous ones to test: {a:?} there, {b:?} here"
            ));
        }
        let (there, here) = (device_kind(&other.device), device_kind(&record.device));
        if there != here {
            differ.push(format!("device: {there} there, {here} here"));
        }
        // A record from before the digest was kept tells no difference.
        if let (Some(there), Some(here)) = (other.versions.get(SOURCES_KEY), record.versions.get(SOURCES_KEY))
            && there != here
        {
            differ.push(format!("sources of the program: {there} there, {here} here"));
        }
        if !differ.is_empty() {
            let (there, here) = (folder.join(other.key().dir()), part.join(key.dir()));
            return Err(RecordError::Conflict { there, here, differences: differ });
        }
    }
    Ok(())
}

/// True if a setting may differ between machines: the folder of the data, and the choice of
/// pictures. The path of weights may not, since it names the weights.
fn is_of_the_machine(key: &str) -> bool {
    key == "data.root" || key.starts_with("artefacts.")
}

/// Brings the folder of a finished run under `out`.
fn add(folder: &Path, out: &Path, record: &RunRecord) -> Result<(), RecordError> {
    let target = out.join(record.key().dir());
    let copied = NewDir::within(out).and_then(|partial| {
        link_tree(folder, partial.path())?;
        // A folder without a record is a run that did not finish.
        remove_run(&target)?;
        partial.finish(&target)
    });
    copied.map_err(|source| RecordError::Write { path: target, source })
}

/// Links or copies every file into the empty folder `to`. The record is copied: an analysis
/// replaces the record in one of the folders.
fn link_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let target = to.join(&name);
        if path.is_dir() {
            fs::create_dir(&target)?;
            link_tree(&path, &target)?;
        } else if name == RECORD_FILE {
            copy_whole(&path, &target)?;
        } else if let Err(error) = fs::hard_link(&path, &target) {
            if error.kind() == ErrorKind::AlreadyExists {
                return Err(error);
            }
            copy_whole(&path, &target)?;
        }
    }
    Ok(())
}

fn copy_whole(from: &Path, to: &Path) -> std::io::Result<()> {
    let (mut from, mut to) = (fmam_files::open_regular(from)?, fs::File::create_new(to)?);
    std::io::copy(&mut from, &mut to)?;
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use fmam_core::{Placing, ValueRange};
    use serde_json::json;

    use super::*;
    use crate::Resolution;
    use crate::fixture::record;
    use crate::folder::write_atomic;

    fn merge(parts: &[PathBuf], out: &Path) -> Result<Merged, RecordError> {
        super::merge(parts, &OutputFolder::open(out).unwrap())
    }

    /// An output folder with one run of seed `seed`, of a grid of three.
    fn part(root: &Path, seed: u64) -> PathBuf {
        let out = root.join(format!("part-{seed}"));
        let run = record("demo", "plain", "rkd", seed);
        let folder = out.join(run.key().dir());
        write_atomic(&folder.join("model/a.bin"), b"model").unwrap();
        write_atomic(&folder.join(RECORD_FILE), &serde_json::to_vec(&run).unwrap()).unwrap();
        let runs = (0..3).map(|seed| record("demo", "plain", "rkd", seed).key().path()).collect();
        let grid = GridList { shard: Shard { index: seed as usize + 1, of: 3 }, runs };
        OutputFolder::open(&out).unwrap().write_grid(&grid).unwrap();
        out
    }

    #[test]
    fn parts_become_one_folder_and_what_is_missing_is_told() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("whole");
        let parts = [part(root.path(), 0), part(root.path(), 2)];
        let merged = merge(&parts, &out).unwrap();
        let missing = vec![("runs/demo/plain/rkd/resnet18/seed-1".to_owned(), Shard { index: 2, of: 3 })];
        let empty = Vec::new();
        assert_eq!(merged, Merged { n_added: 2, n_known: 0, missing, empty });
        assert_eq!(load_records(&out).unwrap().len(), 2);
        let model = out.join("runs/demo/plain/rkd/resnet18/seed-2/model/a.bin");
        assert_eq!(fs::read(model).unwrap(), b"model");
        // Only the runs: nothing half done, and no list of a part.
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);

        let parts = [parts[0].clone(), parts[1].clone(), part(root.path(), 1)];
        assert_eq!(merge(&parts, &out).unwrap(), Merged { n_added: 1, n_known: 2, ..Merged::default() });
    }

    #[test]
    fn a_merge_that_was_killed_does_no_harm_to_the_next() {
        let root = tempfile::tempdir().unwrap();
        let (out, part) = (root.path().join("whole"), part(root.path(), 0));
        let run = record("demo", "plain", "rkd", 0).key();
        let leftover = out.join(format!("{}x", fmam_files::TEMPORARY_PREFIX));
        fs::create_dir_all(leftover.join("model")).unwrap();
        fs::hard_link(part.join(run.dir()).join("model/a.bin"), leftover.join("model/a.bin")).unwrap();
        merge(std::slice::from_ref(&part), &out).unwrap();
        for folder in [&part, &out] {
            assert_eq!(fs::read(folder.join(run.dir()).join("model/a.bin")).unwrap(), b"model");
        }
        assert!(!leftover.exists());
    }

    #[test]
    fn a_folder_that_is_no_output_is_told() {
        let root = tempfile::tempdir().unwrap();
        let parts = [part(root.path(), 0), root.path().join("absent"), root.path().to_owned()];
        let merged = merge(&parts, &root.path().join("whole")).unwrap();
        assert_eq!((merged.n_added, merged.empty), (1, parts[1..].to_vec()));
    }

    #[test]
    fn parts_may_come_from_machines_that_keep_their_data_elsewhere() {
        for (key, expected) in [
            ("data.root", true),
            ("artefacts.n_overlays", true),
            ("weights", false),
            ("method.epochs", false),
            ("data.image_size", false),
            ("data.placing", false),
            ("data.reading.values", false),
            ("data.reading.background", false),
            ("data.roi_sha256", false),
            ("evaluation.at", false),
            ("evaluation.pixel_metrics", false),
        ] {
            assert_eq!(is_of_the_machine(key), expected, "{key}");
        }
    }

    #[test]
    fn seeds_of_different_settings_data_or_devices_are_not_averaged() {
        let root = tempfile::tempdir().unwrap();
        let first = part(root.path(), 0);
        let (other, out) = (part(root.path(), 1), root.path().join("whole"));
        let path = other.join(record("demo", "plain", "rkd", 1).key().dir()).join(RECORD_FILE);
        let mut run = record("demo", "plain", "rkd", 0);
        run.versions.insert(SOURCES_KEY.to_owned(), "0123".to_owned());
        let of_first = first.join(run.key().dir()).join(RECORD_FILE);
        fs::write(of_first, serde_json::to_vec(&run).unwrap()).unwrap();
        for (expected, change) in [
            (
                "method.train.epochs: 10 there, 99 here",
                (|run| run.config.method["train"]["epochs"] = 99.into()) as fn(&mut RunRecord),
            ),
            ("images for training", |run| run.n_train += 1),
            ("evaluation.at: \"network\" there, \"original\" here", |run| {
                run.config.evaluation.at = Resolution::Original;
            }),
            ("data.placing: \"squeeze\" there, {\"tiles\":{\"overlap\":64}} here", |run| {
                run.config.data.placing = Placing::Tiles { overlap: 64 };
            }),
            ("data.reading.values: \"auto\" there, \"0,1\" here", |run| {
                run.config.data.reading.values = ValueRange::Between { low: 0.0, high: 1.0 };
            }),
            ("data.roi_sha256: null there, \"0123\" here", |run| {
                run.config.data.roi_sha256 = Some("0123".to_owned());
            }),
            ("device: cpu there, cuda here", |run| run.device = "cuda:1".to_owned()),
            ("sources of the program: 0123 there, 4567 here", |run| {
                run.versions.insert(SOURCES_KEY.to_owned(), "4567".to_owned());
            }),
        ] {
            let mut run = record("demo", "plain", "rkd", 1);
            change(&mut run);
            fs::write(&path, serde_json::to_vec(&run).unwrap()).unwrap();
            let error = merge(&[first.clone(), other.clone()], &out).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            // Nor is the first added before the second is looked at.
            assert!(!out.exists());
        }
    }

    #[test]
    fn a_run_with_other_settings_is_refused_and_nothing_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let (out, other) = (part(root.path(), 0), part(&root.path().join("other"), 0));
        let path = other.join("runs/demo/plain/rkd/resnet18/seed-0").join(RECORD_FILE);
        let mut run = record("demo", "plain", "rkd", 0);
        run.config.method = json!({"train": {"epochs": 99, "lr": 0.4}});
        fs::write(&path, serde_json::to_vec(&run).unwrap()).unwrap();
        let error = merge(std::slice::from_ref(&other), &out).unwrap_err();
        assert!(error.to_string().contains("method.train.epochs: 10 there, 99 here"), "{error}");
        assert_eq!(load_records(&out).unwrap(), [record("demo", "plain", "rkd", 0)]);

        fs::write(other.join(GRID_FILE), "{").unwrap();
        fs::write(&path, serde_json::to_vec(&record("demo", "plain", "rkd", 0)).unwrap()).unwrap();
        assert!(matches!(merge(&[other], &out), Err(RecordError::DamagedGrid { .. })));
    }
}
