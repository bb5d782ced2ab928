//! Detectors as graphs.

use candle_core::Tensor;
use fmam_core::{Placing, Preparation, RegionOfInterest};
use fmam_methods::Untraceable;
use fmam_models::{Backbone, FeaturePyramid, ModelError, Preprocess};

use super::*;

/// The methods whose verdict is no graph of operators.
const NO_GRAPH: [&str; 1] = ["mrkd"];

#[test]
fn every_method_is_a_graph_or_says_that_it_is_none() {
    for entry in methods() {
        let name = entry.name;
        let detector = fit(entry, 0, 2).detector;
        match detector.trace(device()) {
            Ok(traced) => {
                assert!(!NO_GRAPH.contains(&name), "{name} has a graph: take it from NO_GRAPH");
                let graph = traced.graph.needed_for(&[traced.image_score, traced.anomaly_map]);
                let input = graph.input().unwrap();
                assert!(
                    graph.nodes().iter().any(|node| node.inputs.contains(&input)),
                    "{name}: nothing reads the pixels"
                );
            }
            Err(MethodError::Untraceable { reason: Untraceable::Method, .. }) => {
                assert!(NO_GRAPH.contains(&name), "{name}: write `Scorer::trace`, or add it to NO_GRAPH");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn every_backbone_is_a_graph() {
    let side = |backbone: &LoadedBackbone| backbone.strides().iter().max().unwrap() * 2;
    for spec in BACKBONES {
        let backbone = match spec.weights {
            Weights::File(_) => random_backbone(spec.name, Seed::new(0), device()).unwrap(),
            _ => load_backbone(spec.name, None, device()).unwrap(),
        };
        let size = ImageSize::square(side(&backbone));
        let run =
            RunContext { preparation: size.into(), backbone: Arc::new(backbone), ..context(0, 1, &Silent) };
        let train = striped_train(2, size, Seed::new(1));
        let detector = built("teacher", "").fit(&train, &run).unwrap().detector;
        if let Err(error) = detector.trace(device()) {
            panic!("{}: {error}", spec.name);
        }
    }
}

/// A backbone whose last operator is candle's own, which no trace writes down.
struct ByCandle(LoadedBackbone);

impl Backbone for ByCandle {
    fn features(&self, images: &Tensor) -> Result<FeaturePyramid, ModelError> {
        let scales = self.0.features(images)?.scales;
        Ok(FeaturePyramid { scales: scales.iter().map(Tensor::sqr).collect::<Result<_, _>>()? })
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn channels(&self) -> &[usize] {
        self.0.channels()
    }

    fn strides(&self) -> &[usize] {
        self.0.strides()
    }

    fn preprocess(&self) -> Preprocess {
        self.0.preprocess()
    }
}

#[test]
fn a_backbone_that_writes_nothing_down_is_found_out() {
    let backbone = Arc::new(ByCandle(small_backbone(device())));
    let run = RunContext { backbone, ..context(0, 1, &Silent) };
    let train = striped_train(2, SIZE, Seed::new(1));
    let detector = built("teacher", "").fit(&train, &run).unwrap().detector;
    let error = detector.trace(device()).unwrap_err();
    assert!(matches!(error, MethodError::Untraceable { reason: Untraceable::Operators, .. }), "{error}");
}

#[test]
fn what_the_graph_cannot_do_is_refused() {
    let refused = |preparation: Preparation| {
        let run = RunContext { preparation, ..context(0, 1, &Silent) };
        let train = striped_train(2, SIZE, Seed::new(1));
        let detector = built("teacher", "").fit(&train, &run).unwrap().detector;
        match detector.trace(device()) {
            Err(MethodError::Untraceable { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    };
    let tiles = Preparation { placing: Placing::Tiles { overlap: 8 }, ..SIZE.into() };
    assert_eq!(refused(tiles), Untraceable::Tiles);
    let padded = Preparation { placing: Placing::KeepAspect, ..SIZE.into() };
    assert_eq!(refused(padded), Untraceable::Padding);
    let region = RegionOfInterest::One(Mask::from_fn(SIZE, |y, _| y > 8));
    let part = Preparation { region, ..SIZE.into() };
    assert_eq!(refused(part), Untraceable::Region);
}
