use std::path::PathBuf;

use anyhow::{Result, bail};
use fmam::Error;
use fmam::output::Predictions;

use crate::compute::ComputeArgs;
use crate::stdout::print;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/predict.txt"))]
pub(crate) struct Args {
    /// Images (PNG, JPEG, BMP, TIFF) of any size; they are resized for the detector
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Folder that `fmam fit` wrote, or `model` of a run of `fmam reproduce`
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder for predictions and pictures, which must be new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let (session, console) = args.compute.session(registry)?;
    let detector = session.load(&args.model)?;
    let mut folder = Predictions::begin(&args.out)?;
    let (n, mut n_failed) = (args.images.len(), 0);
    for verdict in session.predict(&detector, &args.images) {
        match verdict {
            Ok(verdict) => {
                let picture = folder.reserve(&verdict.name);
                folder.add(verdict, picture)?;
            }
            // The others are scored all the same.
            Err(Error::Image { name, source, .. }) => {
                folder.reserve(&name);
                n_failed += 1;
                console.error(&anyhow::Error::new(source));
            }
            Err(error) => return Err(error.into()),
        }
    }
    console.clear();
    if n_failed == n {
        bail!("none of the {n} images could be read");
    }
    let mut table = format!("{:>10}  image\n", "score");
    for scored in folder.finish()? {
        table.push_str(&format!("{:>10.4}  {}\n", scored.image_score, scored.name));
    }
    print(&table)?;
    if n_failed > 0 {
        bail!("{n_failed} of {n} images could not be read");
    }
    Ok(())
}
