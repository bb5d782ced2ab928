//! Scans a generated image of any size by tiles and tells the memory of the whole process:
//!
//! ```text
//! cargo run --release -p fmam-methods --example scan -- 10000x20000
//! ```
//!
//! The rows of the image are drawn as they are asked for. It shows stripes, and one scratch of 8
//! pixels in its middle. Further arguments: the method, `rkd+fmam` without one, the side of a tile,
//! 512 without one, and a folder for the model. Where the folder exists the model in it is scanned
//! with, so that the memory is that of the scan without a fit.

#![allow(clippy::print_stdout, reason = "an example tells what it measures")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use fmam_core::{
    ImageRows, ImageSize, MemorySource, Placing, Preparation, Progress, RgbImage, Seed, SourceError, Split,
    StageId, TiledSource,
};
use fmam_inspection::{Overview, RegionScanner};
use fmam_methods::{Detector, RunContext, load_detector, method};
use fmam_models::load_backbone;
use fmam_synthesis::Textures;

/// Pixels of the picture.
const PICTURE_PIXELS: usize = 4_000_000;

/// A striped surface, a row at a time.
struct Stripes {
    size: ImageSize,
    next: usize,
    has_scratch: bool,
}

impl ImageRows for Stripes {
    fn size(&self) -> ImageSize {
        self.size
    }

    fn next_rows(&mut self, count: usize) -> Result<RgbImage, SourceError> {
        let ImageSize { height, width } = self.size;
        let (first, count) = (self.next, count.min(height - self.next));
        self.next += count;
        Ok(RgbImage::from_fn(ImageSize::new(count, width), |y, x| {
            let y = y + first;
            if self.has_scratch && y == height / 2 && (width / 2..width / 2 + 8).contains(&x) {
                return [250, 250, 250];
            }
            let grain = Seed::new(1).derive_index((y * width + x) as u64).value() % 13;
            let value = 100 + ((y + 2 * x) / 4 % 8 * 6) as u8 + grain as u8;
            [value, value - 10, value - 20]
        }))
    }
}

struct Printed;

impl Progress for Printed {
    fn start(&self, stage: &StageId, total: u64) {
        println!("{stage}: {total} steps");
    }

    fn update(&self, done: u64, detail: &str) {
        if done.is_multiple_of(100) {
            println!("  {done} {detail}");
        }
    }

    fn finish(&self) {}
}

/// The largest memory of this process so far, in MB, where the system tells it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024 / 1_000_000)
}

/// A detector of the tiles of `good`.
fn fit(
    name: &str,
    good: MemorySource,
    run: &RunContext<'_>,
) -> Result<Detector, Box<dyn Error + Send + Sync>> {
    let entry = method(name)?;
    let mut settings = toml::Table::new();
    entry.default_epochs(&mut settings, 4)?;
    if entry.trains()? {
        settings.insert("batch_size".to_owned(), 2.into());
    }
    let overlap = run.preparation.tile_overlap().unwrap_or_default();
    let train = TiledSource::new(good, run.image_size(), overlap)?;
    Ok((entry.build)(settings)?.fit(&train, run)?.detector)
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, default: &str| arguments.get(at).map_or(default.to_owned(), String::clone);
    let size: ImageSize = argument(0, "10000x20000").parse()?;
    let (name, tile) = (argument(1, "rkd+fmam"), argument(2, "512").parse::<ImageSize>()?);
    let overlap = tile.height.min(tile.width) / 8;

    // Ten tiles, at whose origins the stripes have different phases.
    let part = ImageSize::new(tile.height + 101, 4 * tile.width + 37);
    let mut good = MemorySource::new(Split::Train);
    let mut rows = Stripes { size: part, next: 0, has_scratch: false };
    good.push_normal(rows.next_rows(part.height)?);
    let run = RunContext {
        device: Device::Cpu,
        seed: Seed::new(0),
        preparation: Preparation { placing: Placing::Tiles { overlap }, ..tile.into() },
        backbone: Arc::new(load_backbone("efficientnet-lite0", None, &Device::Cpu)?),
        textures: Textures::Generated,
        loader_threads: 1,
        progress: &Printed,
        kept: None,
    };
    let folder = arguments.get(3).map(Path::new);
    let detector = match folder.filter(|folder| folder.exists()) {
        Some(folder) => load_detector(folder, &Device::Cpu)?,
        None => fit(&name, good, &run)?,
    };
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        detector.save(folder)?;
    }
    println!("memory before the scan: {:?} MB at most", peak_memory());

    let mut rows = Stripes { size, next: 0, has_scratch: true };
    let mut overview = Overview::new(size, PICTURE_PIXELS);
    // No threshold is known here: the places of the largest scores of a smaller part.
    let mut normal = Stripes { size: part, next: 0, has_scratch: false };
    let threshold = detector.scan(&mut normal, None, &Printed, &mut |_| {})?.largest;
    let mut regions = RegionScanner::new(size.width, threshold);
    let start = Instant::now();
    let scan = detector.scan(&mut rows, None, &Printed, &mut |rows| {
        regions.push(rows.scores);
        overview.push(rows.pixels, rows.scores);
    })?;
    let (picture, map) = overview.finish()?;
    println!("{size} in {:.1} s: {scan:?}", start.elapsed().as_secs_f64());
    println!("picture of {}, map of {}", picture.size(), map.size());
    let regions = regions.finish();
    println!("{} regions above {threshold}; the first: {:?}", regions.len(), regions.first());
    println!("memory of the process: {:?} MB at most", peak_memory());
    Ok(())
}
