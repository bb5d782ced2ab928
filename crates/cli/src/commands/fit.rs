use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use fmam::reproduce::rough;
use fmam::{
    CalibrationMode, Detector, Error, Fit, ImageSize, KeepTraining, MethodTrial, Precision, Session, Setting,
};

use crate::compute::{ComputeArgs, numbers};
use crate::input::InputArgs;
use crate::keep::KeepArgs;
use crate::rate::Rate;
use crate::stdout::print;
use crate::{calibration, images, model_place};

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/fit.txt"))]
pub(crate) struct Args {
    /// Good images, and folders of them with all that lies within
    #[arg(value_name = "FOLDER", required_unless_present = "dataset", conflicts_with = "dataset")]
    images: Vec<PathBuf>,
    /// Data set whose training images are learnt from; `fmam list datasets` names them
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Folder that holds the data set, and DTD where there is one
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Category of the data set; may be left out where there is only one
    #[arg(long, value_name = "NAME", requires = "dataset")]
    category: Option<String>,
    /// Method; `fmam list methods` names them. `auto` tries those that --budget allows on good
    /// images that it holds out, and on synthetic defects in them, and takes the best
    #[arg(long, value_name = "NAME", default_value = "rkd+fmam")]
    method: String,
    /// Time for all trials of `--method auto` and the fit of its choice: 10min, 1h30m
    #[arg(long, value_name = "TIME", default_value = "10min")]
    budget: humantime::Duration,
    /// Backbone; `fmam list backbones` names them
    #[arg(long, value_name = "NAME", default_value = "efficientnet-lite0")]
    backbone: String,
    /// Weights of the backbone (.pth or .safetensors) where they are not in the binary
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Origin of all randomness: the same seed gives the same detector
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Training epochs; with FMAM those of the student
    #[arg(long, value_name = "N", value_parser = numbers(1..))]
    epochs: Option<usize>,
    #[command(flatten)]
    input: InputArgs,
    /// Number format of backbone and student, f32 or bf16; the latter is for GPUs. The detector
    /// keeps to it
    #[arg(long, value_name = "TYPE", default_value = Precision::default().name())]
    precision: Precision,
    /// A setting of the method, as often as needed; the value is TOML
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<Setting>,
    /// Good images that set the threshold: hold-out=SHARE% are not learnt from; cross-fit=PARTS
    /// fits as many detectors more and holds each part out once; auto is cross-fit for methods that
    /// do not train, else hold-out=20%; off sets none
    #[arg(long, value_name = "MODE", default_value_t = CalibrationMode::Auto)]
    calibration: CalibrationMode,
    /// Share of good parts that may score above the threshold, as 1% or 0.01
    #[arg(long, value_name = "RATE", default_value = "1%")]
    false_alarms: Rate,
    /// Folder of the model, which must not exist yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// The name that stands for the best method.
const AUTO: &str = "auto";

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    // Before anything that takes long.
    if args.out.exists() {
        // A process that was killed right after it had saved the model left this. While another
        // one is at work, it stays.
        let _ = KeepTraining::beside(&args.out).remove();
    }
    let place = model_place::claimed(&args.out)?;
    let images = images::listed(&args.images)?;
    let (session, console) = args.compute.session(registry)?;
    session.warn_of_emulation([args.precision]);

    let start = Instant::now();
    let options = options(args)?;
    let chosen = match args.method.as_str() {
        AUTO => {
            let trials = rank(args, &session, &images, &options);
            console.clear();
            let trials = trials?;
            print(&ranking(&trials))?;
            trials.first().map_or(AUTO, |best| best.method)
        }
        named => named,
    };
    let keep = args.keep.of(KeepTraining::beside(&args.out));
    let options = keep.iter().cloned().fold(options.method(chosen), Fit::keep_training);
    let fitted = fit(args, &session, images, &options);
    console.clear();
    if fitted.is_err() && keep.as_ref().is_some_and(KeepTraining::is_there) {
        console.say("the state of the training is kept; the same command goes on from there");
    }
    let (detector, n_images) = fitted?;
    model_place::save(&detector, &place)?;
    // The detector is safe: a state that stays is in nobody's way.
    if let Some(Err(error)) = keep.map(|keep| keep.remove()) {
        console.warn(&format!(
            "the kept state of the training could not be removed: {}",
            fmam::one_line(&error)
        ));
    }
    // Of copies only one is counted.
    let counts =
        |known: &fmam::KnownImages| (known.learnt.len(), known.learnt.len() + known.calibrated.len());
    let (n_learnt, n_images) =
        detector.calibration().map_or((n_images, n_images), |calibration| counts(calibration.known()));
    let seconds = rough(start.elapsed().as_secs_f64());
    print(&format!(
        "fitted {chosen} to {n_learnt} of {n_images} images in {seconds}: {}\n",
        args.out.display()
    ))?;
    match detector.calibration() {
        Some(known) => print(&calibration::report(known, &args.out)),
        None => print("without a threshold: `fmam calibrate` sets one by good images\n"),
    }
}

/// The options of the fit.
fn options(args: &Args) -> Result<Fit> {
    let (size, input) = (size(args), args.input.config());
    let textures = fmam::textures(args.data_root.as_deref(), size)?;
    let mut settings = toml::Table::new();
    args.settings.iter().for_each(|setting| setting.apply(&mut settings));
    let fit = Fit::new()
        .method(&args.method)
        .backbone(&args.backbone)
        .seed(args.seed)
        .image_sides(size.height, size.width)
        .input(input)
        .precision(args.precision)
        .settings(settings)
        .textures(textures)
        .calibration(args.calibration)
        .false_alarms(args.false_alarms.0);
    let fit = args.epochs.into_iter().fold(fit, Fit::epochs);
    Ok(args.weights.iter().fold(fit, Fit::weights))
}

/// The size of the images that the networks see.
fn size(args: &Args) -> ImageSize {
    args.input.size().unwrap_or(ImageSize::square(256))
}

/// The detector and the number of good images that there were.
fn fit(args: &Args, session: &Session, images: Vec<PathBuf>, fit: &Fit) -> Result<(Detector, usize)> {
    match &args.dataset {
        None => {
            let n = images.len();
            Ok((session.fit(images, fit)?, n))
        }
        Some(dataset) => {
            let train = training_images(args, session, dataset)?;
            Ok((session.fit_source(train.as_ref(), fit)?, train.len()))
        }
    }
}

/// The trials of all methods, the best first.
fn rank(args: &Args, session: &Session, images: &[PathBuf], fit: &Fit) -> Result<Vec<MethodTrial>> {
    let budget = *args.budget;
    Ok(match &args.dataset {
        None => session.rank(images.iter().map(PathBuf::as_path), fit, budget)?,
        Some(dataset) => {
            let train = training_images(args, session, dataset)?;
            session.rank_source(train.as_ref(), fit, budget)?
        }
    })
}

/// The trials as a table.
fn ranking(trials: &[MethodTrial]) -> String {
    let mut lines = vec![
        "tried on good images that were held out, against synthetic defects in them; image AUROC in %\n(within a \
         standard error of the best, rkd+fmam and nkd+fmam come first):"
            .to_owned(),
    ];
    let width = trials.iter().map(|trial| trial.method.len()).max().unwrap_or_default();
    for trial in trials {
        let outcome = match trial.separation() {
            None => "not within the budget".to_owned(),
            Some(mean) => {
                let kinds = trial.kinds.iter().map(|(kind, auroc)| format!("{kind} {:.1}", 100.0 * auroc));
                format!("{:5.1}  ({})", 100.0 * mean, kinds.collect::<Vec<_>>().join(", "))
            }
        };
        lines.push(format!("  {:width$}  {:>8}  {outcome}", trial.method, rough(trial.seconds)));
    }
    lines.join("\n") + "\n"
}

/// The training images of the data set's category.
fn training_images(
    args: &Args,
    session: &Session,
    dataset: &str,
) -> Result<std::sync::Arc<dyn fmam::SampleSource>> {
    let dataset = session.dataset(dataset, args.data_root.clone())?;
    let category = fmam::category_name(dataset.as_ref(), args.category.as_deref())?;
    let train = dataset
        .train(&category, &fmam::preparation(&args.input.config(), size(args))?)
        .map_err(Error::from)
        .with_context(|| format!("category `{category}`"))?;
    Ok(train)
}
