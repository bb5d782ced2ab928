//! Measures the index of a large data set: `index_many [N_IMAGES] [LAYOUT]` writes tiny images in
//! the layout `folder` or `mvtec` into a temporary folder, opens them, and prints the seconds and
//! the peak memory of the process. One half of the images is for training, one quarter is
//! anomalous and has masks.

#![allow(clippy::print_stdout, reason = "a program that measures")]

use std::fs;
use std::path::Path;
use std::time::Instant;

use fmam_core::{ImageSize, SourceError};
use fmam_datasets::{Counts, DatasetOptions, dataset};
use image::{GrayImage, Luma};

fn main() -> Result<(), SourceError> {
    let mut arguments = std::env::args().skip(1);
    let n: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let layout = arguments.next().unwrap_or_else(|| "folder".to_owned());
    let (train, normal, anomalous, masks) = match layout.as_str() {
        "mvtec" => ("nut/train/good", "nut/test/good", "nut/test/cut", "nut/ground_truth/cut"),
        _ => ("nut/train/normal", "nut/test/normal", "nut/test/anomalous", "nut/masks"),
    };
    let dir = tempfile::tempdir()?;
    let pixels = GrayImage::from_fn(8, 8, |x, _| Luma([if x < 4 { 255 } else { 0 }]));
    let seed = dir.path().join("seed.png");
    pixels.save(&seed)?;
    let bytes = fs::read(&seed)?;
    let write = |folder: &str, n: usize, suffix: &str| -> Result<(), SourceError> {
        let folder = dir.path().join(folder);
        fs::create_dir_all(&folder)?;
        for index in 0..n {
            fs::write(folder.join(format!("{index:06}{suffix}.png")), &bytes)?;
        }
        Ok(())
    };
    write(train, n / 2, "")?;
    write(normal, n / 4, "")?;
    write(anomalous, n / 4, "")?;
    write(masks, n / 4, "_mask")?;

    let start = Instant::now();
    let options = DatasetOptions::new(Some(dir.path().to_owned()), ())?;
    let opened = (dataset(&layout)?.open)(&options)?;
    let category = opened.category("nut", &ImageSize::square(256).into())?;
    println!("{layout}: {:?} in {:.2} s", Counts::of(&category), start.elapsed().as_secs_f64());
    let start = Instant::now();
    let n_train = opened.train("nut", &ImageSize::square(256).into())?.len();
    println!("{layout}: {n_train} training images alone in {:.2} s", start.elapsed().as_secs_f64());
    println!("peak memory: {}", peak_memory(Path::new("/proc/self/status")).unwrap_or_default());
    Ok(())
}

/// The largest resident size so far, where the system tells it.
fn peak_memory(status: &Path) -> Option<String> {
    let status = fs::read_to_string(status).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().to_owned())
}
