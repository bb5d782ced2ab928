use std::collections::HashSet;
use std::path::Path;

use fmam_core::with_causes;
use fmam_datasets::{Category, Repeated};
use fmam_experiment::{Evaluation, findings, image_digest, tell_duplicates};
use fmam_inspection::Calibration;
use fmam_methods::Detector;
use fmam_record::Findings;
use serde::Serialize;

/// Peculiarities of the images of an evaluation that bear on its figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TestFindings {
    /// As the record of a run has them. `duplicates` are pairs of test images, and pairs of a
    /// training image and a test image that the detector knows.
    #[serde(flatten)]
    pub findings: Findings,
    /// Ids of test images that the detector has learnt from or was calibrated on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learnt: Vec<String>,
}

impl TestFindings {
    /// The findings of `evaluation`, which is one of the test images of `category` by `detector`.
    /// Images of the same pixels are warned of. `region` is the file or folder of the region of
    /// interest, where one was given. A training image that cannot be read costs no figure: without
    /// it the depth is unknown.
    pub fn of(
        detector: &Detector,
        category: &Category,
        evaluation: &Evaluation,
        region: Option<&Path>,
    ) -> Self {
        let mut findings = findings(category, evaluation, region);
        findings.bits = category.train.bits().unwrap_or_else(|error| {
            tracing::warn!("the depth of the training images is unknown: {}", with_causes(&*error));
            None
        });
        let (mut repeated, mut pairs) = (Repeated::default(), Vec::new());
        for (index, digest) in evaluation.digests.iter().enumerate() {
            pairs.extend(repeated.add(category.test.sample(index), digest.as_str()));
        }
        tell_duplicates(&pairs);
        findings.duplicates = pairs.into_iter().map(|pair| [pair.first, pair.second]).collect();

        let known = detector.calibration().map(Calibration::known);
        let known = known.into_iter().flat_map(|known| known.learnt.iter().chain(&known.calibrated));
        let known: HashSet<&str> = known.map(String::as_str).collect();
        let learnt: Vec<usize> = (0..evaluation.digests.len())
            .filter(|&index| known.contains(evaluation.digests[index].as_str()))
            .collect();
        if let Some(&first) = learnt.first() {
            let sources = twins(category, &learnt, &evaluation.digests);
            let twin = sources.iter().find(|[_, test]| *test == category.test.sample(first).id);
            tracing::warn!(
                images = learnt.len(),
                first = category.test.sample(first).id.as_str(),
                same_as = twin.map(|[train, _]| train.as_str()),
                "test images are images that the detector learnt from or was calibrated on: their scores are too \
                 low"
            );
            findings.duplicates.extend(sources);
        }
        let id = |index: usize| category.test.sample(index).id.clone();
        Self { findings, learnt: learnt.into_iter().map(id).collect() }
    }

    /// True where nothing was found.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The ids of training images and of the test images at the positions `learnt`, of which `digests`
/// are, that have the same pixels. A training image that cannot be read has no pair.
fn twins(category: &Category, learnt: &[usize], digests: &[String]) -> Vec<[String; 2]> {
    let mut pairs = Vec::new();
    for (index, image) in (0..category.train.len()).map(|index| (index, category.train.image(index))) {
        let Ok(digest) = image.map(|image| image_digest(&image)) else { continue };
        let same = learnt.iter().filter(|test| digests[**test] == digest);
        let train = category.train.sample(index);
        pairs.extend(same.map(|&test| [train.id.clone(), category.test.sample(test).id.clone()]));
    }
    pairs
}
