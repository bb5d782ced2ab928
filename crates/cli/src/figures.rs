//! Options of the localisation figures.

use std::path::Path;

use anyhow::Result;
use fmam::report::{FigureOptions, write_report};
use fmam_report::{ColourScale, Report};

/// The drawing of the localisation figures.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct FigureArgs {
    /// Test images of the localisation figure, separated by commas, as the report names them
    /// (`test/cut/000`); by default the first of each kind of defect
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    images: Option<Vec<String>>,
    /// What maps share a range of colours: all of a method, or all of an image
    #[arg(long, value_name = "method|row", default_value = "method")]
    scale: ColourScale,
}

impl FigureArgs {
    pub(crate) fn options(&self) -> FigureOptions {
        FigureOptions { images: self.images.clone(), scale: self.scale }
    }
}

/// Writes the figures and then the report, which shows them; the lines that say so, the page last.
pub(crate) fn write_all(
    report: &Report,
    out: &Path,
    data_root: Option<&Path>,
    figures: &FigureOptions,
) -> Result<String> {
    let written = write_report(report, out, data_root, figures)?;
    let gaps: String = written.gaps.into_iter().map(|gap| format!("{gap}\n")).collect();
    let n = written.figures.len();
    let folder = written.figures.first().and_then(|path| path.parent());
    let drawn = folder.map_or(String::new(), |folder| format!("{} ({n} files)\n", folder.join("").display()));
    let paths: String = written.report.iter().map(|path| format!("{}\n", path.display())).collect();
    Ok(format!("{gaps}{drawn}{paths}"))
}
