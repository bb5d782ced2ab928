//! An interrupted fit goes on where it was: the detector has the bits of an undisturbed one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fmam_core::{Progress, Seed, StageId};
use fmam_methods::{Fitted, KeptTraining, MethodEntry, MethodError, RunContext, TrainingIdentity};
use fmam_testkit::striped_train;

use super::{SIZE, context, methods, quick};

/// Epochs of an interrupted training: several steps in each stage.
const EPOCHS: u64 = 3;

/// A progress that asks to stop at a step of the trainings, counted over all of them.
struct StopAt {
    step: usize,
    seen: AtomicUsize,
}

impl StopAt {
    fn new(step: usize) -> Self {
        Self { step, seen: AtomicUsize::new(0) }
    }
}

impl Progress for StopAt {
    fn start(&self, _stage: &StageId, _total: u64) {}

    fn update(&self, _done: u64, detail: &str) {
        // Other work than training has no epochs.
        if detail.starts_with("epoch") {
            self.seen.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn finish(&self) {}

    fn cancelled(&self) -> bool {
        self.seen.load(Ordering::SeqCst) >= self.step
    }
}

fn fit(
    entry: &MethodEntry,
    progress: &dyn Progress,
    kept: Option<&KeptTraining>,
) -> Result<Fitted, MethodError> {
    let train = striped_train(24, SIZE, Seed::new(1));
    quick(entry, EPOCHS).fit(&train, &RunContext { kept, ..context(0, 2, progress) })
}

/// The files of the saved detector, by their names.
fn saved(fitted: &Fitted, dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fitted.detector.save(dir).unwrap();
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let file = |entry: std::fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

#[test]
fn an_interrupted_fit_goes_on_to_the_same_bits() {
    for entry in methods().filter(|entry| entry.trains().unwrap()) {
        let name = entry.name;
        let folder = tempfile::tempdir().unwrap();
        let never = StopAt::new(usize::MAX);
        let whole = fit(entry, &never, None).unwrap();
        let steps = never.seen.load(Ordering::SeqCst);
        let expected = saved(&whole, &folder.path().join("whole"));
        let open =
            |every| KeptTraining::open(&folder.path().join("kept"), &TrainingIdentity::new(), every).unwrap();
        // Once in the first step, in the middle, in the last step; then three times in one fit.
        let long = Duration::from_secs(3600);
        for (k, stops) in
            [vec![1], vec![steps / 2], vec![steps - 1], vec![2, steps / 3, steps / 2]].into_iter().enumerate()
        {
            // With a long time between two writings only the request to stop writes.
            for every in [Duration::ZERO, long] {
                for &stop in &stops {
                    let error = fit(entry, &StopAt::new(stop), Some(&open(every))).err();
                    // A later stop counts the steps of its own attempt.
                    assert!(matches!(error, None | Some(MethodError::Cancelled)), "{name}: {error:?}");
                }
                let kept = open(every);
                let resumed = fit(entry, &StopAt::new(usize::MAX), Some(&kept)).unwrap();
                let went_on = kept.earlier() > Duration::ZERO;
                drop(kept);
                assert!(went_on || stops == [steps], "{name}: the fit began anew after {stops:?}");
                let found = saved(&resumed, &folder.path().join(format!("resumed-{k}-{}", every.as_secs())));
                assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
                for (file, bytes) in &found {
                    assert!(
                        *bytes == expected[file],
                        "{name}: {file} differs after stops at {stops:?} of {steps} steps: every state that a \
                         step changes must be kept"
                    );
                }
                let losses = |fitted: &Fitted| -> Vec<(String, usize, u64)> {
                    let point = |p: &fmam_core::CurvePoint| (p.stage.clone(), p.epoch, p.loss.to_bits());
                    fitted.curve.iter().map(point).collect()
                };
                assert_eq!(losses(&resumed), losses(&whole), "{name}: {stops:?}");
                KeptTraining::remove(&folder.path().join("kept")).unwrap();
            }
        }
    }
}
