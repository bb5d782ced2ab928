//! An evaluation of large images row by row gives what one of whole images gives.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::sync::Arc;

use candle_core::Device;
use fmam_core::{
    ImageRows, ImageSize, Mask, MemoryRows, MemorySource, Placing, Preparation, RgbImage, Sample,
    SampleSource, Seed, Silent, SourceError,
};
use fmam_experiment::{
    CalibrationConfig, CalibrationMode, Evaluation, Evaluator, fit_calibrated, image_digest,
};
use fmam_methods::{Detector, RunContext, method};
use fmam_metrics::METRICS;
use fmam_record::EvaluationConfig;
use fmam_synthesis::Textures;
use fmam_testkit::{striped_test, striped_train};

/// The size of the images, which no tile fits evenly.
const SIZE: ImageSize = ImageSize::new(70, 90);

/// A source whose images come by rows alone.
struct ByRows(MemorySource);

impl SampleSource for ByRows {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        self.0.sample(index)
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        Err(format!("image {index} was asked for as a whole").into())
    }

    fn rows(&self, index: usize) -> Result<Option<Box<dyn ImageRows>>, SourceError> {
        Ok(Some(Box::new(MemoryRows::new(self.0.image(index)?))))
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        self.0.mask(index)
    }
}

/// PaDiM learns positions, so that a tile in a wrong place would show.
fn tiled() -> Detector {
    let backbone = fmam_models::backbone("tiny").unwrap().load(None, &Device::Cpu).unwrap();
    let tile = ImageSize::square(32);
    let run = RunContext {
        device: Device::Cpu,
        seed: Seed::new(0),
        preparation: Preparation { placing: Placing::Tiles { overlap: 8 }, ..tile.into() },
        backbone: Arc::new(backbone),
        textures: Textures::Generated,
        loader_threads: 2,
        progress: &Silent,
        kept: None,
    };
    let good = striped_train(8, SIZE, Seed::new(1));
    let config = CalibrationConfig { mode: CalibrationMode::Off, false_alarms: 0.1 };
    let fitted = fit_calibrated(method("padim").unwrap(), &toml::Table::new(), &good, &run, config, None);
    fitted.unwrap().fitted.detector
}

fn evaluated(detector: &Detector, test: &dyn SampleSource) -> (Evaluation, Vec<Vec<f32>>) {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = Evaluator {
        metrics: METRICS,
        config: EvaluationConfig::default(),
        folder: folder.path(),
        loader_threads: 2,
        progress: &Silent,
    };
    let mut maps = Vec::new();
    let evaluation = evaluator.evaluate(detector, test, |_, _, map| {
        maps.push(map.data().to_vec());
        Ok(())
    });
    (evaluation.unwrap(), maps)
}

#[test]
fn images_that_come_by_rows_have_the_figures_of_whole_images() {
    let detector = tiled();
    let test = striped_test(3, 3, SIZE, Seed::new(2));
    let (whole, maps) = evaluated(&detector, &test);
    let digests: Vec<String> = (0..test.len()).map(|at| image_digest(&test.image(at).unwrap())).collect();
    let (by_rows, maps_by_rows) = evaluated(&detector, &ByRows(test));
    assert_eq!(by_rows.metrics, whole.metrics);
    assert_eq!(by_rows.image_scores, whole.image_scores);
    assert_eq!(maps_by_rows, maps);
    assert_eq!((by_rows.digests, whole.digests), (digests.clone(), digests));
}
