use std::path::Path;

use fmam_core::Progress;
use fmam_record::{RunKey, RunRecord, device_kind, load_run, setting_differences};

use crate::program::{SameProgram, program_name, same_program};
use crate::{Experiment, ExperimentError, RunPlan, host};

/// The treatment of runs that an output folder has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishedRuns {
    /// They are kept. A run of a program that computes otherwise is an error.
    Keep,
    /// They are kept, whichever version of the program did them.
    KeepAnyVersion,
    /// They are done again.
    Repeat,
}

/// Why a finished run, though it is kept, may not be what this program would make of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// The record is from before the digests of data and weights were kept: replaced files go
    /// unnoticed.
    NoDigests,
    /// Another program did it.
    OtherProgram {
        /// The program, with what is known of its sources.
        name: String,
    },
}

/// A finished run that is kept with a doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubtfulRun {
    /// The run.
    pub key: RunKey,
    /// Why.
    pub doubt: Doubt,
}

impl Experiment {
    /// Looks for the run of `plan` in the output folder `out`, done on a device like the one called
    /// `device`, and gives the doubts about it; `None` for a run that is not there. A run without a
    /// record is not finished, whatever else is there. Nothing is locked or changed.
    ///
    /// The data are compared by the sizes and modification times of their files, as `make` and
    /// `rsync` do, so that a grid of finished runs costs no reading. Where these differ, on another
    /// machine say, the contents are read and decide.
    ///
    /// # Errors
    /// [`ExperimentError::ConfigDiffers`] for a run with other settings, weights, data or another
    /// kind of device; [`ExperimentError::ProgramDiffers`]; [`ExperimentError::Record`] for a
    /// record that cannot be read; [`ExperimentError::Read`] for an image,
    /// [`ExperimentError::Cancelled`].
    pub fn finished(
        &self,
        out: &Path,
        plan: &RunPlan,
        device: &str,
        policy: FinishedRuns,
        progress: &dyn Progress,
    ) -> Result<Option<Vec<Doubt>>, ExperimentError> {
        if policy == FinishedRuns::Repeat {
            return Ok(None);
        }
        let Some(record) = load_run(out, &plan.key)? else { return Ok(None) };
        let folder = || out.join(plan.key.dir());
        let differences = self.differences(&record, plan, device, progress)?;
        if !differences.is_empty() {
            return Err(ExperimentError::ConfigDiffers { folder: folder(), differences });
        }
        let mut doubts = Vec::new();
        let own = host::versions();
        let is_same = same_program(&record.versions, &own);
        let (there, now) = (program_name(&record.versions), program_name(&own));
        if is_same == SameProgram::No && policy == FinishedRuns::Keep {
            return Err(ExperimentError::ProgramDiffers { folder: folder(), there, now });
        }
        if is_same != SameProgram::Yes {
            doubts.push(Doubt::OtherProgram { name: there });
        }
        let lacks_weights = plan.config.weights_sha256.is_some() && record.config.weights_sha256.is_none();
        if lacks_weights || record.config.data.sha256.is_none() {
            doubts.push(Doubt::NoDigests);
        }
        Ok(Some(doubts))
    }

    /// The differences of `record` from `plan`, each as `key: value there, value now`.
    fn differences(
        &self,
        record: &RunRecord,
        plan: &RunPlan,
        device: &str,
        progress: &dyn Progress,
    ) -> Result<Vec<String>, ExperimentError> {
        let mut found = Vec::new();
        let n_test = record.n_test_normal + record.n_test_anomalous;
        for (split, there, now) in [("training", record.n_train, plan.n_train), ("test", n_test, plan.n_test)]
        {
            if there != now {
                found.push(format!("data set: {there} {split} images there, {now} now"));
            }
        }
        let (there, now) = (device_kind(&record.device), device_kind(device));
        if there != now {
            found.push(format!("device: {there} there, {now} now"));
        }
        let (known, mut config) = (&record.config, plan.config.clone());
        if known.data.sha256.is_some() {
            let is_unchanged = known.data.fingerprint == config.data.fingerprint;
            // Other numbers of images are other contents.
            config.data.sha256 = match is_unchanged || !found.is_empty() {
                true => known.data.sha256.clone(),
                false => Some(self.data_digest(plan, progress)?),
            };
        }
        let settings = setting_differences(known, &config)?.into_iter();
        let told = settings.map(|setting| match setting.key.as_str() {
            "data.sha256" => "data set: other images or masks now than there".to_owned(),
            "weights_sha256" => "weights: another content now than there".to_owned(),
            key => format!("{key}: {} there, {} now", setting.there, setting.here),
        });
        // The settings first, as they are what a user changes most.
        Ok(told.chain(found).collect())
    }
}
