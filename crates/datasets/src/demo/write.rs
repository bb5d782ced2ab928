use std::path::Path;

use fmam_core::{ImageSize, Label, Split};
use fmam_files::NewDir;
use image::ExtendedColorType::{L8, Rgb8};
use image::ImageFormat::Png;

use super::config::DemoConfig;
use super::source::DemoSource;
use crate::DatasetError;

/// Writes the demo set into `dir` as PNG files in MVTec AD's layout, one folder for each category;
/// `dir` is made if need be. A category appears under its name only when it is complete.
///
/// # Errors
/// [`DatasetError::AlreadyExists`] when `dir` has something by a category's name,
/// [`DatasetError::DemoCount`] for the configuration, [`DatasetError::Write`] or
/// [`DatasetError::Encode`] for a path that cannot be written.
pub fn write_demo(dir: &Path, config: &DemoConfig, size: ImageSize) -> Result<(), DatasetError> {
    config.check()?;
    for &category in &config.categories {
        let target = dir.join(category.name());
        if target.exists() {
            return Err(DatasetError::AlreadyExists { path: target });
        }
        let unfinished = NewDir::within(dir).map_err(|source| write_error(dir, source))?;
        for split in [Split::Train, Split::Test] {
            write_source(unfinished.path(), &DemoSource::new(config, category, split, size))?;
        }
        unfinished.finish(&target).map_err(|source| write_error(&target, source))?;
    }
    Ok(())
}

fn write_source(dir: &Path, source: &DemoSource) -> Result<(), DatasetError> {
    for (index, sample) in source.samples.iter().enumerate() {
        let scene = source.scene(index);
        // Ids are SPLIT/TYPE/INDEX; the layout says `good` for normal.
        let id = sample.id.replace("/normal/", "/good/");
        write_png(&dir.join(format!("{id}.png")), scene.image().data(), source.size, Rgb8)?;
        if sample.label == Label::Anomalous {
            let pixels: Vec<u8> = scene.mask().data().iter().map(|&value| value * 255).collect();
            let id = id.replacen("test/", "ground_truth/", 1);
            write_png(&dir.join(format!("{id}_mask.png")), &pixels, source.size, L8)?;
        }
    }
    Ok(())
}

fn write_png(
    path: &Path,
    pixels: &[u8],
    size: ImageSize,
    colour: image::ExtendedColorType,
) -> Result<(), DatasetError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| write_error(folder, source))?;
    }
    image::save_buffer_with_format(path, pixels, size.width as u32, size.height as u32, colour, Png)
        .map_err(|source| DatasetError::Encode { path: path.to_owned(), source })
}

fn write_error(path: &Path, source: std::io::Error) -> DatasetError {
    DatasetError::Write { path: path.to_owned(), source }
}
