use std::path::PathBuf;

use anyhow::{Context, Result};
use fmam_core::{ImageSize, RgbImage, Seed};
use fmam_datasets::load_image;
use fmam_experiment::ExperimentError;
use fmam_report::write_png;
use fmam_synthesis::{SynthesisConfig, Synthesizer, contact_sheet};

use crate::data;
use crate::exit::usage;
use crate::settings::Setting;
use crate::stdout::print;

const EXAMPLES: &str = "\
Examples:
  fmam synth --out sheet.png
      defects in generated fabrics
  fmam synth part1.png part2.png --out sheet.png
  fmam synth --data-root data --dataset mvtec --category screw --count 12 --set max_area=0.1 --out sheet.png

A row shows the image, the mask (white where the image visibly changed), the defective image, and the change times
four. Settings are those of `mapping.synthesis` of the methods with +fmam.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Normal images to put defects into, instead of those of a data set
    #[arg(value_name = "IMAGE", conflicts_with_all = ["dataset", "category"])]
    images: Vec<PathBuf>,
    /// Folder that holds the data set, and `dtd/` where you have the Describable Textures Dataset
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Data set whose training images get the defects
    #[arg(long, value_name = "NAME", default_value = "demo")]
    dataset: String,
    /// Category of the data set [default: the first]
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Number of rows
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Origin of all randomness: the same seed gives the same sheet
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Side in pixels to which images are resized
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = clap::value_parser!(u16).range(8..=2048))]
    image_size: u16,
    /// A setting of the synthesis, as often as needed; the value is TOML
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<Setting>,
    /// The PNG file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let size = ImageSize::square(usize::from(args.image_size));
    let mut settings = toml::Table::new();
    args.settings.iter().for_each(|setting| setting.apply(&mut settings));
    let config: SynthesisConfig =
        settings.try_into().context("synthesis settings are not valid").map_err(usage)?;
    let textures = data::textures(args.data_root.as_deref(), size)?;
    let synthesizer = Synthesizer::new(config, textures).map_err(usage)?;

    let seed = Seed::new(args.seed).derive("contact-sheet");
    let rows = images(args, size)?
        .into_iter()
        .enumerate()
        .map(|(index, image)| {
            let anomaly = synthesizer.synthesize(&image, seed.derive_index(index as u64))?;
            Ok((image, anomaly))
        })
        .collect::<Result<Vec<_>>>()?;
    write_png(&args.out, &contact_sheet(&rows))?;
    print(&format!("{}\n", args.out.display()))
}

/// An image for each row; where there are fewer images than rows they come again.
fn images(args: &Args, size: ImageSize) -> Result<Vec<RgbImage>> {
    let count = usize::from(args.count);
    if !args.images.is_empty() {
        let n = count.min(args.images.len());
        let images = args.images[..n]
            .iter()
            .map(|path| load_image(path, Some(size)))
            .collect::<Result<Vec<_>, _>>()?;
        return Ok(images.iter().cycle().take(count).cloned().collect());
    }
    let dataset = data::open(&args.dataset, args.data_root.clone())?;
    let first = dataset.categories().into_iter().next();
    let name = args.category.clone().or(first).unwrap_or_default();
    let train = dataset.category(&name, size).map_err(ExperimentError::from)?.train;
    (0..count).map(|row| train.image(row % train.len()).map_err(|error| anyhow::anyhow!(error))).collect()
}
