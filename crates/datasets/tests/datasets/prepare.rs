//! From files to the pixels of a detector: placing, regions of interest, depth, masks.

use fmam_core::{ImageSize, Mask, Placing, Preparation, RegionOfInterest, RgbImage, Seed, ValueRange};
use fmam_datasets::{
    Category, DatasetError, Regions, dataset, load_image, load_region, prepare_image, prepare_mask,
    resize_image, resize_mask,
};
use image::{GrayImage, ImageBuffer, Luma};

use crate::miniature::{Miniature, options};
use crate::notices::told;

fn noise(size: ImageSize, seed: u64) -> RgbImage {
    let level = |y: usize, x: usize, c: u64| {
        (Seed::new(seed).derive_index((y * size.width + x) as u64).derive_index(c).value() % 256) as u8
    };
    RgbImage::from_fn(size, |y, x| [0, 1, 2].map(|c| level(y, x, c)))
}

fn keeping(size: ImageSize) -> Preparation {
    Preparation { placing: Placing::KeepAspect, ..Preparation::new(size) }
}

/// A grey 16-bit file whose highest value is `highest`.
fn deep(mini: &Miniature, path: &str, highest: u16) {
    let image =
        ImageBuffer::<Luma<u16>, _>::from_fn(12, 10, |x, _| Luma([if x == 0 { highest } else { 100 }]));
    image.save(mini.path(path)).unwrap();
}

fn open(mini: &Miniature, name: &str, category: &str, preparation: &Preparation) -> Category {
    let data = (dataset(name).unwrap().open)(&options(mini.dir.path())).unwrap();
    data.category(category, preparation).unwrap()
}

#[test]
fn squeezing_is_plain_resizing() {
    let image = noise(ImageSize::new(30, 17), 1);
    let size = ImageSize::new(16, 24);
    let prepared = prepare_image(image.clone(), "a", &size.into(), None).unwrap();
    assert_eq!(prepared.image, resize_image(image, "a", size).unwrap());
    assert!(prepared.inside.is_none() && prepared.frame.is_filled());
}

#[test]
fn keeping_the_aspect_ratio_pads_with_the_fill() {
    let image = noise(ImageSize::new(10, 40), 2);
    let prepared = prepare_image(image.clone(), "a", &keeping(ImageSize::square(20)), None).unwrap();
    let content = resize_image(image, "a", ImageSize::new(5, 20)).unwrap();
    let inside = prepared.inside.unwrap();
    for y in 0..20 {
        for x in 0..20 {
            let is_inside = (7..12).contains(&y);
            let expected = if is_inside { content.pixel(y - 7, x) } else { Preparation::FILL };
            assert_eq!((inside.at(y, x), prepared.image.pixel(y, x)), (is_inside, expected), "{y}, {x}");
        }
    }
    let mask = Mask::from_fn(ImageSize::new(10, 40), |y, x| y < 4 && x < 8);
    let expected = Mask::from_fn(ImageSize::square(20), |y, x| (7..9).contains(&y) && x < 4);
    assert_eq!(prepare_mask(&mask, &prepared.frame), expected);
}

#[test]
fn tiles_keep_the_size() {
    let image = noise(ImageSize::new(10, 40), 3);
    let tiles =
        Preparation { placing: Placing::Tiles { overlap: 2 }, ..Preparation::new(ImageSize::square(8)) };
    assert_eq!(prepare_image(image.clone(), "a", &tiles, None).unwrap().image, image);
}

#[test]
fn nothing_outside_of_the_region_changes_a_byte() {
    let size = ImageSize::new(33, 47);
    let region = Mask::from_fn(size, |y, x| (y as i64 - 15).pow(2) + (x as i64 - 20).pow(2) < 150);
    let (one, other) = (noise(size, 4), noise(size, 5));
    let mixed =
        RgbImage::from_fn(size, |y, x| if region.at(y, x) { one.pixel(y, x) } else { other.pixel(y, x) });
    let to = ImageSize::new(20, 24);
    let tiles = Preparation { placing: Placing::Tiles { overlap: 2 }, ..Preparation::new(to) };
    for preparation in [Preparation::new(to), keeping(to), tiles] {
        let of = |image: &RgbImage| prepare_image(image.clone(), "a", &preparation, Some(&region)).unwrap();
        let prepared = of(&one);
        assert_eq!(prepared, of(&mixed));
        assert_ne!(prepared.image, of(&other).image);
        let inside = prepared.inside.unwrap();
        assert!(inside.area() > 20);
        // A pixel is inside only if all that it covers is.
        let frame = prepared.frame;
        for (y, x) in (0..frame.size.height).flat_map(|y| (0..frame.size.width).map(move |x| (y, x))) {
            if !inside.at(y, x) {
                assert_eq!(prepared.image.pixel(y, x), Preparation::FILL);
                continue;
            }
            let (y, x) = (y - frame.top, x - frame.left);
            let rows = y * size.height / frame.content.height
                ..((y + 1) * size.height).div_ceil(frame.content.height);
            let columns =
                x * size.width / frame.content.width..((x + 1) * size.width).div_ceil(frame.content.width);
            assert!(rows.clone().all(|y| columns.clone().all(|x| region.at(y, x))), "{y}, {x}");
        }
    }
}

#[test]
fn a_region_that_cannot_be_used_is_refused() {
    let image = || noise(ImageSize::new(20, 40), 6);
    let prepare =
        |region: &Mask, side| prepare_image(image(), "part 7", &ImageSize::square(side).into(), Some(region));
    let square = Mask::from_fn(ImageSize::square(20), |_, _| true);
    let error = prepare(&square, 8).unwrap_err();
    assert!(matches!(error, DatasetError::RegionAspect { .. }), "{error:?}");
    for part in ["part 7", "20x20", "20x40"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let none = Mask::empty(ImageSize::new(20, 40));
    assert!(matches!(prepare(&none, 8), Err(DatasetError::EmptyRegion { .. })));
    // A dot covers no whole pixel of 8x8.
    let dot = Mask::from_fn(ImageSize::new(20, 40), |y, x| (y, x) == (5, 5));
    let error = prepare(&dot, 8).unwrap_err();
    assert!(
        matches!(error, DatasetError::EmptyRegion { size, .. } if size == ImageSize::square(8)),
        "{error:?}"
    );
    // A region of the same aspect ratio, rounded, and one of all pixels.
    let small = Mask::from_fn(ImageSize::new(10, 20), |_, x| x < 10);
    assert_eq!(prepare(&small, 8).unwrap().inside.unwrap().area(), 32);
    let all = Mask::from_fn(ImageSize::new(10, 20), |_, _| true);
    assert_eq!(prepare(&all, 8).unwrap().inside, None);
}

#[test]
fn the_region_of_an_image_is_that_of_its_stem() {
    let mini = Miniature::new();
    let save = |path: &str, from: u32| {
        std::fs::create_dir_all(mini.path(path).parent().unwrap()).unwrap();
        let region = GrayImage::from_fn(4, 2, |x, _| Luma([if x >= from { 255 } else { 0 }]));
        region.save(mini.path(path)).unwrap();
    };
    save("roi/000.png", 1);
    save("roi/bent/000.bmp", 2);
    let regions = Regions::new(&RegionOfInterest::Each(mini.path("roi")), 1 << 20);
    let area = |image: &str| {
        regions.of(&mini.path(image), ImageSize::new(2, 4)).map(|region| region.unwrap().area())
    };
    assert_eq!(area("test/good/000.jpg").unwrap(), 6);
    assert_eq!(area("test/bent/000.jpg").unwrap(), 4);
    let error = area("test/bent/001.jpg").unwrap_err();
    assert!(
        matches!(&error, DatasetError::MissingRegion { expected, .. } if *expected == mini.path("roi/001.png"))
    );
    assert!(error.to_string().contains("001.jpg"), "{error}");

    let missing = Regions::new(&RegionOfInterest::Each(mini.path("absent")), 1 << 20);
    assert!(matches!(
        missing.of(&mini.path("a.png"), ImageSize::square(2)),
        Err(DatasetError::ListFolder { .. })
    ));
    save("roi/000.bmp", 1);
    let regions = Regions::new(&RegionOfInterest::Each(mini.path("roi")), 1 << 20);
    assert!(matches!(
        regions.of(&mini.path("000.png"), ImageSize::new(2, 4)),
        Err(DatasetError::DuplicateStem { .. })
    ));
    mini.blank_mask("blank.png", 3, 3);
    assert!(matches!(load_region(&mini.path("blank.png"), 1 << 20), Err(DatasetError::EmptyRegion { .. })));
    assert!(
        Regions::new(&RegionOfInterest::Whole, 0)
            .of(&mini.path("a.png"), ImageSize::square(2))
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_data_set_is_prepared_with_its_masks_and_originals() {
    let mini = Miniature::of("mvtec", "");
    // Images are 12 wide and 10 high, and the left half of a mask is anomalous.
    let size = ImageSize::new(10, 12);
    let region = Mask::from_fn(size, |y, x| y < 8 && x >= 2);
    let side = ImageSize::square(24);
    let preparation = Preparation { region: RegionOfInterest::One(region.clone()), ..keeping(side) };
    let test = open(&mini, "mvtec", "nut", &preparation).test;
    let index = (0..test.len()).find(|&index| test.sample(index).mask_paths.len() == 1).unwrap();
    let original = test.original(index).unwrap().unwrap();
    let mask = Mask::from_fn(size, |y, x| x < 6 && region.at(y, x));
    assert_eq!((original.mask.as_ref(), original.inside.as_ref()), (Some(&mask), Some(&region)));
    assert_eq!((original.frame.original, original.frame.content), (size, ImageSize::new(20, 24)));
    let inside = Mask::from_fn(side, |y, x| (2..18).contains(&y) && x >= 4);
    assert_eq!(test.inside(index).unwrap(), Some(inside.clone()));
    let mask = Mask::from_fn(side, |y, x| x < 12 && inside.at(y, x));
    assert_eq!(test.mask(index).unwrap(), Some(mask));
    let pixels = load_image(&test.sample(index).image_path, None).unwrap();
    assert_eq!(
        test.image(index).unwrap(),
        prepare_image(pixels, "a", &preparation, Some(&region)).unwrap().image
    );
    let normal = (0..test.len()).find(|&index| test.sample(index).mask_paths.is_empty()).unwrap();
    assert!(test.mask(normal).unwrap().unwrap().is_empty());

    // Without any of it, pixels and masks are those of plain resizing.
    let plain = open(&mini, "mvtec", "nut", &side.into()).test;
    assert_eq!(plain.inside(index).unwrap(), None);
    let mask = Mask::from_fn(size, |_, x| x < 6);
    assert_eq!(plain.mask(index).unwrap(), Some(resize_mask(&mask, side)));
    assert_eq!(plain.image(index).unwrap(), load_image(&plain.sample(index).image_path, Some(side)).unwrap());
}

#[test]
fn both_splits_are_scaled_by_the_depth_of_the_training_images() {
    let mini = Miniature::of("mvtec", "");
    let size = ImageSize::new(10, 12);
    assert_eq!(open(&mini, "mvtec", "nut", &size.into()).test.bits().unwrap(), None);
    deep(&mini, "nut/train/good/000.png", 900);
    deep(&mini, "nut/train/good/001.png", 1023);
    deep(&mini, "nut/test/good/000.png", 3000);
    let category = open(&mini, "mvtec", "nut", &size.into());
    let test = (0..category.test.len())
        .find(|&index| category.test.sample(index).image_path == mini.path("nut/test/good/000.png"))
        .unwrap();
    let (image, lines) = told(|| category.test.image(test).unwrap());
    // 3000 is beyond 10 bits, and 100 of 1023 is level 25.
    assert_eq!((image.pixel(0, 0), image.pixel(0, 1)), ([255; 3], [25; 3]));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("001.png") && lines[0].contains("10 bits") && lines[0].contains("1023"),
        "{lines:?}"
    );
    assert!(lines[1].contains("test/good/000.png") && lines[1].contains("10-bit"), "{lines:?}");
    let (image, lines) = told(|| category.train.image(0).unwrap());
    assert_eq!((image.pixel(0, 0), lines.len()), ([224; 3], 0));
    assert_eq!((category.train.bits().unwrap(), category.test.bits().unwrap()), (Some(10), Some(10)));

    let mut stated = Preparation::new(size);
    stated.reading.values = ValueRange::Bits(12);
    let category = open(&mini, "mvtec", "nut", &stated);
    assert_eq!(category.test.image(test).unwrap().pixel(0, 0), [187; 3]);
    assert_eq!(category.train.bits().unwrap(), Some(12));
    stated.reading.values = ValueRange::Between { low: 0.0, high: 6000.0 };
    assert_eq!(open(&mini, "mvtec", "nut", &stated).train.bits().unwrap(), None);
}

#[test]
fn a_lost_aspect_ratio_is_told_once() {
    let mini = Miniature::of("mvtec", "");
    let open = |preparation: Preparation| open(&mini, "mvtec", "nut", &preparation).train;
    let lines = |preparation: Preparation| {
        let train = open(preparation);
        told(|| (0..train.len()).for_each(|index| drop(train.image(index).unwrap()))).1
    };
    let wide = ImageSize::new(8, 32);
    let told_of = lines(wide.into());
    assert!(
        told_of.len() == 1 && told_of[0].contains(".png") && told_of[0].contains("3.3 times"),
        "{told_of:?}"
    );
    assert_eq!(lines(ImageSize::square(8).into()), Vec::<String>::new());
    assert_eq!(lines(keeping(wide)), Vec::<String>::new());
}
