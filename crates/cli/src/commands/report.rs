use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fmam_report::{Report, load_records};

use crate::figures::{self, FigureArgs};
use crate::stdout::print;

const EXAMPLES: &str = "\
Examples:
  fmam report runs/screw
      report.html, .md, .tex, .csv and .json, and all figures as SVG and PNG, from what the runs kept
  fmam report runs/screw --images test/scratch_head/000,test/good/003 --scale row
      the localisation figure of these test images, methods in one range of colours";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The --out of a `fmam reproduce`
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Folder that holds the data set, where it is not where the runs found it
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    #[command(flatten)]
    figures: FigureArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let report = Report::from_records(load_records(&args.dir)?);
    if report.runs().is_empty() {
        bail!("there is no finished run under {}", args.dir.join("runs").display());
    }
    print(&format!(
        "{}\n{}",
        report.terminal_table(),
        write_all(&report, &args.dir, args.data_root.as_deref(), &args.figures)?
    ))
}

/// Writes the figures and then the report, which shows them; the lines that say so, the page last.
pub(crate) fn write_all(
    report: &Report,
    out: &Path,
    data_root: Option<&Path>,
    figures: &FigureArgs,
) -> Result<String> {
    let (drawn, gaps) = figures::write(report, out, data_root, figures)?;
    let paths = report.write(out)?;
    let gaps: String = gaps.into_iter().map(|gap| format!("{gap}\n")).collect();
    let n = drawn.len();
    let drawn = drawn
        .first()
        .and_then(|path| path.parent())
        .map_or(String::new(), |folder| format!("{} ({n} files)\n", folder.join("").display()));
    let paths: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    Ok(format!("{gaps}{drawn}{paths}"))
}
