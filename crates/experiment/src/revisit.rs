//! Finished runs, looked at again: their data are opened as their records say, and what an older
//! program did not keep is added.

use std::path::Path;

use candle_core::Device;
use fmam_core::{Preparation, Progress, RegionOfInterest};
use fmam_datasets::{Category, DatasetOptions};
use fmam_record::{DataConfig, MAPS_FILE, OutputFolder, RunRecord, load_run};

use crate::defects::{synthesizer_of, textures};
use crate::grid::analysis_seed;
use crate::{Evaluator, ExperimentError, Registry, analyze};

/// The way from image files to the pixels of a run, without its region of interest.
pub fn preparation_of(record: &RunRecord) -> Preparation {
    let DataConfig { placing, reading, .. } = record.config.data;
    Preparation { size: record.image_size, placing, reading, region: RegionOfInterest::Whole }
}

/// The category that a run was on, with images as `preparation` makes them; nothing is decoded yet.
/// `data_root` says where the data set lies now; without it, it is where it lay then.
///
/// # Errors
/// [`ExperimentError::Dataset`], which names what is missing.
pub fn category_of(
    registry: &Registry,
    record: &RunRecord,
    data_root: Option<&Path>,
    preparation: &Preparation,
) -> Result<Category, ExperimentError> {
    let settings = &record.config.data.options;
    let options = DatasetOptions::new(data_root.or(root_of(record)).map(Path::to_owned), settings)?;
    let dataset = (registry.dataset(&record.dataset)?.open)(&options)?;
    Ok(dataset.category(&record.category, preparation)?)
}

fn root_of(record: &RunRecord) -> Option<&Path> {
    record.config.data.root.as_deref()
}

/// Share of the range of the image scores by which they may differ: another device or version
/// rounds otherwise.
const SAME_SCORES: f32 = 0.01;

/// The largest difference of an image score to that of the record, as a share of the range of
/// these.
fn difference(record: &RunRecord, image_scores: &[f32]) -> f32 {
    let known = || record.artefacts.images.iter().map(|listed| listed.image_score);
    let range = known().fold(f32::MIN, f32::max) - known().fold(f32::MAX, f32::min);
    let largest = known().zip(image_scores).map(|(known, now)| (known - now).abs()).fold(0.0, f32::max);
    largest / range.max(f32::MIN_POSITIVE)
}

/// Loads finished runs and scores their test images again.
pub struct Revisit<'a> {
    /// The methods, backbones and data sets that there are.
    pub registry: &'a Registry,
    /// The folder of the data set; `None` for the folder that the run read.
    pub data_root: Option<&'a Path>,
    /// The device of the detector.
    pub device: &'a Device,
    /// Threads that decode; the result does not depend on it.
    pub loader_threads: usize,
}

impl Revisit<'_> {
    /// Scores the test images again with the saved detector of the finished run `record` under
    /// `out`, and adds to its record the analysis, the curves over the pixels and the maps. What
    /// the record has of figures and scores stays as it is. `None` for a run without a saved
    /// detector.
    ///
    /// # Errors
    /// [`ExperimentError::Method`] for a detector that cannot be read, [`ExperimentError::Record`]
    /// when a grid runs in `out`, [`ExperimentError::DataDiffers`] and
    /// [`ExperimentError::TexturesDiffer`] when there are other images now,
    /// [`ExperimentError::ScoresDiffer`] when they get other scores; as [`category_of`] and
    /// [`Evaluator::evaluate`].
    pub fn run(
        &self,
        out: &Path,
        record: &RunRecord,
        progress: &dyn Progress,
    ) -> Result<Option<RunRecord>, ExperimentError> {
        let Some(model) = &record.artefacts.model else { return Ok(None) };
        let output = OutputFolder::open(out)?;
        let folder = out.join(record.key().dir());
        // As it is now that nobody else can replace it.
        let Some(record) = &load_run(out, &record.key())? else { return Ok(None) };
        let detector = self.registry.load_detector(&folder.join(model), self.device)?;
        let preparation = detector.card().preparation();
        let test = category_of(self.registry, record, self.data_root, &preparation)?.test;
        let known = &record.artefacts.images;
        if known.len() != test.len()
            || (0..test.len()).any(|index| known[index].sample != test.sample(index).id)
        {
            return Err(ExperimentError::DataDiffers { folder });
        }
        let evaluator = Evaluator {
            metrics: self.registry.metrics(),
            config: record.config.evaluation,
            folder: out,
            loader_threads: self.loader_threads,
            progress,
        };
        let evaluation = evaluator.evaluate(&detector, test.as_ref(), |_, _, _| Ok(()))?;
        let share = difference(record, &evaluation.image_scores);
        if share > SAME_SCORES {
            return Err(ExperimentError::ScoresDiffer { folder, share });
        }
        let (textures, name) = textures(self.data_root.or(root_of(record)), record.image_size)?;
        if record.config.data.textures != name {
            let there = record.config.data.textures.clone();
            return Err(ExperimentError::TexturesDiffer { folder, there, now: name });
        }
        let analysis = analyze(
            &detector,
            test.as_ref(),
            &evaluation,
            &synthesizer_of(textures)?,
            analysis_seed(record.seed),
            self.loader_threads,
            progress,
        )?;
        let mut record = record.clone();
        record.analysis = Some(analysis);
        record.pixels = evaluation.pixels;
        record.artefacts.maps = Some(MAPS_FILE.to_owned());
        output.replace_record(&record, &evaluation.small_maps)?;
        Ok(Some(record))
    }
}
