//! MVTec AD's screw, Magnetic Tile and DTD where `FMAM_DATA` points.

use std::collections::BTreeMap;

use fmam_core::{ImageSize, Label, Mask, SampleSource};
use fmam_datasets::{Counts, DATASETS, DatasetError, load_mask, published_counts, resize_mask, textures};
use fmam_testkit::data_root;

use crate::miniature::{open, options};

const SIZE: ImageSize = ImageSize::square(64);

fn counts(source: &dyn SampleSource) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for sample in (0..source.len()).map(|index| source.sample(index)) {
        assert_eq!(sample.label == Label::Normal, sample.defect_type.is_none());
        *counts.entry(sample.defect_type.clone().unwrap_or("normal".into())).or_default() += 1;
    }
    counts
}

#[test]
fn screw_has_the_published_counts_and_its_masks_are_not_empty() {
    let Some(root) = data_root() else { return };
    for root in [root.clone(), root.join("mvtec")] {
        let screw = open(&root, "mvtec", "screw", SIZE).unwrap();
        assert_eq!(screw.train.len(), 320);
        let expected = [
            ("manipulated_front", 24),
            ("normal", 41),
            ("scratch_head", 24),
            ("scratch_neck", 25),
            ("thread_side", 23),
            ("thread_top", 23),
        ];
        assert_eq!(counts(&*screw.test), expected.map(|(name, n)| (name.to_owned(), n)).into());
    }
    let full = open(&root, "mvtec", "screw", ImageSize::square(256)).unwrap();
    for index in 0..full.test.len() {
        let mask = full.test.mask(index).unwrap().unwrap();
        assert_eq!(mask.is_empty(), full.test.sample(index).label == Label::Normal);
        assert!(mask.area() < 256 * 256 / 10);
    }
    assert_eq!(full.train.image(0).unwrap().size(), ImageSize::square(256));
}

#[test]
fn magnetic_tile_is_split_by_the_protocol() {
    let Some(root) = data_root() else { return };
    let tile = open(&root, "magnetic-tile", "magnetic-tile", SIZE).unwrap();
    assert_eq!(tile.train.len(), 761);
    let expected =
        [("Blowhole", 115), ("Break", 85), ("Crack", 57), ("Fray", 32), ("Uneven", 103), ("normal", 191)];
    assert_eq!(counts(&*tile.test), expected.map(|(name, n)| (name.to_owned(), n)).into());
    // Four photographs of uneven tiles come with a mask that is all black.
    let blank = (0..tile.test.len()).filter(|&index| {
        let sample = tile.test.sample(index);
        let reloaded = sample.mask_paths.first().map(|mask| load_mask(mask, &sample.image_path, SIZE));
        matches!(reloaded, Some(Err(DatasetError::BlankMask { .. })))
    });
    assert_eq!(blank.count(), 4);
    // Odd sizes and both file formats, of each type one.
    for index in (0..tile.test.len()).step_by(40) {
        assert_eq!(tile.test.image(index).unwrap().size(), SIZE);
        assert_eq!(tile.test.mask(index).unwrap().unwrap().size(), SIZE);
    }
}

/// The masks of both sets are anomalous above 127, whatever their few or many values are.
#[test]
fn the_masks_are_cut_at_half_of_their_range() {
    let Some(root) = data_root() else { return };
    for (name, category) in [("mvtec", "screw"), ("magnetic-tile", "magnetic-tile")] {
        let test = open(&root, name, category, SIZE).unwrap().test;
        for index in 0..test.len() {
            let [path] = test.sample(index).mask_paths.as_slice() else { continue };
            let pixels = image::open(path).unwrap().into_luma8();
            let size = ImageSize::new(pixels.height() as usize, pixels.width() as usize);
            let expected = Mask::from_fn(size, |y, x| pixels.get_pixel(x as u32, y as u32).0[0] > 127);
            assert!(test.mask(index).unwrap().unwrap() == resize_mask(&expected, SIZE), "{}", path.display());
        }
    }
}

#[test]
fn the_counts_are_the_published_ones() {
    let Some(root) = data_root() else { return };
    let mut checked = Vec::new();
    for entry in DATASETS.iter().filter(|entry| !entry.published.is_empty()) {
        let name = entry.name;
        let opened = match (entry.open)(&options(&root)) {
            Err(DatasetError::UnrecognizedLayout { .. }) => continue,
            opened => opened.unwrap(),
        };
        for category in opened.categories() {
            let counts = Counts::of(&opened.category(&category, &SIZE.into()).unwrap());
            assert_eq!(Some(counts), published_counts(name, &category), "{name}/{category}");
            checked.push(category);
        }
    }
    for category in ["magnetic-tile", "screw"] {
        assert!(checked.iter().any(|name| name == category), "{category} is not there");
    }
}

#[test]
fn dtd_is_found_as_the_texture_source() {
    let Some(root) = data_root() else { return };
    for root in [root.clone(), root.join("dtd")] {
        let found = textures(&root, SIZE).unwrap().unwrap();
        assert_eq!(found.len(), 240);
        assert_eq!(found.image(239).unwrap().size(), SIZE);
    }
}
