//! `cargo xtask reproduce --launcher slurm`: a job array with one run a task, and a job that joins what they leave.
//!
//! Under the output folder `OUT` lies in `slurm/` what was submitted (the binary, the scripts, the logs) and in `shards/N/` the
//! output of run N. The same command submits what is missing, and nothing else.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::fmam::Fmam;

/// What is typed beside the arguments of `fmam reproduce`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Launch {
    /// The value of `--launcher`, where it was given.
    pub(crate) launcher: Option<String>,
    /// The values of `--sbatch`: options of `sbatch`, for every job.
    pub(crate) sbatch: Vec<String>,
    /// The value of `--out`.
    pub(crate) out: Option<PathBuf>,
    /// Everything else.
    pub(crate) rest: Vec<OsString>,
}

impl Launch {
    /// Takes the launcher's options out of `args`.
    pub(crate) fn from_args(args: &[OsString]) -> Result<Self> {
        let mut launch = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let text = arg.to_str().unwrap_or_default();
            let (name, inline) = match text.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (text, None),
            };
            if !["--launcher", "--sbatch", "--out"].contains(&name) {
                launch.rest.push(arg.clone());
                continue;
            }
            let value =
                inline.or_else(|| args.next().cloned()).with_context(|| format!("{name} needs a value"))?;
            match name {
                "--out" => launch.out = Some(value.into()),
                "--sbatch" => launch.sbatch.push(value.to_string_lossy().into_owned()),
                _ => launch.launcher = Some(value.to_string_lossy().into_owned()),
            }
        }
        Ok(launch)
    }

    /// Submits the runs that are missing.
    pub(crate) fn submit(&self, fmam: &Fmam) -> Result<ExitCode> {
        match self.launcher.as_deref() {
            Some("slurm") => {}
            other => bail!("--launcher {}: the only launcher is slurm", other.unwrap_or_default()),
        }
        let Some(out) = &self.out else {
            bail!("--launcher slurm needs --out, a folder that every node sees")
        };
        let out = std::path::absolute(out)?;
        let folder = out.join("slurm");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        if let Some(job) = queued(&folder) {
            bail!("job {job} of {} is not done yet; wait for it, or cancel it with scancel", out.display());
        }
        let parts = shards(&out)?;
        if !parts.is_empty() {
            // Says what is missing too, which the plan below knows as well.
            fmam.output(merge_args(&parts, &out))?;
        }
        let (n_runs, pending) = self.plan(fmam, &out)?;
        if pending.is_empty() {
            println!("all {n_runs} runs are finished in {}", out.display());
            return Ok(ExitCode::SUCCESS);
        }
        let binary = folder.join("fmam");
        copy_whole(fmam.path(), &binary)?;
        let array = format!("--array={}", ranges(&pending));
        let log = |name: &str| format!("--output={}", folder.join(name).display());
        let job = self.sbatch(
            &[&array, &log("%A_%a.log")],
            &folder.join("run.sh"),
            &self.run_script(&out, n_runs),
        )?;
        let after = format!("--dependency=afterany:{job}");
        let merge =
            self.sbatch(&[&after, &log("merge_%j.log")], &folder.join("merge.sh"), &merge_script(&out))?;
        fs::write(folder.join("jobs"), format!("{job}\n{merge}\n"))?;
        println!(
            "{} of {n_runs} runs submitted as job {job}; job {merge} writes {} when they are done.\n\
             Logs are in {}. The same command submits again what is missing then.",
            pending.len(),
            out.join("report.html").display(),
            folder.display()
        );
        Ok(ExitCode::SUCCESS)
    }

    /// How many runs there are, and the numbers of those that are to do.
    fn plan(&self, fmam: &Fmam, out: &Path) -> Result<(usize, Vec<usize>)> {
        let mut args = vec![OsString::from("reproduce")];
        args.extend(self.rest.iter().cloned());
        args.extend(["--plan".into(), "--out".into(), out.into()]);
        let text = fmam.output(args)?;
        let mut pending = Vec::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            let number: usize =
                words.next().and_then(|word| word.parse().ok()).context("fmam printed no plan")?;
            if words.next() == Some("pending") {
                pending.push(number);
            }
        }
        Ok((text.lines().count(), pending))
    }

    fn run_script(&self, out: &Path, n_runs: usize) -> String {
        let binary = out.join("slurm/fmam");
        let mut words = vec![quoted(binary.as_os_str()), "reproduce".to_owned()];
        words.extend(self.rest.iter().map(|arg| quoted(arg)));
        let has = |names: &[&str]| {
            self.rest
                .iter()
                .any(|arg| names.contains(&arg.to_string_lossy().split('=').next().unwrap_or_default()))
        };
        if !has(&["--quiet", "-q"]) {
            words.push("--quiet".to_owned());
        }
        if !has(&["--threads"]) {
            words.push("${SLURM_CPUS_PER_TASK:+--threads $SLURM_CPUS_PER_TASK}".to_owned());
        }
        let shards = quoted(out.join("shards").as_os_str());
        format!(
            "#!/bin/bash\n#SBATCH --job-name=fmam\n#SBATCH --requeue\n#SBATCH --open-mode=append\nset -euo pipefail\n\
             # Started anew after a requeue it goes on where it stopped.\n\
             exec {} --shard \"$SLURM_ARRAY_TASK_ID/{n_runs}\" --out {shards}/\"$SLURM_ARRAY_TASK_ID\"\n",
            words.join(" ")
        )
    }

    /// Writes `script` to `path` and submits it; the number of the job.
    fn sbatch(&self, options: &[&str], path: &Path, script: &str) -> Result<String> {
        fs::write(path, script).with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new("sbatch");
        command.arg("--parsable").args(options).args(&self.sbatch).arg(path);
        let output = command.output().context("cannot run sbatch; is this a machine of the cluster?")?;
        if !output.status.success() {
            bail!("sbatch refused: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        // `job;cluster` where there are several clusters.
        let text = String::from_utf8_lossy(&output.stdout);
        let job = text.trim().split(';').next().unwrap_or_default().to_owned();
        if job.is_empty() { bail!("sbatch named no job") } else { Ok(job) }
    }
}

/// A job that was submitted from here and is still waiting or running.
fn queued(folder: &Path) -> Option<String> {
    let jobs = fs::read_to_string(folder.join("jobs")).ok()?;
    let is_queued = |job: &&str| {
        // Slurm forgets a job some minutes after its end and says so with an error.
        let output = Command::new("squeue").args(["--noheader", "--jobs", job]).output();
        output.is_ok_and(|output| output.status.success() && !output.stdout.trim_ascii().is_empty())
    };
    jobs.lines().find(is_queued).map(str::to_owned)
}

/// The output folders of single runs.
fn shards(out: &Path) -> Result<Vec<PathBuf>> {
    let folder = out.join("shards");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut parts = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    parts.retain(|part| part.is_dir());
    parts.sort();
    Ok(parts)
}

fn merge_args(parts: &[PathBuf], out: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["report".into(), "merge".into()];
    args.extend(parts.iter().map(|part| part.as_os_str().to_owned()));
    args.extend(["--out".into(), out.into()]);
    args
}

fn merge_script(out: &Path) -> String {
    let [binary, shards, out] =
        [&out.join("slurm/fmam"), &out.join("shards"), out].map(|path| quoted(path.as_os_str()));
    format!(
        "#!/bin/bash\n#SBATCH --job-name=fmam-report\nset -euo pipefail\nexec {binary} report merge {shards}/*/ --out {out}\n"
    )
}

/// A job may be running the binary that lies there: it keeps the old one, a new job gets the new one.
fn copy_whole(from: &Path, to: &Path) -> Result<()> {
    let partial = to.with_extension("new");
    fs::copy(from, &partial)
        .and_then(|_| fs::rename(&partial, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// A word of a shell command.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))
}

/// `1-3,7`, from rising numbers.
fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let texts = runs.map(|run| match run {
        [only] => only.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(line: &str) -> Result<Launch> {
        Launch::from_args(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_options_of_the_launcher_are_taken_out() {
        let found =
            launch("--preset demo --launcher slurm --out=o --sbatch --partition=gpu --sbatch=-G1 --seeds 0")
                .unwrap();
        assert_eq!(found.launcher.as_deref(), Some("slurm"));
        assert_eq!(found.sbatch, ["--partition=gpu", "-G1"]);
        assert_eq!(found.out.as_deref(), Some(Path::new("o")));
        assert_eq!(found.rest, ["--preset", "demo", "--seeds", "0"]);
        assert!(launch("--out").is_err());
    }

    #[test]
    fn a_task_does_its_run_in_a_folder_of_its_own() {
        let launch = launch("--preset it's.toml --launcher slurm").unwrap();
        let script = launch.run_script(Path::new("/o p"), 8);
        let command = script.lines().last().unwrap();
        assert_eq!(
            command,
            "exec '/o p/slurm/fmam' reproduce '--preset' 'it'\\''s.toml' --quiet \
             ${SLURM_CPUS_PER_TASK:+--threads $SLURM_CPUS_PER_TASK} --shard \"$SLURM_ARRAY_TASK_ID/8\" \
             --out '/o p/shards'/\"$SLURM_ARRAY_TASK_ID\""
        );
        let own = Launch { rest: vec!["--threads=2".into(), "-q".into()], ..Launch::default() };
        assert!(
            !own.run_script(Path::new("o"), 1).contains("SLURM_CPUS")
                && !own.run_script(Path::new("o"), 1).contains("--quiet")
        );
    }

    #[test]
    fn an_array_names_what_is_missing() {
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3,7,9-10");
        assert_eq!(ranges(&[4]), "4");
    }
}
