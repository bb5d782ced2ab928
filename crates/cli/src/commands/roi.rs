use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use fmam::output::{claim, percent, sync};
use fmam::{DeviceChoice, Reading, Registry, RgbImage, StillReason, propose_region};
use fmam_report::write_png;

use crate::compute::ComputeArgs;
use crate::exit::usage;
use crate::images;
use crate::input::FileArgs;
use crate::stdout::print;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/roi.txt"), arg_required_else_help = true)]
pub(crate) struct Args {
    /// Folder of good images of one size
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The mask to write, a PNG file; a preview is written beside it
    #[arg(long, value_name = "FILE", default_value = "roi.png")]
    out: PathBuf,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, registry: &Registry) -> Result<()> {
    let preview = preview_of(&args.out)?;
    for file in [&args.out, &preview] {
        if file.symlink_metadata().is_ok() {
            bail!("{} exists already; remove it or choose another --out", file.display());
        }
    }
    let above = args.out.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let (Ok(above), Ok(folder)) = (above.canonicalize(), args.folder.canonicalize())
        && above.starts_with(folder)
    {
        bail!(
            "{} would lie among the images, and would be read as one of them; choose another --out",
            args.out.display()
        );
    }
    let _claims = [claim(&args.out)?, claim(&preview)?];
    let images = images::listed([&args.folder])?;
    let (session, console) = args.compute.on(registry, DeviceChoice::Cpu)?;
    let default = Reading::default();
    let reading = Reading {
        values: args.files.value_range.unwrap_or(default.values),
        background: args.files.background.unwrap_or(default.background),
        max_bytes: args.files.max_bytes().unwrap_or(default.max_bytes),
    };
    let proposal = propose_region(&images, &reading, session.loader_threads(), session.progress());
    console.clear();
    let proposal = proposal?;
    let inside = &proposal.inside;
    let picture = RgbImage::from_fn(inside.size(), |y, x| [if inside.at(y, x) { 255 } else { 0 }; 3]);
    write_png(&args.out, &picture).map_err(fmam::Error::from)?;
    write_png(&preview, &proposal.preview).map_err(fmam::Error::from)?;
    [&args.out, &preview].into_iter().try_for_each(|file| sync(file))?;
    let share = percent(inside.area() as f64 / inside.size().pixels().max(1) as f64);
    let (n, out, folder) = (proposal.n_images, args.out.display(), args.folder.display());
    let reason = match proposal.reason {
        StillReason::AllStill => {
            "the images hardly differ anywhere, so nothing tells the product: all is inside"
        }
        StillReason::NothingStill => "no surrounding of the product stays the same: all is inside",
        _ => "the rest is the same in all of them and reaches the border",
    };
    print(&format!(
        "{out}: {share} of the image is inside, by {n} images; {reason}\n\
         look at {} before you use it, then: fmam fit {folder} --roi {out} --out model\n",
        preview.display()
    ))
}

/// `roi-preview.png` for `roi.png`.
fn preview_of(out: &Path) -> Result<PathBuf> {
    let is_png = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    match out.file_stem().filter(|_| is_png) {
        Some(stem) => {
            let mut name = stem.to_owned();
            name.push("-preview.png");
            Ok(out.with_file_name(name))
        }
        None => Err(usage(anyhow!("--out {} must be the name of a PNG file", out.display()))),
    }
}
