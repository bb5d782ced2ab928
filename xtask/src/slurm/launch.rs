//! The command line: the launcher's own options and, unchanged, those of `fmam reproduce`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Options of `fmam reproduce` that say what the launcher decides, or what it would do wrong.
const REFUSED: [(&str, &str); 3] = [
    ("--shard", "the launcher divides the runs itself"),
    ("--plan", "leave --launcher out to see the plan"),
    ("--overwrite", "every launch would do finished runs again: name another --out, or remove that folder"),
];

/// Options of sbatch that the launcher sets, in both spellings.
const SET_HERE: [&str; 14] = [
    "--array",
    "-a",
    "--dependency",
    "-d",
    "--output",
    "-o",
    "--error",
    "-e",
    "--chdir",
    "-D",
    "--parsable",
    "--wrap",
    "--no-requeue",
    "--open-mode",
];

/// Beginnings of the options of sbatch that the job which writes the report has no use for.
const FOR_RUNS: [&str; 5] = ["--gres", "--gpus", "-G", "--cpus-per-gpu", "--mem-per-gpu"];

/// The launcher's own options, beside the arguments of `fmam reproduce`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Launch {
    /// The value of `--launcher`, where it was given.
    pub(crate) launcher: Option<String>,
    /// The values of `--sbatch`: options of `sbatch`, for every job.
    pub(super) sbatch: Vec<String>,
    /// The values of `--sbatch-report`: options of `sbatch` for the job that writes the report.
    pub(super) sbatch_report: Vec<String>,
    /// The value of `--at-once`: how many tasks may run at a time.
    pub(super) at_once: Option<usize>,
    /// The value of `--out`.
    pub(super) out: Option<PathBuf>,
    /// Everything else.
    pub(crate) rest: Vec<OsString>,
}

impl Launch {
    /// Takes the launcher's options out of `args`.
    pub(crate) fn from_args(args: &[OsString]) -> Result<Self> {
        let mut launch = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (name, inline) = split(arg);
            if !["--launcher", "--sbatch", "--sbatch-report", "--at-once", "--out"].contains(&name) {
                launch.rest.push(arg.clone());
                continue;
            }
            let value = inline.map(OsString::from).or_else(|| args.next().cloned());
            let value = value.with_context(|| format!("{name} needs a value"))?;
            let text = || value.to_str().map(str::to_owned).with_context(|| not_text(&value));
            match name {
                "--out" => launch.out = Some(value.into()),
                "--sbatch" => launch.sbatch.push(text()?),
                "--sbatch-report" => launch.sbatch_report.push(text()?),
                "--at-once" => {
                    let count = text()?.parse().ok().filter(|count| *count > 0);
                    launch.at_once = Some(count.context("--at-once needs a number from 1 on")?);
                }
                _ => launch.launcher = Some(text()?),
            }
        }
        Ok(launch)
    }

    /// True if `fmam reproduce` is asked for its help.
    pub(crate) fn wants_help(&self) -> bool {
        self.has(&["--help", "-h"])
    }

    /// Checks that these can be submitted; the output folder.
    pub(crate) fn check(&self) -> Result<&Path> {
        match self.launcher.as_deref() {
            Some("slurm") => {}
            other => bail!("--launcher {}: the only launcher is slurm", other.unwrap_or_default()),
        }
        if let Some((name, why)) = REFUSED.iter().find(|(name, _)| self.has(&[name])) {
            bail!("{name} does not go with --launcher: {why}");
        }
        if !self.has(&["--device"]) {
            bail!("--launcher needs --device, cpu or cuda: what this machine has says nothing of the nodes");
        }
        let options = self.sbatch.iter().chain(&self.sbatch_report);
        if let Some(option) = options.into_iter().find(|option| SET_HERE.iter().any(|name| is(name, option)))
        {
            bail!(
                "--sbatch {option}: the launcher sets this itself; --at-once N limits how many tasks run at a time"
            );
        }
        let Some(out) = &self.out else {
            bail!("--launcher slurm needs --out, a folder that every node sees")
        };
        // They go into a script.
        let words = self.rest.iter().map(OsString::as_os_str).chain([out.as_os_str()]);
        if let Some(word) = words.into_iter().find(|word| word.to_str().is_none()) {
            bail!(not_text(word));
        }
        Ok(out)
    }

    /// True if an argument of `fmam reproduce` is one of the options `names`.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        self.rest.iter().any(|arg| names.contains(&split(arg).0))
    }

    /// The file that `--preset` names, where it names one, and the place of its word in `rest`.
    pub(super) fn preset(&self) -> Option<(usize, PathBuf)> {
        let (position, name) = self.rest.iter().enumerate().find_map(|(k, arg)| match split(arg) {
            ("--preset", Some(value)) => Some((k, PathBuf::from(value))),
            ("--preset", None) => Some((k + 1, PathBuf::from(self.rest.get(k + 1)?))),
            _ => None,
        })?;
        // A plain word is the name of one that is in the program.
        let is_path = name.extension().is_some() || name.components().count() > 1;
        (is_path && name.is_file()).then_some((position, name))
    }

    /// The options of sbatch for the job that writes the report.
    pub(super) fn report_options(&self) -> Vec<String> {
        let shared =
            self.sbatch.iter().filter(|option| !FOR_RUNS.iter().any(|name| option.starts_with(name)));
        shared.chain(&self.sbatch_report).cloned().collect()
    }
}

/// An option's name and the value behind its `=`.
fn split(arg: &OsString) -> (&str, Option<&str>) {
    let text = arg.to_str().unwrap_or_default();
    text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)))
}

/// True if the word `option` is sbatch's option `name`: the long form with or without a value, or
/// the short form before its value.
fn is(name: &str, option: &str) -> bool {
    match option.strip_prefix(name) {
        Some(rest) if name.starts_with("--") => rest.is_empty() || rest.starts_with(['=', ' ']),
        Some(_) => true,
        None => false,
    }
}

fn not_text(word: &std::ffi::OsStr) -> String {
    format!("{} is not UTF-8, which a job script must be", word.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(line: &str) -> Result<Launch> {
        Launch::from_args(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn refused(line: &str) -> String {
        launch(&format!("--launcher slurm --out o {line}")).unwrap().check().unwrap_err().to_string()
    }

    #[test]
    fn the_options_of_the_launcher_are_taken_out() {
        let found = launch(
            "--preset demo --launcher slurm --out=o --sbatch --partition=gpu --sbatch=-G1 --sbatch-report --mem=4G \
             --at-once 3 --device cpu --seeds 0",
        )
        .unwrap();
        assert_eq!(found.launcher.as_deref(), Some("slurm"));
        assert_eq!(found.sbatch, ["--partition=gpu", "-G1"]);
        assert_eq!(found.report_options(), ["--partition=gpu", "--mem=4G"]);
        assert_eq!((found.at_once, found.check().unwrap()), (Some(3), Path::new("o")));
        assert_eq!(found.rest, ["--preset", "demo", "--device", "cpu", "--seeds", "0"]);
        assert!(launch("--out").is_err() && launch("--at-once 0").is_err());
    }

    #[test]
    fn what_the_launcher_decides_is_refused() {
        assert!(refused("").contains("--device"));
        for name in ["--shard 1/2", "--plan", "--overwrite"] {
            let text = refused(&format!("--device cpu {name}"));
            assert!(text.contains(name.split(' ').next().unwrap()), "{text}");
        }
        for option in ["--array=1-4%2", "-a1", "--dependency=afterok:7", "-o=x", "--chdir=/"] {
            assert!(refused(&format!("--device cpu --sbatch {option}")).contains("--at-once"), "{option}");
        }
        assert!(launch("--launcher slurm --device cpu").unwrap().check().is_err());
        assert!(launch("--launcher pbs --device cpu --out o").unwrap().check().is_err());
        let fits =
            "--launcher slurm --device cpu --out o --sbatch --account=a --sbatch --exclusive --sbatch -pgpu";
        launch(fits).unwrap().check().unwrap();
    }

    #[test]
    fn a_preset_in_a_file_is_found_in_both_spellings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        std::fs::write(&path, "").unwrap();
        let path_text = path.to_str().unwrap();
        assert_eq!(launch(&format!("--preset {path_text}")).unwrap().preset(), Some((1, path.clone())));
        assert_eq!(launch(&format!("-q --preset={path_text}")).unwrap().preset(), Some((1, path.clone())));
        assert_eq!(launch("--preset demo").unwrap().preset(), None);
        assert_eq!(launch("--preset absent.toml").unwrap().preset(), None);
    }
}
