use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fmam_methods::{KeptTraining, MethodEntry, RunContext, TrainingIdentity};
use fmam_models::tensors_digest;
use fmam_synthesis::Textures;
use serde_json::Value;

use super::config::CalibrationConfig;
use crate::ExperimentError;
use crate::content::{bytes_sha256, fingerprint};
use crate::host::{device_name, versions_on};

/// A fit keeps the state of its trainings in this folder, this often: an interrupted fit with the
/// same settings and images goes on where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepTraining {
    /// The folder, of this fit alone. It can be removed once the detector is saved:
    /// [`KeptTraining::remove`].
    pub folder: PathBuf,
    /// The time between two writings of the state; zero writes it after each step.
    pub every: Duration,
}

/// The beginning of the name of every folder of [`KeepTraining`].
const PREFIX: &str = ".training-";

impl KeepTraining {
    /// The time between two writings where nobody asks for another.
    pub const EVERY: Duration = Duration::from_secs(180);

    /// A folder beside `out`, in which the outcome of the fit will be: hidden, and of a name that
    /// only `out` has there.
    pub fn beside(out: &Path) -> Self {
        let name = out.file_name().unwrap_or(out.as_os_str());
        Self::within(fmam_files::parent(out), name.as_encoded_bytes())
    }

    /// A hidden folder in `parent` for the fit called `name`, of any length.
    pub(crate) fn within(parent: &Path, name: &[u8]) -> Self {
        let folder = parent.join(format!("{PREFIX}{}", fmam_files::short_digest(name)));
        Self { folder, every: Self::EVERY }
    }

    /// Has the state written after each `every` that a training lasts.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// True while the state of a training is there.
    pub fn is_there(&self) -> bool {
        self.folder.is_dir()
    }

    /// Removes the folder, once the detector is saved.
    ///
    /// # Errors
    /// As [`KeptTraining::remove`].
    pub fn remove(&self) -> Result<(), ExperimentError> {
        Ok(KeptTraining::remove(&self.folder)?)
    }

    /// The folders in `parent` that keep trainings.
    ///
    /// # Errors
    /// [`ExperimentError::Read`].
    pub fn all_within(parent: &Path) -> Result<Vec<PathBuf>, ExperimentError> {
        let error = |source| ExperimentError::Read { path: parent.to_owned(), source };
        let mut folders = Vec::new();
        for entry in fs::read_dir(parent).map_err(error)? {
            let entry = entry.map_err(error)?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                folders.push(entry.path());
            }
        }
        Ok(folders)
    }

    /// Removes what is kept in `parent` of trainings that nobody will go on with.
    pub(crate) fn remove_all_within(parent: &Path) -> Result<(), ExperimentError> {
        let folders = Self::all_within(parent)?;
        folders.iter().try_for_each(|folder| Ok(KeptTraining::remove(folder)?))
    }

    /// Opens the folder for the fit that has these `facts` and the surroundings `run`.
    ///
    /// # Errors
    /// As [`KeptTraining::open`].
    pub(super) fn open(
        &self,
        facts: &Facts<'_>,
        run: &RunContext<'_>,
    ) -> Result<KeptTraining, ExperimentError> {
        Ok(KeptTraining::open(&self.folder, &identity(facts, run)?, self.every)?)
    }
}

/// The facts about a fit that its surroundings do not have.
pub(super) struct Facts<'a> {
    pub(super) entry: &'a MethodEntry,
    /// The settings of the method, resolved.
    pub(super) settings: &'a Value,
    pub(super) calibration: &'a CalibrationConfig,
    /// The digests of the pixels of all good images, in order.
    pub(super) images: &'a [String],
}

/// All that decides the outcome of a fit.
fn identity(facts: &Facts<'_>, run: &RunContext<'_>) -> Result<TrainingIdentity, ExperimentError> {
    let Facts { entry, settings, calibration, images } = facts;
    let backbone = run.backbone.as_ref();
    let textures = match &run.textures {
        Textures::Generated => "generated".to_owned(),
        Textures::Images(source) => fingerprint(&[source.as_ref()]),
    };
    // The kind of processor and the program among them: others compute other last digits.
    let versions = versions_on(&run.device).into_iter().map(|(name, version)| format!("{name} {version}"));
    let facts = [
        ("program", versions.collect::<Vec<_>>().join(", ")),
        ("device", device_name(&run.device)),
        ("method", entry.name.to_owned()),
        ("settings", settings.to_string()),
        ("seed", format!("{:?}", run.seed)),
        ("preparation", bytes_sha256(format!("{:?}", run.preparation).as_bytes())),
        ("backbone", format!("{} {:?}", backbone.name(), backbone.precision())),
        ("weights", weights_digest(run)?),
        ("textures", textures),
        ("calibration", format!("{calibration:?}")),
        ("images", bytes_sha256(images.join(" ").as_bytes())),
    ];
    Ok(facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect())
}

/// SHA-256 over the tensors of the backbone; those of a backbone without any that it can give are
/// known by its name alone.
fn weights_digest(run: &RunContext<'_>) -> Result<String, ExperimentError> {
    let Ok(weights) = run.backbone.weights() else { return Ok("of the backbone".to_owned()) };
    Ok(tensors_digest(weights)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_folder_of_its_own_beside_it() {
        let folder = |out: &str| KeepTraining::beside(Path::new(out)).folder;
        assert_eq!(folder("a/model").parent(), Some(Path::new("a")));
        assert_eq!(folder("model").parent(), Some(Path::new(".")));
        assert_eq!(folder("a/model"), folder("a/model/"));
        assert_ne!(folder("a/model"), folder("a/model2"));
        let long = folder(&"n".repeat(255));
        assert_eq!(long.file_name().unwrap().len(), PREFIX.len() + 16);
    }

    #[test]
    fn trainings_that_nobody_goes_on_with_are_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let kept = KeepTraining::within(parent.path(), b"run");
        // As a killed process leaves it.
        fs::create_dir(&kept.folder).unwrap();
        for name in ["training.json", "0-student.safetensors", ".lock"] {
            fs::write(kept.folder.join(name), "x").unwrap();
        }
        fs::create_dir(parent.path().join("runs")).unwrap();
        assert!(kept.is_there());
        KeepTraining::remove_all_within(parent.path()).unwrap();
        let names: Vec<_> = fs::read_dir(parent.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["runs"]);
    }
}
