//! The rules that every registered method keeps: it fits, scores, repeats itself and survives
//! saving, on every backbone that it can use. The tests walk `METHODS` and `BACKBONES`, and ask
//! each entry for the facts about itself.
//!
//! `FMAM_METHOD=NAME cargo test -p fmam-methods --test conformance` asks them for one method alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

mod backbones;
mod damage;
mod devices;
mod distillation;
mod input;
mod precision;
mod regions;
mod resume;
mod scan;
mod strips;
mod tiles;
mod trace;

use std::sync::{Arc, OnceLock};

use candle_core::Device;
use fmam_core::{ImageSize, Label, Mask, Plan, Progress, RgbImage, SampleSource, Seed, Silent, StagePlan};
use fmam_methods::{
    Fitted, METHODS, Method, MethodEntry, MethodError, Prediction, RunContext, load_detector, method,
};
use fmam_models::{BACKBONES, LoadedBackbone, Weights, load_backbone, random_backbone};
use fmam_synthesis::Textures;
use fmam_testkit::{striped_test, striped_train};

const SIZE: ImageSize = ImageSize::square(64);

/// Epochs of a quick fit: few, and enough for a third of them to have a mean.
const EPOCHS: u64 = 12;

/// The environment variable that names the one method to test.
const ONE_METHOD: &str = "FMAM_METHOD";

/// The device of the tests: see [`fmam_testkit::test_device`].
pub(crate) fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        fmam_testkit::test_device().map_or(Device::Cpu, |index| fmam_ops::cuda_device(index).unwrap())
    })
}

/// True if the method `name` is tested.
fn is_asked_for(name: &str) -> bool {
    let Ok(one) = std::env::var(ONE_METHOD) else { return true };
    if let Err(error) = method(&one) {
        panic!("{ONE_METHOD} names no method that METHODS in registry.rs has: {error}");
    }
    one == name
}

/// The methods to test.
fn methods() -> impl Iterator<Item = &'static MethodEntry> {
    METHODS.iter().copied().filter(|entry| is_asked_for(entry.name))
}

/// The settings of the method `name` in TOML, the method built from them.
fn built(name: &str, settings: &str) -> Box<dyn Method> {
    (method(name).unwrap().build)(toml::from_str(settings).unwrap()).unwrap()
}

/// The quick settings of a method: those that its entry says, and `epochs` where it has them.
fn trial(entry: &MethodEntry, epochs: u64) -> toml::Table {
    let name = entry.name;
    let mut table: toml::Table = toml::from_str(entry.trial)
        .unwrap_or_else(|e| panic!("{name}: write `trial` of its MethodEntry as TOML settings: {e}"));
    entry
        .default_epochs(&mut table, epochs.try_into().unwrap())
        .unwrap_or_else(|e| panic!("{name}: an empty table must give defaults: {e}"));
    table
}

fn quick(entry: &MethodEntry, epochs: u64) -> Box<dyn Method> {
    (entry.build)(trial(entry, epochs)).unwrap_or_else(|e| {
        panic!(
            "{}: its settings must take `trial` of its MethodEntry, and `epochs` if it trains: {e}",
            entry.name
        )
    })
}

/// The plan of a quick fit on `n_images`.
fn quick_plan(entry: &MethodEntry, n_images: usize) -> Plan {
    quick(entry, EPOCHS).plan(n_images).unwrap_or_else(|e| panic!("{}: no plan: {e}", entry.name))
}

/// The smallest backbone: the one whose weights are drawn, for tests like these.
fn small_backbone(device: &Device) -> LoadedBackbone {
    let is_small = |weights: &Weights| matches!(weights, Weights::Seeded(_));
    let small = BACKBONES.iter().find(|backbone| is_small(&backbone.weights)).unwrap();
    load_backbone(small.name, None, device).unwrap()
}

fn context<'a>(seed: u64, loader_threads: usize, progress: &'a dyn Progress) -> RunContext<'a> {
    context_on(device(), seed, loader_threads, progress)
}

fn context_on<'a>(
    device: &Device,
    seed: u64,
    loader_threads: usize,
    progress: &'a dyn Progress,
) -> RunContext<'a> {
    RunContext {
        device: device.clone(),
        seed: Seed::new(seed),
        preparation: SIZE.into(),
        backbone: Arc::new(small_backbone(device)),
        textures: Textures::Generated,
        loader_threads,
        progress,
        kept: None,
    }
}

fn fit(entry: &MethodEntry, seed: u64, threads: usize) -> Fitted {
    let train = striped_train(24, SIZE, Seed::new(1));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
        quick(entry, EPOCHS)
            .fit(&train, &context(seed, threads, &Silent))
            .unwrap_or_else(|e| panic!("{}: a quick fit failed: {e}", entry.name))
    })
}

fn test_images() -> (Vec<RgbImage>, Vec<Mask>, Vec<Label>) {
    let test = striped_test(6, 6, SIZE, Seed::new(2));
    let masks = (0..test.len()).map(|i| test.mask(i).unwrap().unwrap()).collect();
    let labels = (0..test.len()).map(|i| test.sample(i).label).collect();
    ((0..test.len()).map(|i| test.image(i).unwrap()).collect(), masks, labels)
}

fn bits(predictions: &[Prediction]) -> Vec<u32> {
    predictions
        .iter()
        .flat_map(|p| p.anomaly_map.data().iter().copied().chain([p.image_score]))
        .map(f32::to_bits)
        .collect()
}

#[test]
fn every_method_finds_the_defect_and_survives_saving() {
    let (images, masks, labels) = test_images();
    let folder = tempfile::tempdir().unwrap();
    for entry in methods() {
        let name = entry.name;
        let fitted = fit(entry, 0, 2);
        let detector = fitted.detector;
        let predictions = detector.score(&images).unwrap();
        assert_eq!(predictions.len(), images.len(), "{name}");
        let (mut inside, mut outside, mut normal, mut anomalous) = (0.0, 0.0, 0.0, 0.0);
        for ((prediction, mask), label) in predictions.iter().zip(&masks).zip(&labels) {
            assert_eq!(prediction.anomaly_map.size(), SIZE, "{name}");
            assert!(prediction.anomaly_map.data().iter().all(|v| v.is_finite()), "{name}");
            match label {
                Label::Normal => normal += f64::from(prediction.image_score),
                Label::Anomalous => {
                    anomalous += f64::from(prediction.image_score);
                    for (v, m) in prediction.anomaly_map.data().iter().zip(mask.data()) {
                        let share = f64::from(*v)
                            / if *m == 1 { mask.area() as f64 } else { (SIZE.pixels() - mask.area()) as f64 };
                        if *m == 1 { inside += share } else { outside += share }
                    }
                }
            }
        }
        assert!(
            inside > outside || entry.is_yardstick,
            "{name}: the mean score is {inside} inside the defects and {outside} outside: mend the anomaly map, \
             or set `is_yardstick` in its MethodEntry"
        );
        assert!(
            anomalous > normal,
            "{name}: images with a defect score {anomalous} in all, normal ones {normal}: a higher image score \
             must mean more anomalous"
        );

        // One image alone gives the same bits as in company; on a GPU, whose products of matrices
        // are cut by the size of a batch, nearly so.
        let alone = detector.score(&images[3..4]).unwrap();
        if device().is_cpu() {
            assert_eq!(
                bits(&alone),
                bits(&predictions[3..4]),
                "{name}: the score of an image depends on the others of its batch: the scorer must treat \
                 images alike"
            );
        } else {
            devices::assert_same_verdicts(name, &alone, &predictions[3..4]);
        }

        let dir = folder.path().join(name);
        detector.save(&dir).unwrap();
        let loaded = load_detector(&dir, device()).unwrap();
        assert_eq!(loaded.image_size(), SIZE, "{name}");
        assert_eq!(
            bits(&loaded.score(&images).unwrap()),
            bits(&predictions),
            "{name}: the loaded detector scores otherwise: save every setting and tensor that scoring uses"
        );
        assert!(matches!(detector.save(&dir), Err(MethodError::Write { .. })), "{name}: overwrote a model");
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|n| !n.to_string_lossy().contains("partial")), "{left:?}");
    }
}

#[test]
fn one_seed_gives_one_result_for_any_number_of_threads() {
    let (images, ..) = test_images();
    for entry in methods() {
        let one = bits(&fit(entry, 5, 1).detector.score(&images).unwrap());
        let three = bits(&fit(entry, 5, 3).detector.score(&images).unwrap());
        assert!(
            one == three,
            "{0}: the result depends on the number of threads: sum in an order that does not",
            entry.name
        );
        let other = bits(&fit(entry, 6, 1).detector.score(&images).unwrap());
        let advice = if entry.is_seeded {
            "another seed changed nothing: set `is_seeded` to false in its MethodEntry, or choose a `trial` that draws"
        } else {
            "another seed changed the result: set `is_seeded` to true in its MethodEntry"
        };
        assert_eq!(one != other, entry.is_seeded, "{}: {advice}", entry.name);
    }
}

#[test]
fn training_runs_the_stages_of_the_plan_and_lowers_the_loss_in_each() {
    for entry in methods() {
        let (name, plan, curve) = (entry.name, quick_plan(entry, 24), fit(entry, 0, 2).curve);
        let mut ran: Vec<StagePlan> = Vec::new();
        for point in &curve {
            match ran.last_mut() {
                Some(stage) if stage.id.as_str() == point.stage => stage.epochs += 1,
                _ => ran.push(StagePlan { id: point.stage.clone().into(), epochs: 1 }),
            }
        }
        assert_eq!(ran, plan.stages, "{name}: `plan` must list the stages that `fit` trains, in their order");
        for stage in &plan.stages {
            assert_eq!(stage.epochs, EPOCHS, "{name}: {} must follow the setting `epochs`", stage.id);
            let points = curve.iter().filter(|point| point.stage == stage.id.as_str());
            let losses: Vec<f64> = points.map(|point| point.loss).collect();
            // A few steps each, on other defects each time: only means over epochs can be compared.
            let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
            let (first, last) = (mean(&losses[..4]), mean(&losses[8..]));
            let id = &stage.id;
            assert!(last < first, "{name}: the loss of {id} went from {first} to {last}: {losses:?}");
        }
    }
}
