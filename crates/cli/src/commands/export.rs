use std::path::PathBuf;

use anyhow::Result;
use fmam::InputSize;

use crate::compute::ComputeArgs;
use crate::stdout::print;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/export.txt"))]
pub(crate) struct Args {
    /// Folder that `fmam fit` wrote, or `model` of a run of `fmam reproduce`
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Format of the file
    #[arg(long, value_name = "FORMAT", default_value = "onnx")]
    format: Format,
    /// File to write; one that is there is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Leave the resizing out: the file takes images of the model's size alone, which a program
    /// shrinks faster where they have many megapixels
    #[arg(long)]
    fixed_size: bool,
    #[command(flatten)]
    compute: ComputeArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// ONNX, version 18 of its operators
    Onnx,
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let (session, console) = args.compute.session(registry)?;
    let detector = session.load(&args.model)?;
    let input = if args.fixed_size { InputSize::Fixed } else { InputSize::Any };
    let Format::Onnx = args.format;
    session.export_onnx(&detector, &args.out, input)?;
    if detector.calibration().is_none() {
        console.warn("the model is not calibrated: the file gives a score and a map, and no verdict");
    }
    if detector.card().reading != fmam::Reading::default() {
        console.warn(
            "the model reads values of more than 8 bits in its own way: bring images to 8 bits as the metadata \
             `values` of the file says",
        );
    }
    let size = detector.image_size();
    let takes = match input {
        InputSize::Any => "an image of any size".to_owned(),
        InputSize::Fixed => format!("an image of {size}"),
    };
    print(&format!(
        "{}: takes {takes}, uint8 [height, width, 3], red first; gives score, map of {size}{}\n",
        args.out.display(),
        if detector.calibration().is_some() { ", threshold, defective" } else { "" },
    ))
}
