use fmam_inspection::{Basis, Procedure};
use fmam_metrics::MetricEntry;
use fmam_record::{Analysis, Decision, DefectAnalysis, FeatureScatter, Metrics};

/// The figures of the metrics `shown` in per cent as lines of text: those of images, then of
/// pixels, then of regions. Metrics at a fixed threshold have their intervals, and the threshold
/// stands below; without a `decision` they are left out, which the last line says.
pub fn metrics_table(shown: &[&MetricEntry], metrics: &Metrics, decision: Option<&Decision>) -> String {
    let mut rows = shown.to_vec();
    rows.retain(|metric| decision.is_some() || !metric.needs_threshold);
    rows.sort_by_key(|metric| metric.level);
    let width = rows.iter().map(|metric| metric.name_with_level().chars().count()).max().unwrap_or(0).max(22);
    let mut text = String::new();
    for metric in rows {
        let value = metrics.get(metric);
        let value = value.map_or_else(|| "–".to_owned(), |value| format!("{:.1}", 100.0 * value));
        text += &format!("{:<width$} {value:>5}", metric.name_with_level());
        if let Some([low, high]) = decision.and_then(|decision| decision.interval(metric)) {
            text += &format!("  ({:.1} to {:.1})", 100.0 * low, 100.0 * high);
        }
        text.push('\n');
    }
    let at_threshold = shown.iter().filter(|metric| metric.needs_threshold);
    let at_threshold: Vec<String> = at_threshold.map(|metric| metric.name_with_level()).collect();
    match decision {
        Some(decision) => text += &format!("\n{}", threshold_line(decision)),
        None if at_threshold.is_empty() => {}
        None => {
            let names = at_threshold.join(", ");
            text += &format!("\nThe detector is not calibrated; without a threshold there is no {names}.\n");
        }
    }
    text
}

/// The threshold and its reason, and the confidence of the intervals.
fn threshold_line(Decision { threshold, procedure, confidence, .. }: &Decision) -> String {
    let reason = match threshold.basis {
        Basis::FalseAlarms { promised, .. } => {
            let (bound, images) = match procedure {
                Procedure::HoldOut => ("at most", "held-out"),
                Procedure::CrossFit => ("about", "cross-fitted"),
            };
            format!("for {bound} {} of false alarms, by {images} good images", per_cent(promised))
        }
        Basis::Misses { asked, n_defects } => {
            format!("for at most {} misses, by {n_defects} images with defects", per_cent(asked))
        }
        Basis::Given => "as it was given".to_owned(),
    };
    format!("Threshold {} {reason}. In brackets: {} intervals.\n", threshold.score, per_cent(*confidence))
}

/// A rate in per cent, with two decimals at most.
fn per_cent(rate: f64) -> String {
    format!("{} %", (1e4 * rate).round() / 100.0)
}

/// An analysis as lines of text, under the title `model`.
pub fn analysis_table(model: &str, analysis: &Analysis) -> String {
    let mut text = format!("{model}\n\n");
    text += "stride  channels  defects     features     bias  variance  bias/dev\n";
    for scale in &analysis.scales {
        let kinds: [(&str, &Option<DefectAnalysis>); 2] =
            [("real", &scale.real), ("synthetic", &scale.synthetic)];
        for (kind, defects) in kinds.into_iter().filter_map(|(kind, defects)| Some((kind, defects.as_ref()?)))
        {
            let rows = [
                ("teacher", Some(defects.before)),
                ("adapted", defects.after),
                ("student", defects.discrepancy),
            ];
            for (name, scatter) in rows.into_iter().filter_map(|(name, scatter)| Some((name, scatter?))) {
                let FeatureScatter { bias, variance, bias_per_deviation } = scatter;
                text += &format!(
                    "{:>6}  {:>8}  {kind:<10}  {name:<9}  {bias:>7.3}  {variance:>8.4}  {bias_per_deviation:>8.2}\n",
                    scale.stride, scale.channels
                );
            }
        }
    }
    text += "\nscores       overlap  Fisher's ratio  KS distance\n";
    for (name, scores) in [("of images", analysis.image_scores), ("of pixels", analysis.pixel_scores)] {
        if let Some(scores) = scores {
            text += &format!(
                "{name:<11}  {:>7.3}  {:>14.3}  {:>11.3}\n",
                scores.overlap, scores.fisher_ratio, scores.ks_distance
            );
        }
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use fmam_inspection::Threshold;
    use fmam_metrics::{Evaluated, METRICS};

    use super::*;

    const SCORES: [f32; 4] = [0.1, 0.4, 0.35, 0.8];
    const LABELS: [u8; 4] = [0, 0, 1, 1];

    fn table(score: f32, basis: Basis) -> String {
        let evaluated = Evaluated::new(&SCORES, &LABELS).with_threshold(score);
        let metrics = Metrics::of(&evaluated, METRICS).unwrap();
        let threshold = Threshold { score, contour: score, basis };
        let decision = Decision::new(threshold, Procedure::HoldOut, &evaluated, METRICS).unwrap();
        metrics_table(METRICS, &metrics, Some(&decision))
    }

    /// The rest of the line that starts with `name`.
    fn row<'a>(text: &'a str, name: &str) -> &'a str {
        text.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim()
    }

    #[test]
    fn rates_stand_with_their_intervals_and_the_threshold_with_its_reason() {
        let text = table(0.375, Basis::FalseAlarms { asked: 0.01, promised: 1.0 / 41.0 });
        assert_eq!(row(&text, "image false-alarm rate"), "50.0  (9.5 to 90.5)", "{text}");
        assert!(row(&text, "image F1 ").starts_with("50.0  ("), "{text}");
        assert!(!row(&text, "image AUROC").contains('('), "{text}");
        let last = "\nThreshold 0.375 for at most 2.44 % of false alarms, by held-out good images. In brackets: 95 % intervals.\n";
        assert!(text.ends_with(last), "{text}");
        let text = table(0.9, Basis::Misses { asked: 0.05, n_defects: 7 });
        assert_eq!(row(&text, "image precision"), "–", "{text}");
        assert!(text.contains("for at most 5 % misses, by 7 images with defects"), "{text}");
        assert!(table(0.9, Basis::Given).contains("\nThreshold 0.9 as it was given."));
    }

    #[test]
    fn without_a_threshold_one_line_says_what_is_left_out() {
        let metrics = Metrics::of(&Evaluated::new(&SCORES, &LABELS), METRICS).unwrap();
        let text = metrics_table(METRICS, &metrics, None);
        let rows: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
        assert_eq!(rows.len(), METRICS.iter().filter(|metric| !metric.needs_threshold).count(), "{text}");
        let last = "The detector is not calibrated; without a threshold there is no image false-alarm rate, image \
                    miss rate, image precision, image recall, image F1.\n";
        assert!(text.ends_with(last), "{text}");
        // A program whose metrics need no threshold misses nothing.
        let others: Vec<_> = METRICS.iter().copied().filter(|metric| !metric.needs_threshold).collect();
        assert!(!metrics_table(&others, &metrics, None).contains("threshold"));
    }
}
