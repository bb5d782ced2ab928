//! Images that are not square, with padding and with a region of interest: all methods look inside
//! only.

use std::collections::BTreeMap;
use std::path::Path;

use fmam_core::{Frame, MemorySource, Sample, SourceError};
use fmam_methods::Detector;
use fmam_testkit::{striped_scene, striped_scene_with_square};

use super::*;

/// Multiples of every stride, and no square.
const WIDE: ImageSize = ImageSize::new(64, 96);

/// A source whose images have all the same region of interest.
pub(super) struct Within {
    pub(super) inner: MemorySource,
    pub(super) region: Mask,
}

impl SampleSource for Within {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        self.inner.sample(index)
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        self.inner.image(index)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        self.inner.mask(index)
    }

    fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
        self.inner.size(index)
    }

    fn inside(&self, _: usize) -> Result<Option<Mask>, SourceError> {
        Ok(Some(self.region.clone()))
    }
}

/// `image` with other pixels outside of `region`: coloured stripes that `other` moves.
fn disturbed(mut image: RgbImage, region: &Mask, other: usize) -> RgbImage {
    let size = image.size();
    for y in 0..size.height {
        for x in 0..size.width {
            if !region.at(y, x) {
                image.set_pixel(y, x, [(x * 37 + other * 91) as u8, (y * 53) as u8, (other * 130) as u8]);
            }
        }
    }
    image
}

/// The files of a model by their names.
fn model_files(detector: &Detector, dir: &Path) -> BTreeMap<String, Vec<u8>> {
    detector.save(dir).unwrap();
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

/// Checks that maps are higher within their defects than in the rest of `region`, and that most
/// have their peak at the defect, up to the reach of the blur.
pub(super) fn check_maps(name: &str, predictions: &[Prediction], defects: &[Mask], region: &Mask) {
    let size = region.size();
    let ((mut inside, mut around), mut n_peaks) = (((0.0, 0.0), (0.0, 0.0)), 0);
    for (map, defect) in predictions.iter().map(|prediction| &prediction.anomaly_map).zip(defects) {
        assert_eq!(map.size(), size, "{name}");
        let mut peak = (f32::NEG_INFINITY, (0, 0));
        for (y, x) in (0..size.height).flat_map(|y| (0..size.width).map(move |x| (y, x))) {
            let score = map.at(y, x);
            if !region.at(y, x) {
                assert_eq!(score, map.min(), "{name}: a score outside is not the smallest inside");
                continue;
            }
            if score > peak.0 {
                peak = (score, (y, x));
            }
            let (sum, count) = if defect.at(y, x) { &mut inside } else { &mut around };
            *sum += f64::from(score);
            *count += 1.0;
        }
        let near = |at: usize, side: usize| at.saturating_sub(REACH)..(at + REACH + 1).min(side);
        let (y, x) = peak.1;
        let is_near = near(y, size.height).any(|y| near(x, size.width).any(|x| defect.at(y, x)));
        n_peaks += usize::from(is_near);
    }
    let (inside, around) = (inside.0 / inside.1, around.0 / around.1);
    assert!(inside > around, "{name}: the mean score is {inside} inside the defects and {around} around");
    let n = defects.len();
    assert!(2 * n_peaks > n, "{name}: of {n} maps {n_peaks} peak at the defect");
}

/// Pixels from a defect within which its peak may lie.
const REACH: usize = 8;

/// Three scenes with a square that lies within `region`, then the same without it; and the masks of
/// the squares.
pub(super) fn scenes_with_squares(size: ImageSize, region: &Mask) -> (Vec<RgbImage>, Vec<Mask>) {
    let scene = |seed| (seed, striped_scene_with_square(size, Seed::new(seed)));
    let is_inside =
        |mask: &Mask| mask.data().iter().zip(region.data()).all(|(defect, inside)| defect <= inside);
    let scenes: Vec<_> = (0..400).map(scene).filter(|(_, (_, mask))| is_inside(mask)).take(3).collect();
    let (mut images, mut masks) = (Vec::new(), Vec::new());
    let normal: Vec<_> = scenes.iter().map(|(seed, _)| striped_scene(size, Seed::new(*seed))).collect();
    for (_, (image, mask)) in scenes {
        images.push(image);
        masks.push(mask);
    }
    (images.into_iter().chain(normal).collect(), masks)
}

/// A quick fit of `epochs` on so many threads.
fn fitted(entry: &MethodEntry, train: &dyn SampleSource, (epochs, threads): (u64, usize)) -> Detector {
    let run = RunContext { preparation: WIDE.into(), ..context(0, threads, &Silent) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let fit = || quick(entry, epochs).fit(train, &run);
    pool.install(fit).unwrap_or_else(|e| panic!("{}: a fit within a region failed: {e}", entry.name)).detector
}

#[test]
fn pixels_outside_of_the_region_change_no_byte_of_model_and_map() {
    // A few steps tell whether a pixel outside counts.
    let folder = tempfile::tempdir().unwrap();
    // A region whose edges cut cells, and the rectangle that a square image fills.
    let region = Mask::from_fn(WIDE, |y, x| (10..78).contains(&x) && y < 58);
    let padding = Frame::keeping_aspect(ImageSize::square(9), WIDE).inside().unwrap();
    for (kind, region) in [("region", region), ("padding", padding)] {
        let source = |other| {
            let mut inner = MemorySource::new(fmam_core::Split::Train);
            for seed in 0..2 {
                inner.push_normal(disturbed(striped_scene(WIDE, Seed::new(100 + seed)), &region, other));
            }
            Within { inner, region: region.clone() }
        };
        let scenes = scenes_with_squares(WIDE, &region).0;
        let images = |other| -> Vec<_> {
            scenes.iter().map(|image| disturbed(image.clone(), &region, other)).collect()
        };
        let regions = vec![Some(region.clone()); 6];
        for entry in methods() {
            let name = format!("{}, {kind}", entry.name);
            let dir = |part: &str| folder.path().join(format!("{} {kind} {part}", entry.name));
            let (one, other) = (fitted(entry, &source(1), (1, 1)), fitted(entry, &source(2), (1, 3)));
            let files = model_files(&one, &dir("one"));
            assert!(
                files == model_files(&other, &dir("other")),
                "{name}: pixels outside of the region, or the number of threads, change the model: training must \
                 leave positions outside of `inside` out"
            );
            let found = one.score_within(&images(1), &regions).unwrap();
            let again = other.score_within(&images(2), &regions).unwrap();
            assert!(bits(&found) == bits(&again), "{name}: pixels outside of the region change a score");
            let loaded = load_detector(&dir("one"), device()).unwrap();
            let again = loaded.score_within(&images(1), &regions).unwrap();
            assert!(bits(&found) == bits(&again), "{name}: the loaded detector scores otherwise");
        }
    }
}

#[test]
fn every_method_finds_a_defect_in_a_region_of_an_image_that_is_not_square() {
    let region = Mask::from_fn(WIDE, |y, x| (10..78).contains(&x) && y < 58);
    let inner = striped_train(24, WIDE, Seed::new(1));
    let train = Within { inner, region: region.clone() };
    let (scenes, defects) = scenes_with_squares(WIDE, &region);
    let regions = vec![Some(region.clone()); scenes.len()];
    for entry in methods().filter(|entry| !entry.is_yardstick) {
        let found = fitted(entry, &train, (EPOCHS, 2)).score_within(&scenes, &regions).unwrap();
        let sum = |found: &[Prediction]| found.iter().map(|found| found.image_score).sum::<f32>();
        let ((anomalous, normal), name) = ((sum(&found[..3]), sum(&found[3..])), entry.name);
        assert!(anomalous > normal, "{name}: defects score {anomalous} in all, normal ones {normal}");
        check_maps(name, &found[..3], &defects, &region);
    }
}

#[test]
fn a_region_that_is_the_whole_image_changes_no_bit() {
    let all = Mask::from_fn(WIDE, |_, _| true);
    for entry in methods() {
        let train = striped_train(3, WIDE, Seed::new(1));
        let within = Within { inner: train.clone(), region: all.clone() };
        let run = RunContext { preparation: WIDE.into(), ..context(0, 2, &Silent) };
        let fit = |train: &dyn SampleSource| quick(entry, 1).fit(train, &run).unwrap().detector;
        let image = [train.image(0).unwrap()];
        let plain = fit(&train).score(&image).unwrap();
        let found = fit(&within).score_within(&image, &[Some(all.clone())]).unwrap();
        assert_eq!(bits(&found), bits(&plain), "{}", entry.name);
    }
}

#[test]
fn a_training_image_without_a_pixel_inside_is_named() {
    let inner = striped_train(3, WIDE, Seed::new(1));
    let train = Within { inner, region: Mask::empty(WIDE) };
    let run = RunContext { preparation: WIDE.into(), ..context(0, 1, &Silent) };
    for entry in methods() {
        let refused = quick(entry, 1).fit(&train, &run).err().unwrap();
        let is_named =
            matches!(&refused, MethodError::NothingToLearn { id } if id.starts_with("train/normal/"));
        assert!(is_named, "{}: {refused}", entry.name);
    }
}
