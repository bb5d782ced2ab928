//! The command line of fmam: arguments, progress bars, exit codes, and the words for a person at a
//! keyboard. The work is done by the library `fmam`; each subcommand is one file under `commands`.

mod advice;
mod calibration;
mod commands;
mod compute;
mod data;
mod exit;
mod images;
mod input;
mod interrupt;
mod item_list;
mod keep;
mod logging;
mod model_place;
mod progress;
mod rate;
mod region;
mod stdout;
mod threshold;
mod transfer;
mod version;
mod watchdog;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use fmam::Registry;

use crate::commands::{
    analyze, bench, calibrate, check, completions, config, datasets, eval, export, fit, list, man, metrics,
    predict, report, reproduce, roi, serve, synth, weights,
};
use crate::logging::Log;

/// Finds defects in images of industrial products after looking at good examples only
///
/// Reproduces NKD, RKD and FMAM, the feature mapping with an angular margin that adapts generic
/// features to a product.
#[derive(Parser)]
#[command(name = "fmam", version, after_help = include_str!("help/fmam.txt"), arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train and evaluate methods on data sets, and write a report
    Reproduce(Box<reproduce::Args>),
    /// Print what `fmam reproduce` would use with these options, each value with where it comes
    /// from
    Config(Box<config::Args>),
    /// Check a folder or a data set before anything is fitted: sizes, depths, masks, duplicates
    Check(check::Args),
    /// Propose a region of interest from what is the same in all good images
    Roi(roi::Args),
    /// Fit a detector to a folder of good images, calibrate it, and save it
    Fit(Box<fit::Args>),
    /// Set the threshold of a saved detector by more good images, or by images with defects
    Calibrate(calibrate::Args),
    /// Evaluate a saved detector on a test split
    Eval(eval::Args),
    /// Score images with a saved detector and draw where the defects are
    Predict(predict::Args),
    /// Write a saved detector as an ONNX file, for other programs
    Export(export::Args),
    /// Answer requests over HTTP with saved detectors, with a page for the people at the line
    Serve(Box<serve::Args>),
    /// Measure what feature mapping does to features, and how far apart the scores of the classes
    /// lie
    Analyze(analyze::Args),
    /// Draw synthetic defects, as training uses them, on a contact sheet
    Synth(synth::Args),
    /// Compute AUROC, average precision, F1 or AUPRO of .npy files
    Metrics(metrics::Args),
    /// List methods, backbones and data sets
    List(list::Args),
    /// Write the report of an output folder, and its figures, again from its run records
    Report(report::Args),
    /// List, fetch or import the weights of backbones
    Weights(weights::Args),
    /// Get data sets, and count their images
    Datasets(datasets::Args),
    /// Time the networks on this machine; one JSON line
    Bench(bench::Args),
    /// Print the script that completes commands and options in a shell
    Completions(completions::Args),
    /// Write manual pages
    Man(man::Args),
}

/// Runs the command line of this process with what `registry` has. A laboratory's own binary calls
/// this with methods, backbones, data sets or metrics of its own.
pub fn run(registry: &Registry) -> ExitCode {
    run_args(registry, std::env::args_os())
}

/// Runs the command line `args`, whose first item is the name of the program. Everything that a
/// user reads has been written when it returns.
pub fn run_args(registry: &Registry, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(called) = args.first() {
        advice::keep_program(called);
    }
    fmam_ops::tune_process();
    let kernels = match std::env::var_os("FMAM_OPS") {
        None => fmam_ops::Kernels::Native,
        Some(value) if value == "candle" => fmam_ops::Kernels::Composed,
        Some(value) => {
            let message = anyhow::anyhow!("FMAM_OPS is {value:?}: it must be `candle`, or not be set");
            return exit::report(&exit::usage(message));
        }
    };
    fmam_ops::set_default_kernels(kernels);
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(error) => return exit::report_parse(&error),
    };
    logging::begin(match &cli.command {
        Command::Serve(args) => args.log(),
        _ => Log::Warnings,
    });
    let result = match cli.command {
        Command::Reproduce(args) => reproduce::run(&args, registry),
        Command::Config(args) => config::run(&args, registry),
        Command::Check(args) => check::run(&args, registry),
        Command::Roi(args) => roi::run(&args, registry),
        Command::Fit(args) => fit::run(&args, registry),
        Command::Calibrate(args) => calibrate::run(&args, registry),
        Command::Eval(args) => eval::run(&args, registry),
        Command::Predict(args) => predict::run(&args, registry),
        Command::Export(args) => export::run(&args, registry),
        Command::Serve(args) => serve::run(&args, registry),
        Command::Analyze(args) => analyze::run(&args, registry),
        Command::Synth(args) => synth::run(&args),
        Command::Metrics(args) => metrics::run(&args),
        Command::List(args) => list::run(&args, registry),
        Command::Report(args) => report::run(&args, registry),
        Command::Weights(args) => weights::run(&args, registry),
        Command::Datasets(args) => datasets::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
    };
    result.map_or_else(|error| exit::report(&error), |()| ExitCode::SUCCESS)
}

/// As `Cli::try_parse_from`, with the facts about this build in `--version`. The pages of `fmam
/// man` are to be the same on every machine, and so do not have them.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command().long_version(version::long());
    let matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}
