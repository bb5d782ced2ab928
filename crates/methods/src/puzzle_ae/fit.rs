use candle_core::{Tensor, Var};
use fmam_core::{Needs, Plan, RgbImage, SampleSource, StageId};
use fmam_models::{Params, UNet, to_batch};
use fmam_ops::gradients;
use rand::seq::SliceRandom;

use super::config::{NAME, PuzzleAeConfig};
use super::puzzle::{UNIT, check_sides, exchanged, mean_error, restoration_error};
use super::scorer::{RestorationScorer, load};
use crate::batch_inside::BatchInside;
use crate::checkpoint::Checkpoint;
use crate::settings::{Settings, checked, settings_value};
use crate::training::Loaded;
use crate::{Detector, Fitted, Method, MethodEntry, MethodError, RunContext};

/// The one training.
const RESTORING: StageId = StageId::new(NAME);

pub(crate) static ENTRY: MethodEntry = MethodEntry {
    name: NAME,
    summary: "a U-Net that restores images from their shuffled quarters",
    paper: "Salehi et al. 2020, arXiv:2008.12959",
    in_table1: true,
    is_yardstick: false,
    min_images: 1,
    is_seeded: true,
    trial: "width = 4",
    build: |table| puzzle_ae(PuzzleAeConfig::read(NAME, table)?),
    load,
};
/// PuzzleAE with the settings `config`.
///
/// # Errors
/// [`MethodError::ConfigValue`] for a setting outside its range.
pub fn puzzle_ae(config: PuzzleAeConfig) -> Result<Box<dyn Method>, MethodError> {
    checked(NAME, &config)?;
    Ok(Box::new(PuzzleAe { config }))
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
        check_sides(run.image_size())?;
        let params = Params::trainable(run.seed.derive(NAME), &run.device);
        let network = UNet::new(config.width, &params)?;
        let prepare = |samples: Vec<Loaded>| {
            let puzzle = |sample: &Loaded| {
                let mut order = std::array::from_fn(|piece| piece);
                order.shuffle(&mut sample.seed.rng());
                exchanged(&sample.image, order)
            };
            let puzzles: Vec<RgbImage> = samples.iter().map(puzzle).collect();
            let (images, masks): (Vec<RgbImage>, Vec<_>) =
                samples.into_iter().map(|sample| (sample.image, sample.inside)).unzip();
            let (puzzles, images) =
                (to_batch(&puzzles, UNIT, &run.device)?, to_batch(&images, UNIT, &run.device)?);
            Ok((puzzles, images, BatchInside::new(masks)))
        };
        let curve = config.training.stage(RESTORING).run(
            &params,
            train,
            run,
            prepare,
            |(puzzles, images, inside)| {
                let inside = inside.as_ref();
                let attacked = attacked(&config, &network, &puzzles, &images, inside)?;
                mean_error(&restoration_error(&network, &attacked, &images)?, inside)
            },
        )?;
        let network = Checkpoint::new(params.tensors()?, "the fitted network");
        let scorer = RestorationScorer::new(config.clone(), network, &run.device)?;
        Ok(Fitted { detector: Detector::fitted(NAME, &config, run, scorer)?, curve })
    }
}

/// `puzzles`, changed within [`PuzzleAeConfig::epsilon`] so that `network` restores them worse.
fn attacked(
    config: &PuzzleAeConfig,
    network: &UNet,
    puzzles: &Tensor,
    images: &Tensor,
    inside: Option<&BatchInside>,
) -> Result<Tensor, MethodError> {
    if config.epsilon == 0.0 {
        return Ok(puzzles.clone());
    }
    let step = config.epsilon / config.adversarial_steps as f64;
    let mut changed = puzzles.clone();
    for _ in 0..config.adversarial_steps {
        let input = Var::from_tensor(&changed)?;
        let error = || mean_error(&restoration_error(network, &input, images)?, inside);
        let (_, found) = gradients(error)?;
        let Some(gradient) = found.get(&input) else { break };
        // The sum of the steps is within epsilon; pixel values stay within theirs.
        changed = (changed + (gradient.sign()? * step)?)?.clamp(0.0, 1.0)?.detach();
    }
    Ok(changed)
}
