use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fmam::report::{FigureOptions, load_report, write_report};
use fmam_record::{Merged, OutputFolder, merge};
use fmam_report::{ColourScale, report_schema};

use crate::item_list::items;
use crate::stdout::{print, print_json};

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/report.txt"), args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
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
    /// Test images of the localisation figure, separated by commas, as the report names them
    /// (`test/cut/000`); by default the first of each kind of defect. Of names with a comma each
    /// has an --images of its own
    #[arg(long, value_name = "A,B")]
    images: Option<Vec<String>>,
    /// Maps that share a range of colours: all of a method, or all of an image
    #[arg(long, value_name = "method|row", default_value = "method")]
    scale: ColourScale,
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
        /// The folder of all runs and the report
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    if args.schema {
        return print_json(&report_schema(registry.metrics())?);
    }
    match (&args.task, &args.dir) {
        (Some(Task::Merge { parts, out }), _) => run_merge(registry, parts, out),
        (None, Some(dir)) => {
            let options = FigureOptions { images: args.images.as_deref().map(items), scale: args.scale };
            // An absent folder is told, not made.
            load_report(registry, dir)?;
            let _output = OutputFolder::open(dir)?;
            print_report(registry, dir, args.data_root.as_deref(), &options)
        }
        (None, None) => Ok(()),
    }
}

fn print_report(
    registry: &fmam::Registry,
    dir: &Path,
    data_root: Option<&Path>,
    figures: &FigureOptions,
) -> Result<()> {
    let report = load_report(registry, dir)?;
    let written = write_report(registry, &report, dir, data_root, figures)?;
    print(&format!("{}\n{}", report.terminal_table(), written.lines()))
}

fn run_merge(registry: &fmam::Registry, parts: &[PathBuf], out: &Path) -> Result<()> {
    let output = OutputFolder::open(out)?;
    let Merged { n_added, n_known, missing, empty } = merge(parts, &output)?;
    if n_added + n_known > 0 {
        print_report(registry, out, None, &FigureOptions::default())?;
    }
    for (run, shard) in &missing {
        print(&format!("missing: {run} (--shard {shard})\n"))?;
    }
    for part in &empty {
        print(&format!("missing: all of {}\n", part.display()))?;
    }
    if let n @ 1.. = missing.len() {
        bail!("{n} runs are missing; the commands that made the parts, repeated, do only these");
    }
    if !empty.is_empty() {
        let empty: Vec<_> = empty.iter().map(|part| part.display().to_string()).collect();
        bail!("there is no output of `fmam reproduce` in {}", empty.join(", "));
    }
    Ok(())
}
