//! The calibration of a model: its text in a card, and its rule on any scores.

use fmam_inspection::{Calibration, GoodScores, Threshold, threshold_for_misses};

use super::bytes::Seed;

/// An accepted calibration comes back as it was saved, and its thresholds hold their rates.
pub fn calibration(data: &[u8]) -> bool {
    match data.split_first() {
        Some((0, scores)) => of_scores(scores),
        Some((_, text)) => of_text(text),
        None => false,
    }
}

fn of_text(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let Ok(calibration) = toml::from_str::<Calibration>(text) else { return false };
    let written = toml::to_string(&calibration).expect("a calibration was TOML");
    assert!(toml::from_str::<Calibration>(&written).expect("it was written here") == calibration);
    let is_finite = |threshold: Threshold| threshold.score.is_finite() && threshold.contour.is_finite();
    assert!(is_finite(calibration.threshold()));
    let (low, high) = calibration.colour_range();
    assert!(low.is_finite() && high.is_finite() && low <= high, "{low} to {high}");
    for rate in [1e-6, 0.01, 0.1, 0.5, 0.999] {
        assert!(calibration.at_rate(rate).is_ok() == (calibration.scores().least_rate() <= rate));
        assert!(is_finite(calibration.at_rate_or_least(rate).unwrap()));
    }
    true
}

fn of_scores(bytes: &[u8]) -> bool {
    let scores: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
    let Ok(good) = GoodScores::new(scores.clone()) else { return false };
    let n = good.count() as f64;
    for rate in [1e-6, 0.01, 0.05, 0.25, 0.5, 0.999] {
        if let Ok(limit) = good.threshold(rate) {
            let above = scores.iter().filter(|score| **score > limit).count() as f64;
            // One of n + 1 exchangeable scores is new.
            assert!(above <= rate * (n + 1.0) + 1e-9, "{above} of {n} above the threshold of {rate}");
            let p_value = good.p_value(limit);
            assert!(p_value > rate && p_value <= 1.0, "{p_value} at the threshold of {rate}");
        }
        if let Ok(limit) = threshold_for_misses(&scores, rate) {
            let missed = scores.iter().filter(|score| **score <= limit).count() as f64;
            assert!(missed <= rate * n + 1e-9, "{missed} of {n} defects missed at a rate of {rate}");
        }
    }
    true
}

pub(super) fn seeds() -> Vec<Seed> {
    let scores: Vec<u8> = (0..30).flat_map(|at| (at as f32 * 0.7 - 3.0).to_le_bytes()).collect();
    let folder = super::scratch::scratch();
    let model = folder.path().join("model");
    super::model::fit_into(&model, "padim", fmam::ImageSize::new(32, 32));
    let card: toml::Table = std::fs::read_to_string(model.join("model.toml")).unwrap().parse().unwrap();
    let text = card["calibration"].as_table().unwrap().to_string();
    vec![
        ("scores".to_owned(), [&[0], &scores[..]].concat()),
        ("padim.toml".to_owned(), [&b" "[..], text.as_bytes()].concat()),
    ]
}
