//! Images of 160x768 pixels, as a line camera takes them: whole, and cut into tiles.

use fmam_core::{MemorySource, Placing, Preparation, Split, TiledSource};
use fmam_testkit::striped_scene;

use super::regions::{check_maps, scenes_with_squares};
use super::*;

const STRIP: ImageSize = ImageSize::new(160, 768);
const TILE: ImageSize = ImageSize::new(96, 256);
const OVERLAP: usize = 32;

/// Good images.
const N_IMAGES: u64 = 4;

/// The methods of the paper and those that are most used.
const NAMES: [&str; 4] = ["patchcore", "padim", "nkd+fmam", "rkd+fmam"];

fn check(name: &str, preparation: &Preparation) {
    let mut good = MemorySource::new(Split::Train);
    (0..N_IMAGES).for_each(|seed| good.push_normal(striped_scene(STRIP, Seed::new(300 + seed))));
    let is_tiled = preparation.tile_overlap().is_some();
    let train: Box<dyn SampleSource> =
        if is_tiled { Box::new(TiledSource::new(good, TILE, OVERLAP).unwrap()) } else { Box::new(good) };
    let run = RunContext { preparation: preparation.clone(), ..context(0, 2, &Silent) };
    let fitted = quick(method(name).unwrap(), EPOCHS / 2).fit(train.as_ref(), &run);
    let detector = fitted.unwrap_or_else(|error| panic!("{name}: {error}")).detector;
    assert_eq!(detector.card().preparation(), *preparation, "{name}");
    let everywhere = Mask::from_fn(STRIP, |_, _| true);
    let (scenes, defects) = scenes_with_squares(STRIP, &everywhere);
    let found = detector.score(&scenes).unwrap();
    assert!(found.iter().all(|prediction| prediction.anomaly_map.size() == STRIP), "{name}");
    let sum = |found: &[Prediction]| found.iter().map(|found| found.anomaly_map.max()).sum::<f32>();
    let (anomalous, normal) = (sum(&found[..3]), sum(&found[3..6]));
    assert!(anomalous > normal, "{name}: maps of defects peak at {anomalous} in all, normal ones {normal}");
    check_maps(name, &found[..3], &defects, &everywhere);

    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    detector.save(&dir).unwrap();
    let loaded = load_detector(&dir, device()).unwrap();
    assert!(bits(&loaded.score(&scenes[..1]).unwrap()) == bits(&found[..1]), "{name}: loaded");
}

#[test]
fn methods_fit_and_score_strips_whole() {
    NAMES.into_iter().filter(|name| is_asked_for(name)).for_each(|name| check(name, &STRIP.into()));
}

#[test]
fn methods_fit_and_score_strips_in_tiles() {
    let tiles = Preparation { placing: Placing::Tiles { overlap: OVERLAP }, ..TILE.into() };
    NAMES.into_iter().filter(|name| is_asked_for(name)).for_each(|name| check(name, &tiles));
}
