//! The programs of Slurm: `sbatch`, `squeue` and `scontrol`.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Largest `MaxArraySize` that is there without a word in Slurm's configuration.
const DEFAULT_ARRAY_SIZE: usize = 1001;

/// A job, as `sbatch --parsable` names it: `NUMBER` or `NUMBER;CLUSTER`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job(String);

impl Job {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.starts_with(|first: char| first.is_ascii_digit()))
            .then(|| Self(text.to_owned()))
    }

    pub(super) fn number(&self) -> &str {
        self.0.split(';').next().unwrap_or_default()
    }

    /// As it was parsed.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// True if the job is waiting or running.
    ///
    /// # Errors
    /// Fails if Slurm cannot be asked.
    pub(super) fn is_queued(&self) -> Result<bool> {
        let mut command = Command::new("squeue");
        command.args(["--noheader", "--jobs", self.number()]);
        if let Some((_, cluster)) = self.0.split_once(';') {
            command.args(["--clusters", cluster]);
        }
        let output = command.output().context("cannot run squeue; is this a machine of the cluster?")?;
        answer(&output).with_context(|| format!("cannot ask Slurm whether job {} is done", self.number()))
    }
}

/// True if `squeue`, asked for one job, named the job.
fn answer(output: &Output) -> Result<bool> {
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        // Of a named cluster there is a line that names it.
        let text = String::from_utf8_lossy(&output.stdout);
        return Ok(text.lines().any(|line| !line.trim().is_empty() && !line.starts_with("CLUSTER:")));
    }
    // Slurm forgets a job some minutes after its end.
    if error.contains("Invalid job id") { Ok(false) } else { bail!("{}", error.trim()) }
}

/// Submits the script at `path`.
pub(super) fn sbatch(options: &[String], path: &Path) -> Result<Job> {
    let mut command = Command::new("sbatch");
    command.arg("--parsable").args(options).arg(path);
    let output = command.output().context("cannot run sbatch; is this a machine of the cluster?")?;
    if !output.status.success() {
        bail!("sbatch refused: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Job::parse(&String::from_utf8_lossy(&output.stdout)).context("sbatch named no job")
}

/// The largest number of tasks of an array that counts from 1.
pub(super) fn max_tasks() -> usize {
    let output = Command::new("scontrol").args(["show", "config"]).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    array_size(text.as_deref().unwrap_or_default()).saturating_sub(1).max(1)
}

fn array_size(config: &str) -> usize {
    let value = config.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "MaxArraySize").then(|| value.trim().parse().ok())?
    });
    value.unwrap_or(DEFAULT_ARRAY_SIZE)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn output(code: i32, stdout: &str, stderr: &str) -> Output {
        Output { status: ExitStatus::from_raw(code << 8), stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn only_a_job_that_slurm_has_forgotten_is_done() {
        assert!(answer(&output(0, "  7_1 all fmam root R 0:01\n", "")).unwrap());
        assert!(answer(&output(0, "CLUSTER: x\n  7 all\n", "")).unwrap());
        assert!(!answer(&output(0, "CLUSTER: x\n", "")).unwrap());
        assert!(!answer(&output(0, "", "")).unwrap());
        assert!(!answer(&output(1, "", "slurm_load_jobs error: Invalid job id specified\n")).unwrap());
        let error = answer(&output(1, "", "Unable to contact slurm controller (connect failure)\n"));
        assert!(error.unwrap_err().to_string().contains("controller"));
    }

    #[test]
    fn a_job_has_a_number_and_may_have_a_cluster() {
        assert_eq!(Job::parse("7;east\n").unwrap().number(), "7");
        assert_eq!(Job::parse(" 12\n").unwrap().text(), "12");
        assert_eq!((Job::parse(""), Job::parse("error")), (None, None));
    }

    #[test]
    fn the_size_of_arrays_is_the_clusters() {
        assert_eq!(array_size("MaxAge = 3\nMaxArraySize            = 4001\n"), 4001);
        assert_eq!(array_size("nothing"), DEFAULT_ARRAY_SIZE);
    }
}
