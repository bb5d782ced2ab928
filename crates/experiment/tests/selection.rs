//! The choice of a method by good images alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;
use fmam_core::{ImageSize, Seed, Silent};
use fmam_experiment::{Candidate, ExperimentError, MethodTrial, rank_methods};
use fmam_methods::{RunContext, method};
use fmam_synthesis::Textures;
use fmam_testkit::striped_train;

const SIZE: ImageSize = ImageSize::square(32);

fn rank(names: &[&str], n_good: usize, budget: Duration) -> Result<Vec<MethodTrial>, ExperimentError> {
    let backbone = fmam_models::backbone("tiny").unwrap().load(None, &Device::Cpu).unwrap();
    let run = RunContext {
        device: Device::Cpu,
        seed: Seed::new(0),
        preparation: SIZE.into(),
        backbone: Arc::new(backbone),
        textures: Textures::Generated,
        loader_threads: 1,
        progress: &Silent,
        kept: None,
    };
    let candidate = |name: &&str| {
        let entry = method(name).unwrap();
        let mut settings: toml::Table = toml::from_str(entry.trial).unwrap();
        entry.default_epochs(&mut settings, 2).unwrap();
        Candidate { entry, settings }
    };
    let good = striped_train(n_good, SIZE, Seed::new(3));
    rank_methods(names.iter().map(candidate).collect(), &good, &run, budget)
}

#[test]
fn methods_are_ranked_by_how_well_they_part_defects_from_good_images() {
    let trials = rank(&["teacher", "padim", "rkd"], 20, Duration::from_secs(3600)).unwrap();
    assert_eq!(trials.len(), 3);
    let found: Vec<f64> = trials.iter().map(|trial| trial.separation().unwrap()).collect();
    assert!(found.windows(2).all(|pair| pair[0] >= pair[1]), "{trials:?}");
    assert!(found[0] > 0.6, "{trials:?}");
    for trial in &trials {
        let kinds: Vec<&str> = trial.kinds.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, ["texture", "structure", "small", "confetti"]);
    }
    // Seed and images decide, not the clock.
    let again = rank(&["teacher", "padim", "rkd"], 20, Duration::from_secs(3600)).unwrap();
    let kinds =
        |trials: &[MethodTrial]| trials.iter().map(|t| (t.method, t.kinds.clone())).collect::<Vec<_>>();
    assert_eq!(kinds(&trials), kinds(&again));
}

#[test]
fn what_does_not_end_in_time_is_no_choice() {
    let none = rank(&["padim", "rkd"], 20, Duration::ZERO).unwrap_err();
    assert!(matches!(none, ExperimentError::NoMethodInTime { .. }), "{none}");
    let few = rank(&["padim"], 3, Duration::from_secs(60)).unwrap_err();
    assert!(matches!(few, ExperimentError::TooFewImages { found: 3, .. }), "{few}");
}
