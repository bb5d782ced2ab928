//! Writes a contact sheet, and tells time and areas, for a look at what synthesis makes: `cargo run
//! --example contact_sheets -- OUT.png IMAGES [TEXTURES]`. IMAGES is a folder of images, TEXTURES
//! one of texture images in any depth (DTD's `images`); without it, textures are generated.
//! Environment: N images, of which SHOW are shown; SIDE in pixels; CONFIG, a TOML text; REPEAT, of
//! which the fastest counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use fmam_core::{ImageSize, Label, Mask, RgbImage, Sample, SampleSource, Seed, SourceError, Split};
use fmam_synthesis::{SynthesisConfig, Synthesizer, Textures, contact_sheet};

struct Folder {
    samples: Vec<Sample>,
    size: ImageSize,
}

impl Folder {
    fn new(paths: Vec<PathBuf>, side: usize) -> Self {
        let sample = |image_path: PathBuf| Sample {
            id: image_path.display().to_string(),
            split: Split::Train,
            label: Label::Normal,
            defect_type: None,
            image_path,
            mask_paths: Vec::new(),
        };
        Self { samples: paths.into_iter().map(sample).collect(), size: ImageSize::square(side) }
    }
}

impl SampleSource for Folder {
    fn len(&self) -> usize {
        self.samples.len()
    }
    fn sample(&self, index: usize) -> &Sample {
        &self.samples[index]
    }
    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        let (height, width) = (self.size.height as u32, self.size.width as u32);
        let decoded = image::open(&self.samples[index].image_path)?;
        let resized = decoded.resize_exact(width, height, image::imageops::FilterType::Triangle);
        Ok(RgbImage::new(self.size, resized.into_rgb8().into_raw())?)
    }
    fn mask(&self, _index: usize) -> Result<Option<Mask>, SourceError> {
        Ok(Some(Mask::empty(self.size)))
    }
}

fn images_below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            paths.extend(images_below(&path)?);
        } else {
            paths.push(path);
        }
    }
    // Beside its JPEG images, Magnetic Tile keeps masks as PNG.
    if paths.iter().any(|p| p.extension().is_some_and(|e| e == "jpg")) {
        paths.retain(|p| p.extension().is_some_and(|e| e == "jpg"));
    }
    paths.sort();
    Ok(paths)
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[allow(clippy::print_stdout, reason = "an example talks to a person")]
fn main() -> Result<(), SourceError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (n, side): (usize, usize) = (variable("N", "8").parse()?, variable("SIDE", "256").parse()?);
    let config: SynthesisConfig = toml::from_str(&variable("CONFIG", ""))?;
    let repeat: usize = variable("REPEAT", "1").parse()?;
    let images = Folder::new(images_below(Path::new(&arguments[1]))?, side);
    let textures = match arguments.get(2) {
        Some(folder) => Textures::Images(Arc::new(Folder::new(images_below(Path::new(folder))?, side))),
        None => Textures::Generated,
    };
    let synthesizer = Synthesizer::new(config, textures)?;
    let mut rows = Vec::new();
    let (mut seconds, mut area, mut visible) = (0.0, Vec::new(), 0.0);
    for i in 0..n {
        let image = images.image((i * 37) % images.len())?;
        let seed = Seed::new(1).derive_index(i as u64);
        let anomaly = synthesizer.synthesize(&image, seed)?;
        let mut fastest = f64::INFINITY;
        for _ in 0..repeat {
            let start = Instant::now();
            synthesizer.synthesize(&image, seed)?;
            fastest = start.elapsed().as_secs_f64().min(fastest);
        }
        seconds += fastest;
        area.push(anomaly.mask.area() as f64 / (side * side) as f64);
        visible += anomaly.visible.area() as f64 / anomaly.mask.area() as f64;
        rows.push((image, anomaly));
    }
    area.sort_by(f64::total_cmp);
    let quantile = |q: f64| area[(q * (n - 1) as f64) as usize];
    println!("{:.2} ms an image; visible {:.2}", 1e3 * seconds / n as f64, visible / n as f64);
    println!("area quantiles {:?}", [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0].map(quantile));
    let shown = variable("SHOW", "8").parse::<usize>()?.min(n);
    let sheet = contact_sheet(&rows[..shown]);
    let (height, width) = (sheet.size().height as u32, sheet.size().width as u32);
    image::save_buffer(&arguments[0], sheet.data(), width, height, image::ColorType::Rgb8)?;
    Ok(())
}
