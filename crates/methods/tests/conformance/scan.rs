//! Maps that are blended from tiles, by a scorer whose map is known.

use fmam_core::{AnomalyMap, ImageRows, MemoryRows, Placing, Preparation, SourceError};
use fmam_methods::{Detector, ModelCard, Place, Scorer, Tensors};

use super::*;

/// Scores a pixel by its red; the image score is that of the first pixel or the peak.
struct Red {
    is_peak: bool,
}

impl Scorer for Red {
    fn score(&self, images: &[RgbImage], _: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
        let predict = |image: &RgbImage| {
            let data: Vec<f32> = image.data().chunks_exact(3).map(|p| f32::from(p[0]) / 3.0).collect();
            Ok(Prediction { image_score: data[0], anomaly_map: AnomalyMap::new(image.size(), data)? })
        };
        images.iter().map(predict).collect()
    }

    fn score_is_peak(&self) -> bool {
        self.is_peak
    }

    fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
        Ok(Vec::new())
    }
}

fn detector(overlap: usize, is_peak: bool) -> Detector {
    let size = ImageSize::new(8, 12);
    let card = ModelCard::new("m", "tiny", Seed::new(3), size, toml::Table::new());
    let preparation = Preparation { placing: Placing::Tiles { overlap }, ..size.into() };
    Detector::new(card.with_preparation(&preparation), Box::new(Red { is_peak }))
}

#[test]
fn maps_of_tiles_are_blended_to_the_map_of_the_image() {
    for (height, width) in [(8, 12), (30, 41), (3, 50), (40, 5), (1, 1)] {
        let image = RgbImage::from_fn(ImageSize::new(height, width), |y, x| [(y * 7 + x * 3) as u8, 0, 0]);
        for overlap in [0, 3, 7] {
            let scored = detector(overlap, true).score(std::slice::from_ref(&image)).unwrap();
            let map = &scored[0].anomaly_map;
            assert_eq!(map.size(), image.size());
            let expected: Vec<f32> = image.data().chunks_exact(3).map(|p| f32::from(p[0]) / 3.0).collect();
            assert_eq!(map.data(), expected, "{height}x{width}, {overlap}");
            assert_eq!(scored[0].image_score, map.max());
        }
    }
}

#[test]
fn rows_come_once_each_and_are_those_of_the_image() {
    let image = RgbImage::from_fn(ImageSize::new(30, 41), |y, x| [(y * 7 + x) as u8, y as u8, x as u8]);
    let region = Mask::from_fn(ImageSize::new(3, 1), |y, _| y == 1);
    let (mut pixels, mut scores) = (Vec::new(), Vec::new());
    let scan =
        detector(3, false).scan(&mut MemoryRows::new(image.clone()), Some(&region), &Silent, &mut |rows| {
            assert_eq!((rows.top, rows.width), (scores.len() / 41, 41));
            pixels.extend_from_slice(rows.pixels);
            scores.extend_from_slice(rows.scores);
        });
    let scan = scan.unwrap();
    assert_eq!(pixels, image.data());
    let expected = |at: usize| f32::from(pixels[3 * at]) / 3.0;
    for (at, &score) in scores.iter().enumerate() {
        let is_inside = (10..20).contains(&(at / 41));
        assert_eq!(score, if is_inside { expected(at) } else { f32::NEG_INFINITY }, "{at}");
    }
    let inside = || scores.iter().copied().filter(|score| score.is_finite());
    assert_eq!(scan.smallest, inside().fold(f32::INFINITY, f32::min));
    assert_eq!(scan.largest, inside().fold(0.0, f32::max));
    // First pixels of tiles: rows 5, 11 and 16, columns 0, 7, ..., filled where outside.
    assert!(scan.image_score > 0.0 && scan.image_score != scan.largest);

    let nowhere = Mask::empty(ImageSize::new(2, 2));
    let found = detector(3, false).scan(&mut MemoryRows::new(image), Some(&nowhere), &Silent, &mut |_| {});
    assert!(matches!(found, Err(MethodError::NothingInside { .. })), "{found:?}");
}

#[test]
fn an_image_that_ends_early_or_cannot_be_read_is_an_error() {
    struct Short(usize);
    impl ImageRows for Short {
        fn size(&self) -> ImageSize {
            ImageSize::new(30, 12)
        }
        fn next_rows(&mut self, count: usize) -> Result<RgbImage, SourceError> {
            let height = count.min(self.0);
            self.0 -= height;
            Ok(RgbImage::filled(ImageSize::new(height, 12), [1; 3]))
        }
    }
    struct Damaged;
    impl ImageRows for Damaged {
        fn size(&self) -> ImageSize {
            ImageSize::new(30, 12)
        }
        fn next_rows(&mut self, _: usize) -> Result<RgbImage, SourceError> {
            Err("scan.tif: end of file".into())
        }
    }
    let scan = |rows: &mut dyn ImageRows| detector(2, true).scan(rows, None, &Silent, &mut |_| {});
    assert!(scan(&mut Short(30)).is_ok());
    let short = scan(&mut Short(17));
    assert!(matches!(short, Err(MethodError::MissingRows { expected: 30, actual: 17 })), "{short:?}");
    let damaged = scan(&mut Damaged);
    assert!(matches!(damaged, Err(MethodError::Rows { .. })), "{damaged:?}");
    let empty = RgbImage::filled(ImageSize::new(0, 12), [0; 3]);
    let empty = scan(&mut MemoryRows::new(empty));
    assert!(matches!(empty, Err(MethodError::NothingInside { .. })), "{empty:?}");
}
