use fmam_metrics::MetricEntry;
use fmam_record::{Analysis, DefectAnalysis, FeatureScatter, Metrics};

/// The figures of the metrics `shown` in per cent as lines of text: those of images, then of
/// pixels, then of regions.
pub fn metrics_table(shown: &[&MetricEntry], metrics: &Metrics) -> String {
    let mut rows = shown.to_vec();
    rows.sort_by_key(|metric| metric.level);
    let width = rows.iter().map(|metric| metric.name_with_level().chars().count()).max().unwrap_or(0).max(22);
    rows.into_iter()
        .map(|metric| {
            let value = metrics.get(metric);
            let value = value.map_or_else(|| "–".to_owned(), |value| format!("{:.1}", 100.0 * value));
            format!("{:<width$} {value:>5}\n", metric.name_with_level())
        })
        .collect()
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
