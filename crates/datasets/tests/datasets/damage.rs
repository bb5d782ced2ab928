//! Truncated and changed files of every decoder: an image or an error, never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fmam_core::{Label, Reading, RgbImage, Sample, Split};
use fmam_datasets::{
    ImageInput, MaskFormat, decode_header, load_sample_mask, open_rows, read_image_bytes, training_depth,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::kinds;
use crate::miniature::Miniature;
use crate::peers::folder;

/// The smallest files of each format and colour type.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fmam_datasets::has_image_extension(path))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect();
    files.push(("float.tif".to_owned(), float_tiff()));
    files.extend(kinds::files().into_iter().map(|(name, bytes)| (name.to_owned(), bytes)));
    files.sort();
    files
}

fn float_tiff() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let values: Vec<f32> = (0..3 * 7 * 5).map(|index| index as f32 / 50.0).collect();
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).unwrap();
    encoder.write_image::<tiff::encoder::colortype::RGB32Float>(7, 5, &values).unwrap();
    file.into_inner()
}

/// A folder with the image to which masks may belong.
fn with_other_image() -> Miniature {
    let mini = Miniature::new();
    mini.image("other.png", 7, 5, 1);
    mini
}

/// Reads `bytes` in every way, within 1 MiB.
fn read_all(mini: &Miniature, name: &str, bytes: &[u8]) -> Result<Option<RgbImage>, String> {
    let readings = ["auto", "12-bit", "0,1"].map(|range| Reading {
        values: range.parse().unwrap(),
        max_bytes: 1 << 20,
        ..Reading::default()
    });
    let read = || {
        let mut image = None;
        let header = decode_header(bytes, name).is_ok();
        for reading in &readings {
            match read_image_bytes(bytes, name, reading) {
                Ok(read) => {
                    assert!(header, "an image without a header");
                    image = Some(read);
                }
                Err(error) => assert!(error.to_string().contains(name), "{error}"),
            }
            mini.write(name, bytes);
            if let Ok(mut rows) = open_rows(&mini.path(name), reading) {
                let mut left = rows.size().height;
                while left > 0 && rows.next_rows(3).is_ok() {
                    left = left.saturating_sub(3);
                }
            }
        }
        let _ = training_depth(1, 1 << 20, |_| Some(ImageInput::Bytes(bytes, name)));
        // The file as a mask of itself, and of another image.
        for image in [name, "other.png"] {
            let sample = Sample {
                id: name.to_owned(),
                split: Split::Test,
                label: Label::Anomalous,
                defect_type: None,
                image_path: mini.path(image),
                mask_paths: vec![mini.path(name)],
            };
            if let Err(error) = load_sample_mask(&sample, MaskFormat::Binary, 1 << 20) {
                let text = error.to_string();
                assert!(text.contains(name) || text.contains(image), "{text}");
            }
        }
        image
    };
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| format!("a panic in reading {name}"))
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_an_image() {
    let mini = with_other_image();
    for (name, bytes) in files() {
        read_all(&mini, &name, &bytes).unwrap();
        let step = (bytes.len() / 60).max(1);
        for length in (0..bytes.len()).step_by(step) {
            read_all(&mini, &name, &bytes[..length]).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_with_changed_bytes_is_an_error_or_an_image(
        file in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
        is_early in any::<bool>(),
    ) {
        let files = files();
        let (name, bytes) = file.get(&files);
        let mut bytes = bytes.clone();
        // Half of the changes are in the header.
        let range = if is_early { bytes.len().min(64) } else { bytes.len() };
        for (place, value) in changes {
            bytes[place.index(range)] = value;
        }
        let read = read_all(&with_other_image(), name, &bytes);
        prop_assert!(read.is_ok(), "{:?}: {:?}", read.err(), bytes);
    }
}
