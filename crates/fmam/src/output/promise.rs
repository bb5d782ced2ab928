//! Thresholds and rates in words.

use fmam_inspection::{Basis, Calibration, Procedure};

/// The promise of a threshold that somebody gave.
pub const BY_HAND: &str = "chosen by hand, without a promise";

/// The promise of a threshold of this `basis` in words, for a person: `at most 1 % of good parts
/// score above it, by 120 good images held out`.
pub fn promise(calibration: &Calibration, basis: Basis) -> String {
    let n = calibration.scores().count();
    let images = if n == 1 { "1 good image".to_owned() } else { format!("{n} good images") };
    match (basis, calibration.procedure()) {
        (Basis::FalseAlarms { promised, .. }, Procedure::HoldOut) => {
            format!("at most {} of good parts score above it, by {images} held out", percent(promised))
        }
        (Basis::FalseAlarms { promised, .. }, Procedure::CrossFit) => format!(
            "about {} of good parts score above it, by {images} that were each scored without having been \
             learnt from",
            percent(promised)
        ),
        (Basis::Misses { asked, n_defects }, _) => {
            format!("at most {} of defects like the {n_defects} given score at or below it", percent(asked))
        }
        (Basis::Given, _) => BY_HAND.to_owned(),
    }
}

/// A rate in per cent with three significant digits: `0.1 %`, `9.09 %`.
pub fn percent(rate: f64) -> String {
    let percent = 100.0 * rate;
    let digits = if percent >= 99.95 || percent == 0.0 {
        0
    } else {
        (2 - percent.abs().log10().floor() as i32).clamp(0, 6) as usize
    };
    let text = format!("{percent:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_digits() {
        let written = [0.001, 1.0 / 11.0, 0.05, 0.5, 1.0, 0.0, 0.8667].map(percent);
        assert_eq!(written, ["0.1 %", "9.09 %", "5 %", "50 %", "100 %", "0 %", "86.7 %"]);
    }
}
