//! PuzzleAE: a U-Net restores images whose pieces have changed places, trained on the worst small changes of its input; an
//! image is scored by what the restoration misses (Salehi et al. 2020, arXiv:2008.12959).

use std::path::Path;

use candle_core::{Device, Tensor, Var};
use fmam_core::{AnomalyMap, ImageSize, Needs, Plan, RgbImage, SampleSource, Seed, StageId};
use fmam_models::{ModelError, Params, Preprocess, UNet, to_batch};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::MethodEntry;
use crate::model_dir::{ModelDir, Tensors, read_network};
use crate::scoring::{blurred, check_blur, check_size, score_each};
use crate::settings::{parse_settings, settings_table, settings_value};
use crate::training::{Loaded, TrainingConfig};
use crate::{Detector, Fitted, Method, MethodError, Prediction, RunContext};

const NAME: &str = "puzzle-ae";

/// The one training.
const RESTORING: StageId = StageId::new(NAME);

/// Pieces along each side of an image.
const GRID: usize = 2;

/// Pixel values from 0 to 1.
const UNIT: Preprocess = Preprocess { mean: [0.0; 3], std: [1.0; 3] };

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: NAME,
    summary: "a U-Net that restores images from their shuffled quarters",
    paper: "Salehi et al. 2020, arXiv:2008.12959",
    is_seeded: true,
    build: |table| Ok(Box::new(PuzzleAe { config: configure(table)? })),
    load,
};

/// Configuration of PuzzleAE. It uses no backbone. Deviations from the original: a narrower network, fewer epochs, and the
/// mean error over the four cyclic exchanges of the quarters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PuzzleAeConfig {
    /// The training of the network.
    #[serde(flatten)]
    pub training: TrainingConfig,
    /// Channels of the network at full resolution.
    pub width: usize,
    /// Largest change of a pixel value (0 to 1) by the adversary; 0 for none.
    pub epsilon: f64,
    /// Steps of the adversary: 1 is the fast gradient sign method, more are projected gradient descent.
    pub adversarial_steps: usize,
    /// Standard deviation of the Gaussian blur in pixels of a 256-pixel image.
    pub blur_sigma: f64,
}

impl Default for PuzzleAeConfig {
    fn default() -> Self {
        Self {
            training: TrainingConfig::STANDARD,
            width: 16,
            epsilon: 0.03,
            adversarial_steps: 1,
            blur_sigma: 4.0,
        }
    }
}

fn configure(table: toml::Table) -> Result<PuzzleAeConfig, MethodError> {
    let config = parse_settings(NAME, &PuzzleAeConfig::default(), &[], table)?;
    config.training.check(NAME)?;
    check_blur(NAME, "blur_sigma", config.blur_sigma)?;
    let bad =
        |key, expected, actual: String| MethodError::ConfigValue { method: NAME, key, expected, actual };
    if !(1..=256).contains(&config.width) {
        return Err(bad("width", "from 1 to 256", config.width.to_string()));
    }
    if !(0.0..=1.0).contains(&config.epsilon) {
        return Err(bad("epsilon", "from 0 to 1", config.epsilon.to_string()));
    }
    if !(1..=100).contains(&config.adversarial_steps) {
        return Err(bad("adversarial_steps", "from 1 to 100", config.adversarial_steps.to_string()));
    }
    Ok(config)
}

impl PuzzleAeConfig {
    /// `puzzles` changed within [`PuzzleAeConfig::epsilon`] so that `network` restores them worse.
    fn attacked(&self, network: &UNet, puzzles: &Tensor, images: &Tensor) -> Result<Tensor, MethodError> {
        if self.epsilon == 0.0 {
            return Ok(puzzles.clone());
        }
        let step = self.epsilon / self.adversarial_steps as f64;
        let mut changed = puzzles.clone();
        for _ in 0..self.adversarial_steps {
            let input = Var::from_tensor(&changed)?;
            let gradients = restoration_error(network, &input, images)?.mean_all()?.backward()?;
            let Some(gradient) = gradients.get(&input) else { break };
            // The sum of the steps is within epsilon; pixel values stay within theirs.
            changed = (changed + (gradient.sign()? * step)?)?.clamp(0.0, 1.0)?.detach();
        }
        Ok(changed)
    }
}

/// Squared error of what `network` makes of `puzzles`, `[N, 3, H, W]`.
fn restoration_error(network: &UNet, puzzles: &Tensor, images: &Tensor) -> Result<Tensor, MethodError> {
    Ok((network.forward(puzzles)? - images)?.sqr()?)
}

/// `image` with the piece `order[k]` in the place of piece `k`, row by row. Its sides are multiples of the grid's.
fn exchanged(image: &RgbImage, order: [usize; GRID * GRID]) -> RgbImage {
    let ImageSize { height, width } = image.size();
    let (h, w) = (height / GRID, width / GRID);
    RgbImage::from_fn(image.size(), |y, x| {
        let from = order[y / h * GRID + x / w];
        image.pixel(from / GRID * h + y % h, from % GRID * w + x % w)
    })
}

/// The network, and the pieces, need sides that are multiples of the network's stride.
fn check_sides(ImageSize { height, width }: ImageSize) -> Result<(), MethodError> {
    let stride = UNet::STRIDE;
    if [height, width].iter().all(|side| *side > 0 && side.is_multiple_of(stride)) {
        return Ok(());
    }
    Err(ModelError::InputShape { stride, actual: vec![1, 3, height, width] }.into())
}

struct PuzzleAe {
    config: PuzzleAeConfig,
}

impl Method for PuzzleAe {
    fn plan(&self, _n_images: usize) -> Result<Plan, MethodError> {
        let stages = vec![self.config.training.planned(RESTORING)];
        Ok(Plan { settings: settings_value(NAME, &self.config)?, stages, needs: Needs::default() })
    }

    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError> {
        let config = self.config;
        check_sides(run.image_size)?;
        let params = Params::trainable(run.seed.derive(NAME), &run.device);
        let network = UNet::new(config.width, &params)?;
        let prepare = |samples: Vec<Loaded>| {
            let puzzle = |sample: &Loaded| {
                let mut order = std::array::from_fn(|piece| piece);
                order.shuffle(&mut sample.seed.rng());
                exchanged(&sample.image, order)
            };
            let puzzles: Vec<RgbImage> = samples.iter().map(puzzle).collect();
            let images: Vec<RgbImage> = samples.into_iter().map(|sample| sample.image).collect();
            Ok((to_batch(&puzzles, UNIT, &run.device)?, to_batch(&images, UNIT, &run.device)?))
        };
        let curve = config.training.stage(RESTORING).run(
            params.vars(),
            train,
            run,
            prepare,
            |(puzzles, images)| {
                let attacked = config.attacked(&network, &puzzles, &images)?;
                Ok(restoration_error(&network, &attacked, &images)?.mean_all()?)
            },
        )?;
        let tensors = params.tensors()?;
        let place = (run.backbone.name(), run.image_size, run.seed);
        let detector = RestoringDetector::new(config, tensors, "the fitted network", place, &run.device)?;
        Ok(Fitted { detector: Box::new(detector), curve })
    }
}

struct RestoringDetector {
    config: PuzzleAeConfig,
    network: UNet,
    tensors: Tensors,
    /// The backbone of the run, which was not used.
    backbone: String,
    image_size: ImageSize,
    seed: Seed,
    device: Device,
}

impl RestoringDetector {
    fn new(
        config: PuzzleAeConfig,
        tensors: Tensors,
        origin: &str,
        (backbone, image_size, seed): (&str, ImageSize, Seed),
        device: &Device,
    ) -> Result<Self, MethodError> {
        check_sides(image_size)?;
        let params = Params::frozen(tensors.clone(), origin, device);
        let network = UNet::new(config.width, &params)?;
        params.finish(|_| false)?;
        let (backbone, device) = (backbone.to_owned(), device.clone());
        Ok(Self { config, network, tensors, backbone, image_size, seed, device })
    }

    fn score_image(&self, image: &RgbImage) -> Result<Prediction, MethodError> {
        let target = to_batch(std::slice::from_ref(image), UNIT, &self.device)?;
        let mut sum: Option<Tensor> = None;
        const PIECES: usize = GRID * GRID;
        for shift in 0..PIECES {
            let puzzle = exchanged(image, std::array::from_fn(|piece| (piece + shift) % PIECES));
            let puzzle = to_batch(&[puzzle], UNIT, &self.device)?;
            let error = restoration_error(&self.network, &puzzle, &target)?.mean(1)?;
            sum = Some(match sum {
                None => error,
                Some(sum) => (sum + error)?,
            });
        }
        let error = (sum.ok_or(ModelError::EmptyBatch)? / PIECES as f64)?.to_device(&Device::Cpu)?;
        let map = blurred(&error, self.config.blur_sigma, self.image_size)?;
        let anomaly_map = AnomalyMap::new(self.image_size, map.flatten_all()?.to_vec1()?)?;
        Ok(Prediction { image_score: error.mean_all()?.to_scalar::<f32>()?, anomaly_map })
    }
}

impl Detector for RestoringDetector {
    fn image_size(&self) -> ImageSize {
        self.image_size
    }

    fn score(&self, images: &[RgbImage]) -> Result<Vec<Prediction>, MethodError> {
        check_size(images, self.image_size)?;
        score_each(images, |images| images.iter().map(|image| self.score_image(image)).collect())
    }

    fn save(&self, dir: &Path) -> Result<(), MethodError> {
        let config = settings_table(&self.config);
        let model = ModelDir::new(NAME, &self.backbone, self.seed, self.image_size, config);
        model.write(dir, &[("network", &self.tensors)])
    }
}

fn load(dir: &Path, device: &Device) -> Result<Box<dyn Detector>, MethodError> {
    let model = ModelDir::read(dir)?;
    let config = configure(model.config)?;
    let (tensors, origin) = read_network(dir, "network")?;
    let place = (model.backbone.as_str(), model.image_size, model.seed);
    Ok(Box::new(RestoringDetector::new(config, tensors, &origin, place, device)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_change_places_whole() {
        let image = RgbImage::from_fn(ImageSize::new(4, 2), |y, x| [y as u8, x as u8, 0]);
        let puzzle = exchanged(&image, [3, 2, 1, 0]);
        assert_eq!(puzzle.pixel(0, 0), [2, 1, 0]);
        assert_eq!(puzzle.pixel(1, 1), [3, 0, 0]);
        assert_eq!(puzzle.pixel(3, 0), [1, 1, 0]);
        assert_eq!(exchanged(&puzzle, [3, 2, 1, 0]), image);
    }
}
