use std::path::PathBuf;

use anyhow::Result;
use fmam::output::{claim, draw_contact_sheet, repeated_images, repeated_samples, sync, synthesis_config};
use fmam::{DeviceChoice, Image, ImageSize, RgbImage, Session, Setting};
use fmam_report::write_png;

use crate::stdout::print;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/synth.txt"))]
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
    let _claim = claim(&args.out)?;
    let size = ImageSize::square(usize::from(args.image_size));
    let config = synthesis_config(&args.settings)?;
    let textures = fmam::textures(args.data_root.as_deref(), size)?;
    let sheet = draw_contact_sheet(images(args, size)?, config, textures, args.seed)?;
    write_png(&args.out, &sheet)?;
    sync(&args.out)?;
    print(&format!("{}\n", args.out.display()))
}

/// An image for each row.
fn images(args: &Args, size: ImageSize) -> Result<Vec<RgbImage>> {
    let count = usize::from(args.count);
    if !args.images.is_empty() {
        let images: Vec<_> = args.images.iter().map(Image::from).collect();
        return Ok(repeated_images(&images, count, size)?);
    }
    let session = Session::builder().device(DeviceChoice::Cpu).build()?;
    let dataset = session.dataset(&args.dataset, args.data_root.clone())?;
    let first = dataset.categories().into_iter().next();
    let name = args.category.clone().or(first).unwrap_or_default();
    Ok(repeated_samples(
        session.category(dataset.as_ref(), Some(&name), &size.into())?.train.as_ref(),
        count,
    )?)
}
