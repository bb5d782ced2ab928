//! The scorer of a distillation method: teacher and student, compared position by position.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use fmam_core::{ImageSize, RgbImage, SampleSource, StageId, Subset};
use fmam_models::{Backbone, FeaturePyramid, to_batch};
use fmam_ops::side_by_side;
use fmam_synthesis::Synthesizer;
use rayon::prelude::*;

use super::config::{DistanceReference, DistillationConfig, Flavour};
use super::evidence::{EvidenceConfig, fit_gate};
use super::gate::Gate;
use super::grid_gaussians::GridGaussians;
use super::networks::{MappedTeacher, ScaledStudent};
use super::patch_memory::PatchMemory;
use super::position_scale::{MapMoments, PositionScale};
use crate::batch_inside::extended_maps;
use crate::checkpoint::{Checkpoint, Tensors};
use crate::mapping::MAPPING;
use crate::per_tile::{PerTile, samples_by_tile};
use crate::sample_features::spread_images;
use crate::scorer::TracedPrediction;
use crate::scoring::{predictions, traced_prediction};
use crate::{AdaptedFeatures, MethodError, Place, Prediction, RunContext, SavedModel, Scorer};

/// The files of the networks, without their ending.
const STUDENT: &str = "student";
const REFERENCE: &str = "reference";
const BASE_STUDENT: &str = "base-student";
const EVIDENCE: &str = "evidence";

/// Training images whose distance maps are measured, at most.
const REFERENCE_IMAGES: usize = 512;

pub(super) struct DistillationScorer {
    config: DistillationConfig,
    teacher: MappedTeacher,
    student: ScaledStudent,
    student_tensors: Tensors,
    /// The scale of distances at each position, where the settings ask for it.
    positions: Option<PerTile<PositionScale>>,
    /// The student of the plain method, with its tensors.
    base: Option<(ScaledStudent, Tensors)>,
    gaussians: Option<GridGaussians>,
    patches: Option<PatchMemory>,
    /// The weights of the evidence; `None` where the discrepancy alone counts.
    gate: Option<Gate>,
    device: Device,
}

impl DistillationScorer {
    pub(super) fn new(
        flavour: &Flavour,
        config: DistillationConfig,
        teacher: MappedTeacher,
        student: Checkpoint,
        device: &Device,
    ) -> Result<Self, MethodError> {
        let frozen = ScaledStudent::frozen(flavour, &config, teacher.backbone.as_ref(), &student, device)?;
        Ok(Self {
            config,
            teacher,
            student: frozen,
            student_tensors: student.tensors,
            positions: None,
            base: None,
            gaussians: None,
            patches: None,
            gate: None,
            device: device.clone(),
        })
    }

    /// Adds the student of the plain method.
    pub(super) fn add_base(&mut self, flavour: &Flavour, student: Checkpoint) -> Result<(), MethodError> {
        let (backbone, config) = (self.teacher.backbone.as_ref(), self.config.base());
        let frozen = ScaledStudent::frozen(flavour, &config, backbone, &student, &self.device)?;
        self.base = Some((frozen, student.tensors));
        Ok(())
    }

    /// Adds the Gaussians of the teacher's features.
    pub(super) fn add_gaussians(&mut self, gaussians: GridGaussians) {
        self.gaussians = Some(gaussians);
    }

    /// Adds the memory of the teacher's patches.
    pub(super) fn add_patches(&mut self, patches: PatchMemory) {
        self.patches = Some(patches);
    }

    /// Weighs the evidence by the images `held_out` of `train`.
    pub(super) fn fit_gate(
        &mut self,
        train: &dyn SampleSource,
        held_out: Vec<usize>,
        synthesizer: &Synthesizer,
        run: &RunContext<'_>,
    ) -> Result<(), MethodError> {
        let pieces = |images: &[RgbImage], places: &[Place<'_>]| self.evidence(images, places);
        let blur_sigma = self.config.scoring.blur_sigma;
        let gate = fit_gate(&pieces, blur_sigma, (train, held_out), synthesizer, run)?;
        for (piece, weight) in self.piece_names().iter().zip(gate.weights()) {
            tracing::info!(piece, weight, "evidence weighed");
        }
        self.gate = Some(gate);
        Ok(())
    }

    /// The distance maps of `images`, (N, H, W) a scale.
    fn distances(&self, images: &[RgbImage]) -> Result<Vec<Tensor>, MethodError> {
        let batch = to_batch(images, self.teacher.backbone.preprocess(), &self.device)?;
        self.discrepancy(&batch, &self.teacher.backbone.features(&batch)?)
    }

    /// The distance maps of a batch with the teacher's `features`.
    fn discrepancy(&self, batch: &Tensor, features: &FeaturePyramid) -> Result<Vec<Tensor>, MethodError> {
        let target = self.teacher.target(features)?;
        let output = self.student.forward(batch, &target)?;
        self.config.distance().maps(&self.teacher.to_compare(target)?, &self.teacher.to_compare(output)?)
    }

    /// The pieces of evidence, `[N, H, W]` each: the discrepancy at each scale, that of the plain
    /// method, the distance to each of the Gaussians, and that to the memory of patches.
    fn evidence(&self, images: &[RgbImage], places: &[Place<'_>]) -> Result<Vec<Tensor>, MethodError> {
        let batch = to_batch(images, self.teacher.backbone.preprocess(), &self.device)?;
        let is_plain = self.teacher.mapping_tensors().is_none()
            && self.base.is_none()
            && self.gaussians.is_none()
            && self.patches.is_none();
        let (mut pieces, others) = if is_plain {
            let (features, output) = self.student.beside(self.teacher.backbone.as_ref(), &batch)?;
            (self.config.distance().maps(&features, &output)?, Vec::new())
        } else {
            let features = self.teacher.backbone.features(&batch)?;
            let (mapped, others) = side_by_side(
                &self.device,
                || self.discrepancy(&batch, &features),
                || self.further_evidence(&batch, &features),
            );
            (mapped?, others?)
        };
        if let Some(positions) = &self.positions {
            pieces = in_deviations(&pieces, positions, places)?;
        }
        pieces.extend(others);
        Ok(pieces)
    }

    /// The pieces of evidence behind the first, from the teacher's `features` of a batch.
    fn further_evidence(
        &self,
        batch: &Tensor,
        features: &FeaturePyramid,
    ) -> Result<Vec<Tensor>, MethodError> {
        let mut pieces = Vec::new();
        if let Some((student, _)) = &self.base {
            let output = student.forward(batch, features)?;
            pieces.extend(self.config.distance().maps(features, &output)?);
        }
        if let Some(gaussians) = &self.gaussians {
            pieces.extend(gaussians.maps(features)?);
        }
        if let Some(patches) = &self.patches {
            pieces.push(patches.map(features)?);
        }
        Ok(pieces)
    }

    /// The names of the pieces that [`DistillationScorer::evidence`] gives, in its order.
    fn piece_names(&self) -> Vec<String> {
        let strides = self.teacher.backbone.strides();
        let at_each =
            |name: &'static str| strides.iter().map(move |stride| format!("{name} at stride {stride}"));
        let mut names: Vec<String> = at_each("mapped").collect();
        if self.base.is_some() {
            names.extend(at_each("base"));
        }
        if let Some(gaussians) = &self.gaussians {
            names.extend(gaussians.names(strides));
        }
        if self.patches.is_some() {
            names.push("patches".to_owned());
        }
        names
    }

    /// Measures the distance maps of training images, or of each of their tiles, where the settings
    /// ask for it.
    pub(super) fn measure_positions(
        &mut self,
        train: &dyn SampleSource,
        is_tiled: bool,
        run: &RunContext<'_>,
    ) -> Result<(), MethodError> {
        if self.config.scoring.reference == DistanceReference::None {
            return Ok(());
        }
        let (samples, mut n_measured) = (samples_by_tile(train), 0);
        let total: usize = samples.values().map(|samples| samples.len().min(REFERENCE_IMAGES)).sum();
        run.progress.start(&StageId::new("measuring maps"), total as u64);
        let mut tiles = BTreeMap::new();
        for (tile, samples) in samples {
            let mut moments = MapMoments::default();
            spread_images(&Subset::new(train, samples), REFERENCE_IMAGES, run, |images| {
                // As in scoring: on cores one image at a time and several at once, on a GPU all.
                let pixels: Vec<RgbImage> = images.iter().map(|image| image.image.clone()).collect();
                let together = if self.takes_batches() { pixels.len().max(1) } else { 1 };
                let maps = pixels.par_chunks(together).map(|pixels| self.distances(pixels));
                let maps = maps.collect::<Result<Vec<_>, _>>()?;
                for (n, image) in images.iter().enumerate() {
                    let of_image = maps[n / together].iter().map(|map| map.narrow(0, n % together, 1));
                    moments.add(&of_image.collect::<Result<Vec<_>, _>>()?, image.place())?;
                }
                n_measured += images.len() as u64;
                run.progress.update(n_measured, "");
                Ok(())
            })?;
            tiles.insert(tile, moments.scale(&self.device)?);
        }
        run.progress.finish();
        self.positions = Some(PerTile::new(tiles, is_tiled));
        Ok(())
    }
}

impl Scorer for DistillationScorer {
    fn score(&self, images: &[RgbImage], places: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
        let Some(size) = images.first().map(RgbImage::size) else { return Ok(Vec::new()) };
        let pieces = self.evidence(images, places)?;
        let maps = match &self.gate {
            Some(gate) => gate.combine(pieces)?,
            None => pieces,
        };
        let maps = extended_maps(maps, places)?;
        let scoring = &self.config.scoring;
        predictions(&maps, scoring.combination, scoring.blur_sigma, size)
    }

    fn trace(&self, pixels: &Tensor) -> Result<Option<TracedPrediction>, MethodError> {
        let (_, _, height, width) = pixels.dims4()?;
        let batch = self.teacher.backbone.preprocess().normalized(pixels)?;
        let features = self.teacher.backbone.features(&batch)?;
        let mut pieces = self.discrepancy(&batch, &features)?;
        if let Some(positions) = &self.positions {
            pieces = in_deviations(&pieces, positions, &[Place::default()])?;
        }
        // One after the other: a graph must have its operators in the same order each time.
        pieces.extend(self.further_evidence(&batch, &features)?);
        let maps = match &self.gate {
            Some(gate) => gate.combine(pieces)?,
            None => pieces,
        };
        let (scoring, size) = (&self.config.scoring, ImageSize::new(height, width));
        Ok(Some(traced_prediction(&maps, scoring.combination, scoring.blur_sigma, size)?))
    }

    fn score_is_peak(&self) -> bool {
        true
    }

    fn takes_batches(&self) -> bool {
        !self.device.is_cpu()
    }

    fn features(&self, images: &[RgbImage]) -> Result<Option<AdaptedFeatures>, MethodError> {
        let batch = to_batch(images, self.teacher.backbone.preprocess(), &self.device)?;
        let teacher = self.teacher.backbone.features(&batch)?;
        let target = self.teacher.target(&teacher)?;
        let expected = self.teacher.to_compare(self.student.forward(&batch, &target)?)?;
        let has_mapping = self.teacher.mapping_tensors().is_some();
        let adapted = has_mapping.then(|| self.teacher.to_compare(target)).transpose()?;
        Ok(Some(AdaptedFeatures { teacher, adapted, expected: Some(expected) }))
    }

    fn backbone(&self) -> Option<&dyn Backbone> {
        Some(self.teacher.backbone.as_ref())
    }

    fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
        let mapping = self.teacher.mapping_tensors().map(|tensors| (MAPPING, tensors.clone()));
        let student = (STUDENT, self.student_tensors.clone());
        let mut networks: Vec<_> = [Some(student), mapping].into_iter().flatten().collect();
        if let Some(positions) = &self.positions {
            networks.push((REFERENCE, positions.tensors(|scale| Ok(scale.tensors()))?));
        }
        if let Some((_, tensors)) = &self.base {
            networks.push((BASE_STUDENT, tensors.clone()));
        }
        if let Some(gate) = &self.gate {
            let mut tensors = gate.tensors()?;
            if let Some(gaussians) = &self.gaussians {
                tensors.extend(gaussians.tensors()?);
            }
            if let Some(patches) = &self.patches {
                tensors.extend(patches.tensors()?);
            }
            networks.push((EVIDENCE, tensors));
        }
        Ok(networks)
    }
}

/// `maps` of the scales of a batch in deviations from the mean at their positions.
fn in_deviations(
    maps: &[Tensor],
    positions: &PerTile<PositionScale>,
    places: &[Place<'_>],
) -> Result<Vec<Tensor>, MethodError> {
    let first = places.first().map_or(0, |place| place.tile);
    let scale = |(k, map): (usize, &Tensor)| {
        if places.iter().all(|place| place.tile == first) {
            return positions.get(first)?.apply(k, map);
        }
        let image =
            |(n, place): (usize, &Place<'_>)| positions.get(place.tile)?.apply(k, &map.narrow(0, n, 1)?);
        let images = places.iter().enumerate().map(image).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::cat(&images, 0)?)
    };
    maps.iter().enumerate().map(scale).collect()
}

/// Reads a saved detector of `flavour`.
pub(super) fn load(flavour: &Flavour, saved: &SavedModel) -> Result<Box<dyn Scorer>, MethodError> {
    let (backbone, device) = (saved.backbone()?, saved.device());
    let mut config = flavour.configure(saved.card.settings.clone())?;
    // A detector of the time before evidence was weighed, or before there was a memory of patches.
    match saved.card.settings.get("evidence") {
        None => config.evidence = None,
        Some(table) if table.get("patches").is_none() => {
            config.evidence = config.evidence.map(|evidence| EvidenceConfig { patches: 0.0, ..evidence });
        }
        Some(_) => (),
    }
    let mapping = config.has_mapping().then(|| saved.network(MAPPING)).transpose()?;
    let n_scales = backbone.channels().len();
    let positions = match config.scoring.reference {
        DistanceReference::None => None,
        DistanceReference::Position => {
            let (reference, is_tiled) = (saved.network(REFERENCE)?, saved.card().fixed_size.is_some());
            Some(PerTile::read(&reference, is_tiled, |tile| PositionScale::read(tile, n_scales, device))?)
        }
    };
    let teacher = MappedTeacher::new(backbone, &config, mapping, device)?;
    let scorer = DistillationScorer::new(flavour, config, teacher, saved.network(STUDENT)?, device)?;
    let mut scorer = DistillationScorer { positions, ..scorer };
    if let Some(evidence) = scorer.config.weighed().cloned() {
        let weights = saved.network(EVIDENCE)?;
        let gate = Gate::read(&weights)?;
        if evidence.base {
            scorer.add_base(flavour, saved.network(BASE_STUDENT)?)?;
        }
        if evidence.gaussians && saved.card().preparation().tile_overlap().is_none() {
            scorer.add_gaussians(GridGaussians::read(&weights, scorer.teacher.backbone.channels())?);
        }
        if evidence.patches > 0.0 {
            let backbone = scorer.teacher.backbone.as_ref();
            scorer.add_patches(PatchMemory::read(&weights, backbone, (flavour.name, device))?);
        }
        gate.check(&weights, scorer.piece_names().len())?;
        scorer.gate = Some(gate);
    }
    Ok(Box::new(scorer))
}
