//! The report of an output folder with its figures, and the pictures of a run.

use std::path::{Path, PathBuf};

use fmam_experiment::Registry;
use fmam_record::load_records;
use fmam_report::{FIGURES_DIR, Report};

mod figures;
mod overlays;

pub use figures::{FigureOptions, write_figures};
pub use overlays::Overlays;

use crate::Error;

/// The files of a report.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// The figures.
    pub figures: Vec<PathBuf>,
    /// A line for each figure that could not be drawn.
    pub gaps: Vec<String>,
    /// The report itself, the page last.
    pub report: Vec<PathBuf>,
}

impl Written {
    /// A line for each gap, one for the folder of the figures, and one for each file of the report.
    pub fn lines(&self) -> String {
        let n = self.figures.len();
        let folder = self.figures.first().and_then(|path| path.parent());
        let drawn = folder.map(|folder| format!("{} ({n} files)", folder.join("").display()));
        let report = self.report.iter().map(|path| path.display().to_string());
        self.gaps.iter().cloned().chain(drawn).chain(report).map(|line| format!("{line}\n")).collect()
    }
}

/// Reads the report of the folder `out`, with the metrics of `registry` as its columns.
///
/// # Errors
/// [`Error::NoRuns`] where no run is finished, [`Error::Record`].
pub fn load_report(registry: &Registry, out: &Path) -> Result<Report, Error> {
    let report = Report::by(registry.metrics(), load_records(out)?);
    if report.runs().is_empty() {
        return Err(Error::NoRuns { folder: out.join("runs") });
    }
    Ok(report)
}

/// Writes the figures of `report` and then the report, which shows them, into `out`; see
/// [`write_figures`]. The caller has locked the folder, see [`fmam_record::OutputFolder`].
///
/// # Errors
/// [`Error::UnknownTestImage`], [`Error::Report`].
pub fn write_report(
    registry: &Registry,
    report: &Report,
    out: &Path,
    data_root: Option<&Path>,
    options: &FigureOptions,
) -> Result<Written, Error> {
    let folder = out.join(FIGURES_DIR);
    let write_error = |source| Error::Write { path: folder.clone(), source };
    fmam_files::remove_leftovers(&folder).map_err(write_error)?;
    let (figures, gaps) = write_figures(registry, report, out, data_root, options)?;
    fmam_files::sync_files(&figures).map_err(write_error)?;
    Ok(Written { figures, gaps, report: report.write(out)? })
}
