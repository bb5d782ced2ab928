use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fmam::report::FigureOptions;
use fmam_record::{Merged, OutputFolder, load_records, merge};
use fmam_report::{Report, report_schema};

use crate::figures::{FigureArgs, write_all};
use crate::stdout::{print, print_json};

const EXAMPLES: &str = "\
Examples:
  fmam report runs/screw
      report.html, .md, .tex, .csv and .json, and all figures as SVG and PNG, from what the runs kept
  fmam report runs/screw --images test/scratch_head/000,test/good/003 --scale row
      the localisation figure of these test images, methods in one range of colours
  fmam report merge part-1 part-2 --out runs/screw
      the outputs of `fmam reproduce --shard 1/2 --out part-1` and `--shard 2/2 --out part-2` as one";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    task: Option<Task>,
    /// The --out of a `fmam reproduce`
    #[arg(value_name = "DIR", required_unless_present = "schema")]
    dir: Option<PathBuf>,
    /// Print the JSON Schema of report.json
    #[arg(long, exclusive = true)]
    schema: bool,
    /// Folder that holds the data set, where it is not where the runs found it
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    #[command(flatten)]
    figures: FigureArgs,
}

#[derive(clap::Subcommand)]
enum Task {
    /// Join the outputs of `fmam reproduce --shard`, or of several machines, and write their report
    ///
    /// Runs that --out has already stay as they are. Says which runs of the grid are missing, and
    /// which part has each; the exit code is then 1.
    Merge {
        /// The --out of each part
        #[arg(value_name = "DIR", required = true)]
        parts: Vec<PathBuf>,
        /// Where all runs and the report go
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.schema {
        return print_json(&report_schema()?);
    }
    match (&args.task, &args.dir) {
        (Some(Task::Merge { parts, out }), _) => run_merge(parts, out),
        (None, Some(dir)) => print_report(dir, args.data_root.as_deref(), &args.figures.options()),
        (None, None) => Ok(()),
    }
}

fn print_report(dir: &Path, data_root: Option<&Path>, figures: &FigureOptions) -> Result<()> {
    let report = Report::from_records(load_records(dir)?);
    if report.runs().is_empty() {
        bail!("there is no finished run under {}", dir.join("runs").display());
    }
    print(&format!("{}\n{}", report.terminal_table(), write_all(&report, dir, data_root, figures)?))
}

fn run_merge(parts: &[PathBuf], out: &Path) -> Result<()> {
    let output = OutputFolder::open(out)?;
    let Merged { n_added, n_known, missing, empty } = merge(parts, &output)?;
    if n_added + n_known > 0 {
        print_report(out, None, &FigureOptions::default())?;
    }
    for (run, shard) in &missing {
        print(&format!("missing: {run} (--shard {shard})\n"))?;
    }
    for part in &empty {
        print(&format!("missing: all of {}\n", part.display()))?;
    }
    if !missing.is_empty() {
        bail!(
            "{} runs are missing; the commands that made the parts, repeated, do only these",
            missing.len()
        );
    }
    if !empty.is_empty() {
        let empty: Vec<_> = empty.iter().map(|part| part.display().to_string()).collect();
        bail!("there is no output of `fmam reproduce` in {}", empty.join(", "));
    }
    Ok(())
}
