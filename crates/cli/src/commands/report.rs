use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fmam_report::{Report, load_records};

use crate::stdout::print;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The --out of a `fmam reproduce`
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let report = Report::from_records(load_records(&args.dir)?);
    if report.runs().is_empty() {
        bail!("there is no finished run under {}", args.dir.join("runs").display());
    }
    let paths = report.write(&args.dir)?;
    print(&format!("{}\n{}", report.terminal_table(), path_lines(&paths)))
}

/// A line for each file that was written.
pub(crate) fn path_lines<P: AsRef<Path>>(paths: &[P]) -> String {
    paths.iter().map(|path| format!("{}\n", path.as_ref().display())).collect()
}
