use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fmam::output::{claim_model, percent};
use fmam::{Basis, Calibration, Detector, Error, Recalibration, Session, check_count, threshold_for_misses};
use fmam_metrics::{CONFIDENCE, wilson};

use crate::compute::ComputeArgs;
use crate::progress::Console;
use crate::rate::Rate;
use crate::region::RegionArgs;
use crate::stdout::print;
use crate::{calibration, images};

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/calibrate.txt"))]
pub(crate) struct Args {
    /// Folder of more good images, none of which the detector has learnt from
    #[arg(value_name = "FOLDER", required_unless_present_any = ["defects", "at_most_false_alarms"])]
    good: Option<PathBuf>,
    /// Folder of images with defects, to tell how many of them are missed
    #[arg(long, value_name = "DIR")]
    defects: Option<PathBuf>,
    /// Folder of the model
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Threshold with at most this share of good parts above it. Without it the rate of the model
    /// stays, and so does a threshold that was chosen by misses
    #[arg(long, value_name = "RATE", conflicts_with = "at_most_misses")]
    at_most_false_alarms: Option<Rate>,
    /// Threshold with at most this share of defects at or below it
    #[arg(long, value_name = "RATE", requires = "defects")]
    at_most_misses: Option<Rate>,
    /// Forget the scores of the calibrations so far
    #[arg(long, requires = "good")]
    replace: bool,
    #[command(flatten)]
    region: RegionArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let good = args.good.as_ref().map(|good| images::listed([good])).transpose()?;
    let defects = args.defects.as_ref().map(|defects| images::listed([defects])).transpose()?;
    let given = good.iter().flatten().collect::<HashSet<_>>();
    if let Some(both) = defects.iter().flatten().find(|image| given.contains(image)) {
        bail!("{} is among the good images and among those with defects", both.display());
    }
    let (session, console) = args.compute.session(registry)?;
    // A question about defects alone changes nothing, and hinders nobody.
    let changes = args.good.is_some() || args.at_most_false_alarms.is_some() || args.at_most_misses.is_some();
    let _claim = if changes { claim_model(&args.model)? } else { None };
    let mut detector = args.region.on_same(session.load(&args.model)?)?;
    if detector.calibration().is_none() {
        console.warn(
            "the model does not know which images it learnt from: the promise holds only if these are others",
        );
    }
    let before = detector.calibration().filter(|_| !args.replace).map_or(0, |known| known.scores().count());
    if let Some(Rate(rate)) = args.at_most_false_alarms {
        check_count(before + good.as_ref().map_or(0, Vec::len), rate).map_err(Error::from)?;
    }
    let old = detector.calibration().map(|known| known.threshold().score);
    if let Some(good) = good {
        let false_alarms = args.at_most_false_alarms.map(|rate| rate.0);
        let options = Recalibration { false_alarms, replaces: args.replace };
        let calibrated = session.calibrate(detector, good, options);
        console.clear();
        detector = calibrated?;
    }
    let Some(mut known) = detector.calibration().cloned() else {
        bail!("the model {} has no scores of good images yet; give a folder of them", args.model.display());
    };
    if let Some(Rate(rate)) = args.at_most_false_alarms {
        let threshold = known.at_rate(rate).map_err(Error::from)?;
        known = known.with_threshold(threshold);
    }
    let n_defects = defects.as_ref().map_or(0, Vec::len);
    let scores = defects.map(|images| scores(&session, &console, &detector, images)).transpose()?;
    if let (Some(Rate(rate)), Some(scores)) = (args.at_most_misses, &scores) {
        let basis = Basis::Misses { asked: rate, n_defects: scores.len() };
        let score = threshold_for_misses(scores, rate).map_err(Error::from)?;
        let threshold = known.at_score(score, basis).map_err(Error::from)?;
        known = known.with_threshold(threshold);
    }
    if changes {
        detector.with_calibration(known.clone()).save_calibration(&args.model).map_err(Error::from)?;
    }
    print(&calibration::report(&known, &args.model))?;
    if let Some(old) = old.filter(|old| *old != known.threshold().score) {
        print(&format!("the threshold was {old:.4} before\n"))?;
    }
    if let (Some(scores), Some(folder)) = (&scores, &args.defects) {
        print(&on_defects(&known, scores, folder))?;
        if scores.len() < n_defects {
            bail!("{} of {n_defects} images with defects could not be scored", n_defects - scores.len());
        }
    }
    Ok(())
}

/// The scores of images with defects.
fn scores(
    session: &Session,
    console: &Console,
    detector: &Detector,
    images: Vec<PathBuf>,
) -> Result<Vec<f32>> {
    let n_images = images.len();
    let mut scores = Vec::with_capacity(n_images);
    for verdict in session.predict(detector, images) {
        match verdict {
            Ok(verdict) => scores.push(verdict.prediction.image_score),
            // The others count all the same.
            Err(Error::Image { source, .. }) => console.error(&anyhow::Error::new(source)),
            Err(error) => return Err(error.into()),
        }
    }
    console.clear();
    if scores.is_empty() {
        bail!("none of the {n_images} images with defects could be scored");
    }
    Ok(scores)
}

/// Misses and false alarms at the threshold, in words.
fn on_defects(calibration: &Calibration, scores: &[f32], folder: &Path) -> String {
    let threshold = calibration.threshold();
    let rate = |count: usize, of: usize| {
        let [low, high] = wilson(count, of, CONFIDENCE);
        let share = percent(count as f64 / of.max(1) as f64);
        format!("{count} of {of}, {share} (95 % interval {} to {})", percent(low), percent(high))
    };
    let missed = scores.iter().filter(|score| **score <= threshold.score).count();
    let good = calibration.scores().sorted();
    let alarms = good.iter().filter(|score| **score > threshold.score).count();
    let chosen = match threshold.basis {
        Basis::Misses { .. } => "; the threshold was chosen on these images, others may fare worse",
        Basis::FalseAlarms { .. } | Basis::Given => "",
    };
    format!(
        "misses in {}: {}{chosen}\nfalse alarms among the good images that calibrate: {}\n",
        folder.display(),
        rate(missed, scores.len()),
        rate(alarms, good.len())
    )
}
