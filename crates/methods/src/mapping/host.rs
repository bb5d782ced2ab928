//! Feature mapping for a host without a student: the method keeps or models mapped features in
//! place of the teacher's own.

use std::sync::Arc;

use fmam_core::{CurvePoint, Needs, Plan, SampleSource};

use super::frozen::FrozenMapping;
use super::{Adaptation, MAPPING, MappingConfig, MappingTraining};
use crate::checkpoint::Checkpoint;
use crate::feature_scorer::FeatureExtractor;
use crate::settings::{Check, Settings, overlaid, settings_value};
use crate::{MethodError, RunContext, SavedModel};

/// The settings of such a host.
pub(crate) trait HostSettings: Settings + Default {
    /// The names of the plain method and of that with a mapping.
    const NAMES: [&'static str; 2];

    fn mapping(&self) -> Option<&MappingConfig>;

    fn set_mapping(&mut self, mapping: Option<MappingConfig>);

    /// The name of the method with these settings.
    fn name(&self) -> &'static str {
        Self::NAMES[usize::from(self.mapping().is_some())]
    }

    /// The checked settings of the method: the defaults with or without a mapping, overlaid with
    /// `table`.
    fn configure(has_mapping: bool, table: toml::Table) -> Result<Self, MethodError> {
        let method = Self::NAMES[usize::from(has_mapping)];
        let mut defaults = Self::default();
        defaults.set_mapping(has_mapping.then(MappingConfig::of_views));
        if !has_mapping && table.contains_key(MAPPING) {
            return Err(MappingConfig::refused(method));
        }
        overlaid(method, &defaults, table)
    }

    /// The settings of a saved detector.
    fn of_saved(saved: &SavedModel) -> Result<Self, MethodError> {
        let has_mapping = saved.card().settings.contains_key(MAPPING);
        Self::configure(has_mapping, saved.card().settings.clone())
    }

    /// These settings with the number of epochs of the mapping on `n_images` training images.
    fn resolved(mut self, n_images: usize) -> Self {
        if let Some(mapping) = self.mapping() {
            let epochs = Some(mapping.epochs_on(n_images, usize::MAX));
            let mapping = MappingConfig { epochs, ..mapping.clone() };
            self.set_mapping(Some(mapping));
        }
        self
    }

    /// The plan of the host on `n_images` training images; `needs`: those of the plain method.
    fn plan(&self, n_images: usize, mut needs: Needs) -> Result<Plan, MethodError>
    where
        Self: Clone,
    {
        let resolved = self.clone().resolved(n_images);
        let stages: Vec<_> = resolved.mapping().and_then(MappingConfig::planned).into_iter().collect();
        needs.textures = !stages.is_empty();
        Ok(Plan { settings: settings_value(self.name(), &resolved)?, stages, needs })
    }
}

/// Checks the mapping of a host.
pub(crate) fn check(mapping: Option<&MappingConfig>, check: &mut Check) {
    let Some(mapping) = mapping else { return };
    mapping.check(check);
    let expected = "target-mapping where there is no student";
    let is_of_views = mapping.adaptation == Adaptation::TargetMapping;
    check.require("mapping.adaptation", is_of_views, expected, "another");
}

/// The extractor of mapped features, its mapping trained on `train`, and the loss of that training;
/// the plain extractor without `config`.
pub(crate) fn fitted_extractor(
    config: Option<&MappingConfig>,
    train: &dyn SampleSource,
    run: &RunContext<'_>,
) -> Result<(FeatureExtractor, Vec<CurvePoint>), MethodError> {
    let extractor = FeatureExtractor::of_run(run);
    let Some(config) = config else { return Ok((extractor, Vec::new())) };
    if train.is_empty() {
        return Err(MethodError::NoTrainingImages);
    }
    let epochs = config.epochs_on(train.len(), usize::MAX);
    let trained = MappingTraining { config, epochs, train, run }.fit_target()?;
    let saved = Checkpoint::new(trained.tensors, "the fitted mapping");
    let mapping = FrozenMapping::new(run.backbone.channels(), config, saved, &run.device)?;
    Ok((FeatureExtractor { mapping: Some(Arc::new(mapping)), ..extractor }, trained.curve))
}

/// The extractor of a saved host.
pub(crate) fn saved_extractor(
    config: Option<&MappingConfig>,
    saved: &SavedModel,
) -> Result<FeatureExtractor, MethodError> {
    let extractor = FeatureExtractor::of_saved(saved)?;
    let Some(config) = config else { return Ok(extractor) };
    let network = saved.network(MAPPING)?;
    let mapping = FrozenMapping::new(extractor.backbone.channels(), config, network, saved.device())?;
    Ok(FeatureExtractor { mapping: Some(Arc::new(mapping)), ..extractor })
}
