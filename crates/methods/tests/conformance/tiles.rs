//! Images that are larger than what a detector sees, cut into tiles.

use fmam_core::{MemoryRows, MemorySource, Placing, Preparation, Split, TiledSource};
use fmam_methods::{Detector, TileProgress};
use fmam_testkit::{striped_scene, striped_scene_with_square};

use super::regions::{Within, check_maps, scenes_with_squares};
use super::*;

const TILE: ImageSize = ImageSize::new(32, 64);
const OVERLAP: usize = 8;

/// The sizes of images: one that needs six tiles, one that needs four.
const LARGE: ImageSize = ImageSize::new(50, 130);
const OTHER: ImageSize = ImageSize::new(40, 70);

fn preparation() -> Preparation {
    Preparation { placing: Placing::Tiles { overlap: OVERLAP }, ..TILE.into() }
}

fn run(threads: usize) -> RunContext<'static> {
    RunContext { preparation: preparation(), ..context(0, threads, &Silent) }
}

/// Normal images of each size.
const N_IMAGES: u64 = 5;

/// Tiles of normal images.
fn tiles(sizes: &[ImageSize]) -> TiledSource<MemorySource> {
    let mut source = MemorySource::new(Split::Train);
    for seed in 0..N_IMAGES {
        for &size in sizes {
            source.push_normal(striped_scene(size, Seed::new(200 + seed)));
        }
    }
    TiledSource::new(source, TILE, OVERLAP).unwrap()
}

/// All methods, with settings, and variants that learn positions although their defaults do not.
fn variants() -> Vec<(&'static MethodEntry, toml::Table)> {
    // The U-Net learns more slowly: after 12 and 16 epochs its peaks still move with the rounding
    // of a gradient, and lie at the seams of the quarters as often as at the defects.
    let epochs = |entry: &MethodEntry| if entry.name == "puzzle-ae" { 2 * EPOCHS } else { EPOCHS };
    let mut variants: Vec<_> = methods().map(|entry| (entry, trial(entry, epochs(entry)))).collect();
    if is_asked_for("rkd+fmam") {
        let table = toml::from_str("epochs = 4\nmapping.epochs = 2\nscoring.reference = 'position'");
        variants.push((method("rkd+fmam").unwrap(), table.unwrap()));
    }
    variants
}

fn with_one_epoch(mut table: toml::Table) -> toml::Table {
    if let Some(epochs) = table.get_mut("epochs") {
        *epochs = 1.into();
    }
    table
}

fn fitted(
    (entry, table): &(&MethodEntry, toml::Table),
    train: &dyn SampleSource,
    threads: usize,
) -> Result<Detector, MethodError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| Ok((entry.build)(table.clone())?.fit(train, &run(threads))?.detector))
}

#[test]
fn every_method_fits_and_scores_tiles_of_large_images() {
    let folder = tempfile::tempdir().unwrap();
    let everywhere = Mask::from_fn(LARGE, |_, _| true);
    let (scenes, defects) = scenes_with_squares(LARGE, &everywhere);
    for (number, variant) in variants().into_iter().enumerate() {
        let (entry, name) = (variant.0, variant.0.name);
        let needs = (entry.build)(variant.1.clone()).unwrap().plan(8).unwrap().needs;
        let sizes: &[ImageSize] = if needs.fixed_positions { &[LARGE] } else { &[LARGE, OTHER] };
        let train = tiles(sizes);
        let detector = fitted(&variant, &train, 1).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut images = scenes.clone();
        if needs.fixed_positions {
            assert_eq!(detector.card().fixed_size, Some(LARGE), "{name}");
            let refused = detector.score(&[striped_scene(OTHER, Seed::new(70))]);
            assert!(matches!(refused, Err(MethodError::ImageSize { .. })), "{name}: {refused:?}");
            let mixed = fitted(&variant, &tiles(&[LARGE, OTHER]), 1).err();
            assert!(matches!(mixed, Some(MethodError::MixedPositions { .. })), "{name}: {mixed:?}");
        } else {
            // Smaller than a tile, and of a size that no training image has.
            images.push(striped_scene(ImageSize::new(20, 30), Seed::new(71)));
            images.push(striped_scene(ImageSize::new(70, 33), Seed::new(72)));
        }
        let found = detector.score(&images).unwrap();
        for (prediction, image) in found.iter().zip(&images) {
            assert_eq!(prediction.anomaly_map.size(), image.size(), "{name}");
        }
        if !entry.is_yardstick {
            let sum = |found: &[Prediction]| found.iter().map(|found| found.anomaly_map.max()).sum::<f32>();
            let (anomalous, normal) = (sum(&found[..3]), sum(&found[3..6]));
            assert!(
                anomalous > normal,
                "{name}: maps of defects peak at {anomalous} in all, normal ones {normal}"
            );
            check_maps(name, &found[..3], &defects, &everywhere);
        }
        let dir = folder.path().join(number.to_string());
        detector.save(&dir).unwrap();
        let loaded = load_detector(&dir, device()).unwrap();
        assert_eq!(loaded.card().preparation(), preparation(), "{name}");
        assert!(
            bits(&loaded.score(&images).unwrap()) == bits(&found),
            "{name}: the loaded detector scores otherwise: save what it learnt of each tile"
        );
        // A few steps tell whether the number of threads counts.
        let short = (variant.0, with_one_epoch(variant.1.clone()));
        let few = tiles(&[LARGE]);
        let on = |threads| bits(&fitted(&short, &few, threads).unwrap().score(&images[..1]).unwrap());
        assert!(on(1) == on(3), "{name}: the result depends on the number of threads");

        let mut scores = Vec::new();
        let mut rows = MemoryRows::new(images[0].clone());
        let scan = detector.scan(&mut rows, None, &Silent, &mut |rows| scores.extend_from_slice(rows.scores));
        assert_eq!(scan.unwrap().image_score, found[0].image_score, "{name}");
        assert_eq!(scores, found[0].anomaly_map.data(), "{name}");
    }
}

#[test]
fn tiles_look_at_the_region_of_interest_only() {
    // The tiles of the right column lie outside.
    let region = Mask::from_fn(LARGE, |_, x| x < 60);
    let defective = striped_scene_with_square(LARGE, Seed::new(4)).0;
    for (entry, table) in variants() {
        // A few steps tell whether a pixel outside counts.
        let variant = (entry, with_one_epoch(table));
        let name = variant.0.name;
        let inner = tiles(&[LARGE]).inner().clone();
        let train = TiledSource::new(Within { inner, region: region.clone() }, TILE, OVERLAP).unwrap();
        assert_eq!(train.len(), 4 * N_IMAGES as usize);
        let detector = fitted(&variant, &train, 2).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut other = defective.clone();
        (0..LARGE.height).for_each(|y| other.set_pixel(y, 62, [255, 0, 0]));
        let regions = [Some(region.clone()), Some(region.clone())];
        let found = detector.score_within(&[defective.clone(), other], &regions).unwrap();
        assert!(bits(&found[..1]) == bits(&found[1..]), "{name}: a pixel outside changes a score");
        // A method of positions has learnt nothing of the right column.
        let whole = detector.score(std::slice::from_ref(&defective));
        if detector.card().fixed_size.is_some() {
            assert!(matches!(whole, Err(MethodError::UnknownTile { tile: 2 })), "{name}: {whole:?}");
        } else {
            assert!(whole.is_ok(), "{name}: {whole:?}");
        }
    }
}

/// Hears of the tiles of an image, and says to stop behind the tile `last`.
#[derive(Default)]
struct Heard {
    details: std::sync::Mutex<Vec<(u64, String)>>,
    last: Option<usize>,
}

impl Progress for Heard {
    fn start(&self, _stage: &fmam_core::StageId, _total: u64) {
        panic!("the stage goes through images, not through tiles");
    }
    fn update(&self, done: u64, detail: &str) {
        self.details.lock().unwrap().push((done, detail.to_owned()));
    }
    fn finish(&self) {
        panic!("the stage goes on behind an image");
    }
    fn cancelled(&self) -> bool {
        self.last.is_some_and(|last| self.details.lock().unwrap().len() >= last)
    }
}

#[test]
fn the_tiles_of_an_image_are_told_one_by_one_and_may_be_the_last() {
    let run = RunContext { preparation: preparation(), ..context(0, 1, &Silent) };
    let detector = built("teacher", "").fit(&tiles(&[LARGE]), &run).unwrap().detector;
    let image = [striped_scene(LARGE, Seed::new(1))];
    let score = |heard: &Heard| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let tiles = TileProgress::new(heard, 7);
        pool.install(|| detector.score_watched(&image, &[None], &tiles))
    };
    let heard = Heard::default();
    assert!(score(&heard).is_ok());
    let details = heard.details.into_inner().unwrap();
    let expected: Vec<_> = (1..=6).map(|tile| (7, format!("tile {tile} of 6"))).collect();
    if device().is_cpu() {
        assert_eq!(details, expected);
    } else {
        assert_eq!(details.last(), expected.last());
    }
    let stopped = Heard { last: Some(2), ..Heard::default() };
    assert!(matches!(score(&stopped), Err(MethodError::Cancelled)) || !device().is_cpu());
}

#[test]
fn a_detector_of_whole_images_scans_none_and_a_bad_overlap_is_refused() {
    let train = striped_train(2, TILE, Seed::new(1));
    let run = RunContext { preparation: TILE.into(), ..context(0, 1, &Silent) };
    let detector = built("teacher", "").fit(&train, &run).unwrap().detector;
    let mut rows = MemoryRows::new(striped_scene(LARGE, Seed::new(1)));
    let refused = detector.scan(&mut rows, None, &Silent, &mut |_| {});
    assert!(matches!(refused, Err(MethodError::NotTiled { .. })), "{refused:?}");

    let preparation = Preparation { placing: Placing::Tiles { overlap: 32 }, ..TILE.into() };
    let run = RunContext { preparation, ..run };
    let detector = built("teacher", "").fit(&train, &run).unwrap().detector;
    let refused = detector.score(&[striped_scene(LARGE, Seed::new(1))]).unwrap_err();
    assert!(refused.to_string().contains("an overlap of 32 pixels"), "{refused}");
    let cut = built("padim", "centre_crop = 32").fit(&train, &run).err();
    assert!(matches!(cut, Some(MethodError::ConfigValue { key: "centre_crop", .. })), "{cut:?}");
}
