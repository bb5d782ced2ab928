//! `fmam predict`: options (this file), `scoring` (from images to verdicts), `watcher` (a watched
//! folder, which may not answer), `view` (verdicts on stdout).

mod scoring;
mod view;
mod watcher;

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use fmam::input::{Inputs, Watch};
use fmam::output::{Layout, Pictures, Predictions, Taken, VerdictsBy};
use fmam_report::MapFormat;

use self::scoring::{Scoring, unwritten};
use self::view::View;
use self::watcher::Watcher;
use crate::calibration;
use crate::compute::ComputeArgs;
use crate::exit::DefectFound;
use crate::region::RegionArgs;
use crate::threshold::ThresholdArgs;

/// Time without a change after which an image of a watched folder that cannot be read is broken.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
#[command(after_help = include_str!("../../help/predict.txt"))]
pub(crate) struct Args {
    /// Image files (PNG, JPEG, BMP, TIFF, WebP, PNM, GIF), folders with their sub-folders, quoted
    /// patterns such as 'new/**/*.png', or `-` for a list of paths on stdin
    #[arg(value_name = "IMAGE", required_unless_present = "watch")]
    images: Vec<PathBuf>,
    /// Folder that `fmam fit` wrote, or `model` of a run of `fmam reproduce`
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The paths of the list on stdin end with a zero byte, as `find -print0` writes them
    #[arg(long, short = '0')]
    null: bool,
    /// Score the images that come to this folder or its sub-folders, until Ctrl-C
    #[arg(long, value_name = "FOLDER")]
    watch: Option<PathBuf>,
    #[command(flatten)]
    threshold: ThresholdArgs,
    #[command(flatten)]
    region: RegionArgs,
    /// Exit code 3 if an image is a defect
    #[arg(long)]
    fail_on_defect: bool,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    out: OutArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// The form of the verdicts on stdout: a table on a terminal, JSON lines elsewhere.
#[derive(clap::Args)]
struct FormArgs {
    /// Write JSON lines to stdout, one an image [default where stdout is no terminal]
    #[arg(long, group = "form")]
    json: bool,
    /// Write comma-separated values to stdout
    #[arg(long, group = "form")]
    csv: bool,
    /// Write a table to stdout [default on a terminal]
    #[arg(long, group = "form")]
    table: bool,
}

#[derive(clap::Args)]
struct OutArgs {
    /// Folder for `predictions.jsonl` and pictures, which must be new or empty
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on in a folder with earlier predictions: images that stand there are passed over; --watch
    /// does so too
    #[arg(long = "continue", requires = "out")]
    resume: bool,
    /// Write the anomaly maps to `maps`, in the size of the images: png16, tiff or npy
    #[arg(long, value_name = "FORMAT", requires = "out")]
    maps: Option<MapFormat>,
    /// Write the pixels above the threshold to `masks`, in the size of the images
    #[arg(long, requires = "out")]
    masks: bool,
    /// The picture of an image: `overlay` in its own size, or `sheet`, image and map side by side
    /// [default: overlay]
    #[arg(long, value_name = "LAYOUT", requires = "out")]
    layout: Option<PictureLayout>,
    /// Write no pictures to `overlays`
    #[arg(long, requires = "out", conflicts_with = "layout")]
    no_pictures: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PictureLayout {
    Overlay,
    Sheet,
}

impl OutArgs {
    fn pictures(&self) -> Pictures {
        let layout = match self.layout {
            None | Some(PictureLayout::Overlay) => Layout::Overlay,
            Some(PictureLayout::Sheet) => Layout::Sheet,
        };
        Pictures { overlays: (!self.no_pictures).then_some(layout), maps: self.maps, masks: self.masks }
    }

    /// The output folder, where one was asked for, and the images that are scored already.
    fn open(&self, resume: bool) -> Result<(Option<Predictions>, Taken)> {
        let Some(out) = &self.out else { return Ok((None, Taken::default())) };
        let begin = if resume || self.resume { Predictions::resume } else { Predictions::begin };
        let (predictions, taken) = begin(out, self.pictures())?;
        Ok((Some(predictions), taken))
    }
}

impl Args {
    /// The images, each place of which was looked at.
    fn inputs(&self) -> Result<Inputs> {
        let mut inputs = Inputs::new(self.out.out.clone());
        for image in &self.images {
            if image == Path::new("-") {
                let separator = if self.null { 0 } else { b'\n' };
                inputs.add_list(BufReader::new(std::io::stdin()), separator);
            } else {
                inputs.add(image)?;
            }
        }
        Ok(inputs)
    }
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let inputs = args.inputs()?;
    let watch = match &args.watch {
        Some(folder) => Some(Watcher::new(folder, Watch::new(folder, args.out.out.clone(), PATIENCE)?)),
        None => None,
    };
    let (session, console) = args.compute.session(registry)?;
    let detector = args.region.on(session.load(&args.model)?)?;
    let threshold = args.threshold.of(&detector)?;
    if threshold.is_none() && args.out.masks {
        return Err(fmam::Error::Uncalibrated.into());
    }
    let (out, taken) = args.out.open(watch.is_some())?;
    if let Some(out) = &out {
        out.state(&VerdictsBy::of(&args.model, threshold, args.out.pictures())?)?;
    }
    console.say(&calibration::in_use(threshold, &detector, &args.model));
    let view = View::new(args.form.json, args.form.csv, args.form.table);
    let is_watching = watch.is_some();
    let scoring = Scoring::new(&session, &detector, threshold, &console, out, taken, view);
    match scoring.images(inputs) {
        // The watch that would follow ends as if it had begun.
        Err(error) if is_watching && is_cancelled(&error) => {}
        scored => scored?,
    }
    if let Some(watcher) = watch {
        scoring.watch(&watcher)?;
    }
    let finished = scoring.finish();
    console.clear();
    let tally = finished?;
    console.say(&tally.to_string());
    let n = tally.images + tally.errors;
    if n + tally.passed_over == 0 && !is_watching {
        bail!("there was no image to score");
    }
    // A watch that ends when it is told to has not failed.
    if tally.errors > 0 && !is_watching {
        bail!("{} of {n} images could not be scored", tally.errors);
    }
    if tally.omitted > 0 && !is_watching {
        bail!("{}; every verdict is kept", unwritten(tally.omitted));
    }
    if tally.defects > 0 && args.fail_on_defect {
        return Err(DefectFound.into());
    }
    Ok(())
}

fn is_cancelled(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(fmam::Error::Cancelled))
}
