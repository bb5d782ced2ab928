use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fmam_core::{AnomalyMap, Progress, RgbImage, StageId, ordered_map};
use fmam_datasets::load_image;
use fmam_experiment::ExperimentError;
use fmam_files::{MadeDirs, NewDir};
use fmam_methods::load_detector;
use fmam_record::OVERLAYS_DIR;
use fmam_report::{map_range, overlay, write_png};
use serde_json::json;

use crate::compute::ComputeArgs;
use crate::out::{check_writable, parent_of};
use crate::progress::Console;
use crate::stdout::print;

const EXAMPLES: &str = "\
Example:
  fmam predict new/*.png --model model --out verdicts

Writes predictions.jsonl and overlays/*.png: the image as the detector saw it, the anomaly map over it, the map. The
colours of all of them share one range, that of the first 256 images. A higher score is more anomalous; scores have no
unit, compare them with those of good images.";

/// Maps that are kept until the colour range is known; bounds the memory.
const N_RANGE: usize = 256;
/// Images that are scored together.
const BATCH_SIZE: usize = 8;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
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

pub(crate) fn run(args: &Args) -> Result<()> {
    args.compute.prepare()?;
    let detector = load_detector(&args.model, &args.compute.device.unwrap_or_default().open()?)?;
    let folder = NewOut::begin(&args.out)?;
    let console = Console::new(args.compute.quiet, []);
    let size = detector.image_size();
    let n = args.images.len();
    let names = overlay_names(&args.images);
    let mut pictures = Pictures { range: None, waiting: Vec::new(), out: folder.path() };
    let (mut batch, mut indices, mut scores) = (Vec::new(), Vec::new(), vec![None; n]);
    let mut n_failed = 0;

    console.start(&StageId::SCORING, n as u64);
    let threads = args.compute.loader_threads();
    let load = |index: usize| load_image(&args.images[index], Some(size));
    let scored = ordered_map(n, threads, threads + BATCH_SIZE, load, |index, image| -> Result<()> {
        match image {
            Ok(image) => {
                batch.push(image);
                indices.push(index);
            }
            // The others are scored all the same.
            Err(error) => {
                n_failed += 1;
                console.error(&error.into());
            }
        }
        if batch.len() < BATCH_SIZE && index + 1 < n {
            return Ok(());
        }
        if console.cancelled() {
            return Err(ExperimentError::Cancelled.into());
        }
        let predictions = detector.score(&batch)?;
        for ((prediction, image), index) in
            predictions.into_iter().zip(batch.drain(..)).zip(indices.drain(..))
        {
            scores[index] = Some(prediction.image_score);
            pictures.add(&names[index], image, prediction.anomaly_map)?;
        }
        console.update(index as u64 + 1, "");
        Ok(())
    });
    console.finish();
    console.clear();
    scored?;
    pictures.draw_waiting()?;
    if n_failed == n {
        bail!("none of the {n} images could be read");
    }

    let mut lines = String::new();
    let mut table = format!("{:>10}  image\n", "score");
    for ((image, score), name) in args.images.iter().zip(&scores).zip(&names) {
        let Some(score) = score else { continue };
        let image = image.display().to_string();
        let overlay = format!("{OVERLAYS_DIR}/{name}");
        lines.push_str(&format!("{}\n", json!({"image": image, "image_score": score, "overlay": overlay})));
        table.push_str(&format!("{score:>10.4}  {image}\n"));
    }
    fmam_files::write_atomic(&folder.path().join("predictions.jsonl"), |file| {
        file.write_all(lines.as_bytes())
    })?;
    folder.finish()?;
    print(&table)?;
    if n_failed > 0 {
        bail!("{n_failed} of {n} images could not be read");
    }
    Ok(())
}

/// The output folder in the making, beside its place. It is removed when it is dropped without
/// [`NewOut::finish`].
struct NewOut {
    dir: NewDir,
    target: PathBuf,
    /// Dropped after `dir`, since the parent folders are removed only when they are empty.
    _made: MadeDirs,
}

impl NewOut {
    fn begin(out: &Path) -> Result<Self> {
        let cannot_write = || format!("cannot write {}", out.display());
        let target = if out.exists() {
            if !out.is_dir() || std::fs::read_dir(out).with_context(cannot_write)?.next().is_some() {
                bail!("{} exists already and is no empty folder; choose another --out", out.display());
            }
            // A link and `.` have no name of their own to put something beside.
            out.canonicalize().with_context(cannot_write)?
        } else {
            out.to_owned()
        };
        let made = check_writable(parent_of(&target))?;
        let dir = NewDir::beside(&target).with_context(cannot_write)?;
        Ok(Self { dir, target, _made: made })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn finish(self) -> Result<()> {
        let Self { dir, target, _made } = self;
        dir.finish(&target).with_context(|| format!("cannot write {}", target.display()))
    }
}

/// Draws overlays in one colour range.
struct Pictures<'a> {
    range: Option<(f32, f32)>,
    waiting: Vec<(&'a str, RgbImage, AnomalyMap)>,
    out: &'a Path,
}

impl<'a> Pictures<'a> {
    fn add(&mut self, name: &'a str, image: RgbImage, map: AnomalyMap) -> Result<()> {
        self.waiting.push((name, image, map));
        if self.range.is_some() || self.waiting.len() >= N_RANGE { self.draw_waiting() } else { Ok(()) }
    }

    fn draw_waiting(&mut self) -> Result<()> {
        let range = *self.range.get_or_insert_with(|| map_range(self.waiting.iter().map(|(_, _, map)| map)));
        for (name, image, map) in self.waiting.drain(..) {
            write_png(&self.out.join(OVERLAYS_DIR).join(name), &overlay(&image, None, &map, range))?;
        }
        Ok(())
    }
}

/// `STEM.png`, with a number where two images have the same stem. Compared without case, as some
/// file systems do.
fn overlay_names(images: &[PathBuf]) -> Vec<String> {
    let mut taken = HashSet::new();
    images
        .iter()
        .map(|image| {
            let stem = image.file_stem().unwrap_or_default().to_string_lossy();
            let names = std::iter::once(stem.to_string()).chain((2..).map(|n| format!("{stem}-{n}")));
            let mut free = names.filter(|name| taken.insert(name.to_lowercase()));
            format!("{}.png", free.next().unwrap_or_default())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_a_killed_process_left_is_in_nobodys_way() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("verdicts");
        // Left by a process of the same number that was killed: containers repeat the numbers.
        std::fs::create_dir(root.path().join(format!(".partial-verdicts-{}", std::process::id()))).unwrap();
        std::mem::forget(NewOut::begin(&out).unwrap());
        let folder = NewOut::begin(&out).unwrap();
        std::fs::write(folder.path().join("predictions.jsonl"), "x").unwrap();
        folder.finish().unwrap();
        assert!(out.join("predictions.jsonl").is_file());
    }

    #[test]
    fn an_unfinished_folder_leaves_nothing_and_a_full_one_is_refused() {
        let root = tempfile::tempdir().unwrap();
        drop(NewOut::begin(&root.path().join("new/er/verdicts")).unwrap());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        std::fs::write(root.path().join("kept"), "x").unwrap();
        assert!(NewOut::begin(root.path()).is_err() && NewOut::begin(&root.path().join("kept")).is_err());
    }

    #[test]
    fn every_overlay_has_its_own_name() {
        let images = ["a/1.png", "b/1.jpg", "c/1-2.png", "d/1.bmp", "A.png", "a.png"].map(PathBuf::from);
        assert_eq!(overlay_names(&images), ["1.png", "1-2.png", "1-2-2.png", "1-3.png", "A.png", "a-2.png"]);
    }
}
