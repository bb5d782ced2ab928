//! `cargo xtask reproduce --launcher slurm`: a job array with one run a task, and a job that joins
//! what they leave.
//!
//! Under the output folder `OUT` lies in `slurm/` what was submitted (the binary, the preset, the
//! list of runs, the scripts, the logs) and in `shards/N/` the output of run N. The same command
//! submits what is missing, and nothing else.

mod launch;
mod scheduler;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use fmam_files::LockError;

use crate::fmam::Fmam;
pub(crate) use launch::Launch;
use scheduler::{Job, max_tasks, sbatch};

/// File of the list of the runs that were submitted, one a line: its number in the grid and its
/// folder.
const RUNS: &str = "runs";
/// File of the jobs that were submitted, the array first.
const JOBS: &str = "jobs";
/// So many missing runs are named.
const NAMED: usize = 20;

/// A run that is to do.
#[derive(Debug, Clone, PartialEq)]
struct Pending {
    /// Its number in the grid, from 1.
    number: usize,
    /// Its folder, relative to an output folder.
    folder: String,
}

/// Submits the runs that are missing.
pub(crate) fn submit(launch: &Launch, fmam: &Fmam) -> Result<ExitCode> {
    let out = std::path::absolute(launch.check()?)?;
    let folder = out.join("slurm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let _lock = lock(&folder)?;
    let jobs = jobs(&folder)?;
    for job in &jobs {
        if job.is_queued()? {
            let number = job.number();
            bail!(
                "job {number} of {} is not done yet; wait for it, or cancel it with scancel",
                out.display()
            );
        }
    }
    let parts = shards(&out)?;
    if !parts.is_empty() {
        fmam.output(merge_args(&parts, &out))?;
    }
    let launch = freeze_preset(launch, &folder)?;
    let (n_runs, mut pending) = plan(&launch, fmam, &out)?;
    if pending.is_empty() {
        println!("all {n_runs} runs are finished in {}", out.display());
        return Ok(ExitCode::SUCCESS);
    }
    if !jobs.is_empty() {
        print!("{}", missing(&pending, &folder, jobs.first()));
    }
    let n_pending = pending.len();
    pending.truncate(max_tasks());

    // Of an earlier grid, perhaps: the parts that are submitted now write theirs.
    for list in parts.iter().map(|part| part.join("grid.json")).filter(|list| list.is_file()) {
        fs::remove_file(&list).with_context(|| format!("cannot remove {}", list.display()))?;
    }
    let binary = folder.join("fmam");
    copy(fmam.path(), &binary)?;
    let list: String = pending.iter().map(|run| format!("{} {}\n", run.number, run.folder)).collect();
    write(&folder.join(RUNS), &list)?;
    let at_once = launch.at_once.map_or(String::new(), |count| format!("%{count}"));
    let mut options = vec![format!("--array=1-{}{at_once}", pending.len()), log(&folder, "%A_%a.log")];
    options.extend(launch.sbatch.iter().cloned());
    let script = folder.join("run.sh");
    write(&script, &run_script(&launch, &out, n_runs))?;
    let array = sbatch(&options, &script)?;
    // At once: what runs must not be submitted again, whatever happens here.
    write(&folder.join(JOBS), &format!("{}\n", array.text()))?;

    let mut options = vec![format!("--dependency=afterany:{}", array.number()), log(&folder, "merge_%j.log")];
    options.extend(launch.report_options());
    let script = folder.join("merge.sh");
    write(&script, &merge_script(&out))?;
    let merge = sbatch(&options, &script).with_context(|| {
        let number = array.number();
        format!("job {number} does the runs, but there will be no report; when it is done, the same command writes it")
    })?;
    write(&folder.join(JOBS), &format!("{}\n{}\n", array.text(), merge.text()))?;
    println!(
        "{} of {n_runs} runs submitted as job {}; job {} writes {} when they are done.\n\
         Logs are in {}. The same command submits again what is missing then.",
        pending.len(),
        array.number(),
        merge.number(),
        out.join("report.html").display(),
        folder.display()
    );
    if pending.len() < n_pending {
        println!(
            "An array of this cluster has at most {} tasks: {} runs are left.",
            pending.len(),
            n_pending - pending.len()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps a second launch out while this one looks and submits. The lock goes with the process.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    match fmam_files::open_locked(&path) {
        Err(LockError::Held) => bail!("another launch is at work in {}", folder.display()),
        file => file.with_context(|| format!("cannot write {}", path.display())),
    }
}

/// The jobs that were submitted last from here.
fn jobs(folder: &Path) -> Result<Vec<Job>> {
    let path = folder.join(JOBS);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(Job::parse).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
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

/// With a copy of the preset, as with one of the binary: tasks start when the original may have
/// been changed.
fn freeze_preset(launch: &Launch, folder: &Path) -> Result<Launch> {
    let mut rest = launch.rest.clone();
    if let Some((position, preset)) = launch.preset() {
        let copy = folder.join("preset.toml");
        let text =
            fs::read_to_string(&preset).with_context(|| format!("cannot read {}", preset.display()))?;
        write(&copy, &text)?;
        let is_inline = rest[position].to_string_lossy().starts_with("--preset=");
        let mut word = OsString::from(if is_inline { "--preset=" } else { "" });
        word.push(&copy);
        rest[position] = word;
    }
    Ok(Launch { rest, ..launch.clone() })
}

/// The number of runs, and the pending ones.
fn plan(launch: &Launch, fmam: &Fmam, out: &Path) -> Result<(usize, Vec<Pending>)> {
    let mut args = vec![OsString::from("reproduce")];
    args.extend(launch.rest.iter().cloned());
    args.extend(["--plan".into(), "--out".into(), out.into()]);
    read_plan(&fmam.output(args)?)
}

fn read_plan(text: &str) -> Result<(usize, Vec<Pending>)> {
    let mut pending = Vec::new();
    for line in text.lines() {
        let mut words = line.splitn(3, ' ');
        let number = words.next().and_then(|word| word.parse().ok());
        let (Some(number), Some(state), Some(run)) = (number, words.next(), words.next()) else {
            bail!("fmam printed no plan");
        };
        if state == "pending" {
            pending.push(Pending { number, folder: run.to_owned() });
        }
    }
    Ok((text.lines().count(), pending))
}

/// A line for each run that is to do, with the log of the last try, where there was one: it says
/// why it is not done.
fn missing(pending: &[Pending], folder: &Path, array: Option<&Job>) -> String {
    let tried = fs::read_to_string(folder.join(RUNS)).unwrap_or_default();
    let log_of = |run: &Pending| {
        let task = 1 + tried
            .lines()
            .position(|line| line.split_once(' ').is_some_and(|(_, it)| it == run.folder))?;
        let log = folder.join(format!("{}_{task}.log", array?.number()));
        log.is_file().then_some(log)
    };
    let line = |run: &Pending| {
        let log = log_of(run).map_or(String::new(), |log| format!("; see {}", log.display()));
        format!("missing: {}{log}\n", run.folder)
    };
    let more = pending.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("missing: {more} more\n") } else { String::new() };
    pending.iter().take(NAMED).map(line).chain([more]).collect()
}

fn run_script(launch: &Launch, out: &Path, n_runs: usize) -> String {
    let quoted_path = |path: &str| quoted(out.join(path).as_os_str());
    let mut words = vec![quoted_path("slurm/fmam"), "reproduce".to_owned()];
    words.extend(launch.rest.iter().map(|arg| quoted(arg)));
    if !launch.has(&["--quiet", "-q"]) {
        words.push("--quiet".to_owned());
    }
    if !launch.has(&["--threads"]) {
        words.push("${SLURM_CPUS_PER_TASK:+--threads $SLURM_CPUS_PER_TASK}".to_owned());
    }
    format!(
        "#!/bin/bash\n#SBATCH --job-name=fmam\n#SBATCH --requeue\n#SBATCH --open-mode=append\nset -euo pipefail\n\
         # Line K of the list is the run of task K. After a requeue a training goes on from the state that was kept.\n\
         read -r run folder < <(sed -n \"${{SLURM_ARRAY_TASK_ID}}p\" {list})\n\
         echo \"run $run: $folder\"\n\
         exec {command} --shard \"$run/{n_runs}\" --out {shards}/\"$run\"\n",
        list = quoted_path(&format!("slurm/{RUNS}")),
        command = words.join(" "),
        shards = quoted_path("shards"),
    )
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

/// sbatch's option for a log in `folder`, which fills in what follows a `%` of `name` only.
fn log(folder: &Path, name: &str) -> String {
    format!("--output={}/{name}", folder.display().to_string().replace('%', "%%"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fmam_files::write_atomic(path, |file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Copies the program `from`, all or nothing. A job that runs the program at `to` keeps the old
/// one.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = fmam_files::write_atomic(to, |file| {
        std::io::copy(&mut File::open(from)?, file)?;
        file.set_permissions(fs::metadata(from)?.permissions())
    });
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// A word of a shell command.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(line: &str) -> Launch {
        Launch::from_args(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_task_does_its_run_in_a_folder_of_its_own() {
        let script = run_script(&launch("--preset it's.toml --launcher slurm"), Path::new("/o p"), 8);
        let lines: Vec<_> = script.lines().rev().take(3).collect();
        assert_eq!(
            lines[0],
            "exec '/o p/slurm/fmam' reproduce '--preset' 'it'\\''s.toml' --quiet \
             ${SLURM_CPUS_PER_TASK:+--threads $SLURM_CPUS_PER_TASK} --shard \"$run/8\" --out '/o p/shards'/\"$run\""
        );
        assert_eq!(lines[2], "read -r run folder < <(sed -n \"${SLURM_ARRAY_TASK_ID}p\" '/o p/slurm/runs')");
        let own = run_script(&launch("--threads=2 -q"), Path::new("o"), 1);
        assert!(!own.contains("SLURM_CPUS") && !own.contains("--quiet"));
    }

    #[test]
    fn a_plan_says_what_is_to_do() {
        let (n, pending) = read_plan("1 finished runs/a\n2 pending runs/b c\n").unwrap();
        assert_eq!((n, pending), (2, vec![Pending { number: 2, folder: "runs/b c".to_owned() }]));
        assert!(read_plan("Usage: fmam").is_err());
    }

    #[test]
    fn missing_runs_are_named_with_the_log_of_their_last_try() {
        let dir = tempfile::tempdir().unwrap();
        let pending: Vec<_> =
            (1..=NAMED + 2).map(|number| Pending { number, folder: format!("runs/{number}") }).collect();
        fs::write(dir.path().join(RUNS), "7 runs/7\n2 runs/2\n").unwrap();
        fs::write(dir.path().join("31_2.log"), "").unwrap();
        let text = missing(&pending, dir.path(), Job::parse("31;east").as_ref());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), NAMED + 1);
        assert_eq!(lines[0], "missing: runs/1");
        assert_eq!(lines[1], format!("missing: runs/2; see {}", dir.path().join("31_2.log").display()));
        assert_eq!((lines[6], lines[NAMED]), ("missing: runs/7", "missing: 2 more"));
    }

    #[test]
    fn tasks_read_a_copy_of_the_preset() {
        let dir = tempfile::tempdir().unwrap();
        let preset = dir.path().join("mine.toml");
        fs::write(&preset, "seeds = [0]").unwrap();
        let copy = dir.path().join("preset.toml");
        for (line, expected) in [
            (
                format!("--preset {}", preset.display()),
                vec!["--preset".to_owned(), copy.display().to_string()],
            ),
            (format!("--preset={}", preset.display()), vec![format!("--preset={}", copy.display())]),
            ("--preset demo".to_owned(), vec!["--preset".to_owned(), "demo".to_owned()]),
        ] {
            let expected: Vec<OsString> = expected.into_iter().map(OsString::from).collect();
            assert_eq!(freeze_preset(&launch(&line), dir.path()).unwrap().rest, expected);
        }
        assert_eq!(fs::read_to_string(copy).unwrap(), "seeds = [0]");
    }

    #[test]
    fn a_percent_sign_in_a_path_is_no_pattern_of_slurm() {
        assert_eq!(log(Path::new("/o/50%j"), "%A_%a.log"), "--output=/o/50%%j/%A_%a.log");
    }

    #[test]
    fn one_launch_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).is_err());
        drop(first);
        lock(dir.path()).unwrap();
    }
}
