use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fmam_core::{StageId, with_causes};
use fmam_files::{Lock, LockError, remove_leftovers, write_atomic};

use crate::MethodError;
use crate::stage_state::StageState;

/// The file that names the training which a folder keeps.
const IDENTITY_FILE: &str = "training.json";

/// The ending of the file of a state.
const ENDING: &str = "safetensors";

/// The file by which a folder is locked.
const LOCK_FILE: &str = ".lock";

/// Part of a training's time that the writing of its state may take.
const WRITING_SHARE: u32 = 20;

/// The facts that decide the outcome of a fit, by a name that a person understands: method, seed,
/// images, and so on.
pub type TrainingIdentity = BTreeMap<String, String>;

/// A folder in which a fit keeps the state of its trainings, so that an interrupted fit goes on
/// where it was. The fit that goes on gives the same detector, bit by bit on the same kind of
/// processor, as one that was never interrupted.
///
/// A fit locks the folder. It writes the state of the training under way every few minutes and when
/// it is asked to stop, each time whole or not at all. A state that cannot be written, on a full
/// disk say, is told once and keeps nobody from training.
#[derive(Debug)]
pub struct KeptTraining {
    folder: PathBuf,
    every: Duration,
    /// Trainings of this fit that have begun.
    n_begun: AtomicUsize,
    cannot_write: AtomicBool,
    /// The time that earlier attempts spent on the steps that this one did not do again.
    earlier: Mutex<Duration>,
    /// `None` while it is dropped.
    lock: Option<Lock>,
}

/// A folder without a state is of no use.
impl Drop for KeptTraining {
    fn drop(&mut self) {
        let is_empty = clear_if_stateless(&self.folder).unwrap_or(false);
        self.lock = None;
        if is_empty {
            // A folder that another process has locked meanwhile is not empty, and stays.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

impl KeptTraining {
    /// Opens the `folder`, which is made where it is missing. What it keeps of a training with
    /// another `identity` is removed, and a warning tells which facts differ. With `every` of zero
    /// the state is written after each step.
    ///
    /// # Errors
    /// [`MethodError::TrainingHeld`] while another fit has the folder; [`MethodError::Write`],
    /// [`MethodError::Read`].
    pub fn open(folder: &Path, identity: &TrainingIdentity, every: Duration) -> Result<Self, MethodError> {
        let write = write_error(folder);
        fs::create_dir_all(folder).map_err(write)?;
        let lock = locked(folder)?;
        // Of a process that was killed while it wrote.
        remove_leftovers(folder).map_err(write)?;
        let path = folder.join(IDENTITY_FILE);
        match fmam_files::read_limited(&path, fmam_models::MAX_BYTES) {
            Ok(bytes) => {
                let kept: Option<TrainingIdentity> = serde_json::from_slice(&bytes).ok();
                let differences =
                    kept.as_ref().map_or(vec!["its description"], |kept| differing(kept, identity));
                if !differences.is_empty() {
                    tracing::warn!(
                        folder = %folder.display(),
                        differs = differences.join(", "),
                        "the state that is kept there is of another training: it is removed, and the training begins anew"
                    );
                    clear(folder)?;
                }
            }
            // The identity is written first: states without one are of a training that ended.
            Err(error) if error.kind() == ErrorKind::NotFound => clear(folder)?,
            Err(error) => return Err(MethodError::read(&path, error)),
        }
        let text = serde_json::to_vec_pretty(identity).map_err(|error| write(error.into()))?;
        write_atomic(&path, |file| file.write_all(&text)).map_err(write)?;
        Ok(Self {
            folder: folder.to_owned(),
            every,
            n_begun: AtomicUsize::new(0),
            cannot_write: AtomicBool::new(false),
            earlier: Mutex::default(),
            lock: Some(lock),
        })
    }

    /// Removes what a fit has kept in `folder`, once its detector is saved. A folder that is not
    /// there is no error.
    ///
    /// # Errors
    /// [`MethodError::TrainingHeld`] while a fit has the folder; [`MethodError::Write`].
    pub fn remove(folder: &Path) -> Result<(), MethodError> {
        if !folder.is_dir() {
            return Ok(());
        }
        let write = write_error(folder);
        let lock = locked(folder)?;
        clear(folder)?;
        drop(lock);
        fs::remove_dir(folder).map_err(write)
    }

    /// The time that interrupted attempts spent on what this fit did not do again.
    pub fn earlier(&self) -> Duration {
        *self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of the next training of the fit, whose stage is `id`. A fit begins its trainings
    /// in one order, whether it was interrupted or not.
    pub(crate) fn next_stage(&self, id: &StageId) -> KeptStage<'_> {
        let number = self.n_begun.fetch_add(1, Ordering::SeqCst);
        let name: String =
            id.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let path = self.folder.join(format!("{number}-{name}.{ENDING}"));
        let now = Instant::now();
        KeptStage { kept: self, path, earlier: Duration::ZERO, began: now, written: now, wait: self.every }
    }
}

/// The place in a [`KeptTraining`] of one training.
pub(crate) struct KeptStage<'a> {
    kept: &'a KeptTraining,
    path: PathBuf,
    /// The time that the steps of earlier attempts took.
    earlier: Duration,
    began: Instant,
    /// The time of the last writing.
    written: Instant,
    /// The time between two writings.
    wait: Duration,
}

impl KeptStage<'_> {
    /// The state that is kept; `None` without one. A damaged one is told and left out.
    pub(crate) fn read(&self) -> Result<Option<StageState>, MethodError> {
        let bytes = match fmam_files::read_limited(&self.path, fmam_models::MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(MethodError::read(&self.path, error)),
        };
        let state = StageState::from_bytes(&bytes, &self.path);
        if state.is_none() {
            self.tell_unusable();
        }
        Ok(state)
    }

    /// Warns that the state is damaged, or is none of this training.
    pub(crate) fn tell_unusable(&self) {
        let path = self.path.display();
        tracing::warn!(file = %path, "the kept state of a training is damaged: the training begins anew");
    }

    /// The training goes on from `state`, which was read.
    pub(crate) fn goes_on_from(&mut self, state: &StageState) {
        let path = self.path.display();
        tracing::warn!(file = %path, step = state.step, of = state.total, "an interrupted training goes on");
        self.earlier = Duration::try_from_secs_f64(state.seconds).unwrap_or_default();
        *self.kept.earlier.lock().unwrap_or_else(PoisonError::into_inner) += self.earlier;
    }

    /// Seconds that the training took so far, over all attempts.
    pub(crate) fn seconds(&self) -> f64 {
        (self.earlier + self.began.elapsed()).as_secs_f64()
    }

    /// True where the state is to be written after this step.
    pub(crate) fn is_due(&self) -> bool {
        self.written.elapsed() >= self.wait
    }

    /// True where a training that ends now is long enough for its end to be kept.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        self.began.elapsed() >= self.kept.every / 4
    }

    /// Writes a state in place of the one before.
    pub(crate) fn write(&mut self, state: &StageState) {
        let start = Instant::now();
        let result = state.write(&self.path);
        self.wait = self.kept.every.max(start.elapsed() * WRITING_SHARE);
        if self.kept.every.is_zero() {
            self.wait = Duration::ZERO;
        }
        self.written = Instant::now();
        if let Err(error) = result
            && !self.kept.cannot_write.swap(true, Ordering::SeqCst)
        {
            tracing::warn!("the training goes on, but its state cannot be kept: {}", with_causes(&error));
        }
    }
}

/// Locks `folder` for one fit.
fn locked(folder: &Path) -> Result<Lock, MethodError> {
    Lock::acquire(&folder.join(LOCK_FILE)).map_err(|error| match error {
        LockError::Held => MethodError::TrainingHeld { folder: folder.to_owned() },
        LockError::Io(source) => write_error(folder)(source),
    })
}

/// The error of a `folder` that cannot be written.
fn write_error(folder: &Path) -> impl Fn(io::Error) -> MethodError + Copy {
    move |source| MethodError::Write { path: folder.to_owned(), source: source.into() }
}

/// The names of the facts in which two trainings differ.
fn differing<'a>(kept: &'a TrainingIdentity, identity: &'a TrainingIdentity) -> Vec<&'a str> {
    let names = identity.keys().chain(kept.keys().filter(|name| !identity.contains_key(*name)));
    names.filter(|name| kept.get(*name) != identity.get(*name)).map(String::as_str).collect()
}

/// Removes what a fit wrote into `folder`, but for its lock, where no state is among it; true then.
fn clear_if_stateless(folder: &Path) -> Result<bool, MethodError> {
    let error = write_error(folder);
    for entry in fs::read_dir(folder).map_err(error)? {
        if entry.map_err(error)?.path().extension().is_some_and(|ending| ending == ENDING) {
            return Ok(false);
        }
    }
    clear(folder)?;
    Ok(true)
}

/// Removes what a fit wrote into `folder`, but for its lock.
fn clear(folder: &Path) -> Result<(), MethodError> {
    let error = write_error(folder);
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        if entry.file_name() != LOCK_FILE {
            fs::remove_file(entry.path()).map_err(error)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(facts: &[(&str, &str)]) -> TrainingIdentity {
        facts.iter().map(|&(name, fact)| (name.to_owned(), fact.to_owned())).collect()
    }

    fn state(step: usize) -> StageState {
        StageState { step, total: 10, ..StageState::default() }
    }

    #[test]
    fn a_state_comes_back_to_the_same_training_only() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("kept");
        let (mine, other) = (identity(&[("seed", "0")]), identity(&[("seed", "1")]));
        let open = |identity| KeptTraining::open(&folder, identity, Duration::ZERO).unwrap();
        let stage = StageId::new("a student / of the base");
        {
            let kept = open(&mine);
            let held = KeptTraining::open(&folder, &mine, Duration::ZERO).unwrap_err();
            assert!(matches!(held, MethodError::TrainingHeld { .. }), "{held}");
            let mut first = kept.next_stage(&stage);
            assert!(first.read().unwrap().is_none());
            first.write(&state(3));
            // A stage of the same name later in the fit has its own state.
            assert!(kept.next_stage(&stage).read().unwrap().is_none());
        }
        let partial = folder.join(".partial-killed");
        fs::write(&partial, "half").unwrap();
        assert_eq!(open(&mine).next_stage(&stage).read().unwrap().unwrap().step, 3);
        assert!(!partial.exists());
        assert!(open(&other).next_stage(&stage).read().unwrap().is_none());
        assert!(open(&mine).next_stage(&stage).read().unwrap().is_none());
        // The last fit has written no state.
        assert!(!folder.exists());
        open(&mine).next_stage(&stage).write(&state(1));
        assert!(folder.exists());
        KeptTraining::remove(&folder).unwrap();
        assert!(!folder.exists());
        KeptTraining::remove(&folder).unwrap();
    }

    #[test]
    fn the_facts_that_differ_are_named() {
        let kept = identity(&[("seed", "0"), ("method", "rkd"), ("old", "x")]);
        let now = identity(&[("seed", "1"), ("method", "rkd"), ("images", "y")]);
        assert_eq!(differing(&kept, &now), ["images", "seed", "old"]);
        assert!(differing(&kept, &kept).is_empty());
    }

    #[test]
    fn a_state_that_cannot_be_written_keeps_the_one_before() {
        let parent = tempfile::tempdir().unwrap();
        let kept = KeptTraining::open(parent.path(), &identity(&[]), Duration::ZERO).unwrap();
        let stage = StageId::new("student");
        let mut place = kept.next_stage(&stage);
        place.write(&state(3));
        // A folder in the place of the file cannot be replaced by one.
        let mut blocked = kept.next_stage(&stage);
        fs::create_dir_all(blocked.path.join("full")).unwrap();
        blocked.write(&state(4));
        assert!(kept.cannot_write.load(Ordering::SeqCst));
        assert_eq!(place.read().unwrap().unwrap().step, 3);
    }

    #[test]
    fn a_damaged_state_is_left_out() {
        let parent = tempfile::tempdir().unwrap();
        let kept = KeptTraining::open(parent.path(), &identity(&[]), Duration::ZERO).unwrap();
        let mut place = kept.next_stage(&StageId::new("student"));
        place.write(&state(3));
        let whole = fs::read(&place.path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&place.path, &damaged).unwrap();
            assert!(place.read().unwrap().is_none_or(|found| found.step == 3), "byte {at}");
            fs::write(&place.path, &whole[..at]).unwrap();
            assert!(place.read().unwrap().is_none(), "{at} bytes");
        }
        fs::write(&place.path, &whole).unwrap();
        assert_eq!(place.read().unwrap().unwrap().step, 3);
    }
}
