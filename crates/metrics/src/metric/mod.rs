//! The registered metrics: one file an entry, one line in [`METRICS`].

mod aupro;
mod image_ap;
mod image_auroc;
mod image_f1;
mod image_f1_max;
mod image_false_alarm_rate;
mod image_fpr_at_95_tpr;
mod image_miss_rate;
mod image_precision;
mod image_recall;
mod pixel_ap;
mod pixel_auroc;

use crate::{Evaluated, MetricError};

pub use aupro::ENTRY as AUPRO;
pub use image_auroc::ENTRY as IMAGE_AUROC;
pub use pixel_auroc::ENTRY as PIXEL_AUROC;

/// Every metric of a run, in the order of the columns of every table.
pub static METRICS: &[&MetricEntry] = &[
    &image_auroc::ENTRY,
    &pixel_auroc::ENTRY,
    &aupro::ENTRY,
    &image_ap::ENTRY,
    &pixel_ap::ENTRY,
    &image_f1_max::ENTRY,
    &image_fpr_at_95_tpr::ENTRY,
    &image_false_alarm_rate::ENTRY,
    &image_miss_rate::ENTRY,
    &image_precision::ENTRY,
    &image_recall::ENTRY,
    &image_f1::ENTRY,
];

/// A registered metric: a fraction in 0..=1.
#[derive(Debug)]
pub struct MetricEntry {
    /// Name in records, JSON, CSV and event files: lower case letters, digits and `_`. The key of a
    /// metric of [`Level::Image`] starts with `image_`.
    pub key: &'static str,
    /// Title of a column, without the word `oracle`.
    pub title: &'static str,
    /// Definition in a line.
    pub summary: &'static str,
    /// Samples that the metric counts.
    pub level: Level,
    /// True where the higher of two values is the better one.
    pub higher_is_better: bool,
    /// True if the metric chooses a threshold on the labels of the test split, which are unknown in
    /// use.
    pub is_oracle: bool,
    /// True if the metric is also a column of the short tables: terminal, LaTeX, list of runs,
    /// categories and ablations. Every metric stands in the table of results and in every file for
    /// machines.
    pub is_headline: bool,
    /// True if the metric is at the fixed threshold of [`Evaluated::with_threshold`]. It is left
    /// out where there is none.
    pub needs_threshold: bool,
    /// Computes the metric.
    pub compute: fn(&Evaluated<'_>) -> Result<f64, MetricError>,
    /// Computes the lower and the upper bound of the metric's interval of the confidence
    /// [`CONFIDENCE`](crate::CONFIDENCE); `None` for a metric without an interval.
    pub interval: Option<IntervalFn>,
}

/// The lower and the upper bound of a metric, see [`MetricEntry::interval`].
pub type IntervalFn = fn(&Evaluated<'_>) -> Result<[f64; 2], MetricError>;

/// Samples that a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Image scores.
    Image,
    /// Pixels of anomaly maps.
    Pixel,
    /// Ground-truth regions of masks.
    Region,
}

impl Level {
    /// `image`, `pixel` or `region`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Pixel => "pixel",
            Self::Region => "region",
        }
    }
}

impl MetricEntry {
    /// False for a metric at a fixed threshold where the test split has none.
    pub fn applies_to(&self, evaluated: &Evaluated<'_>) -> bool {
        !self.needs_threshold || evaluated.threshold().is_some()
    }

    /// The value for a test split. `None` where the ground truth leaves the metric undefined: for a
    /// pixel or region metric where an image lacks its mask, and for a metric of both classes where
    /// all samples are of one. Also `None` for a metric that does not apply, and for the precision
    /// of a threshold that no image is above.
    ///
    /// # Errors
    /// As [`Evaluated::images`], [`Evaluated::pixels`] and [`Evaluated::confusion`], but for what
    /// makes the value `None`.
    pub fn of(&self, evaluated: &Evaluated<'_>) -> Result<Option<f64>, MetricError> {
        if self.applies_to(evaluated) { if_defined((self.compute)(evaluated)) } else { Ok(None) }
    }

    /// The interval of the value for a test split. `None` for a metric without an interval, and
    /// where the value is.
    ///
    /// # Errors
    /// As [`MetricEntry::of`].
    pub fn interval_of(&self, evaluated: &Evaluated<'_>) -> Result<Option<[f64; 2]>, MetricError> {
        match self.interval {
            Some(interval) if self.applies_to(evaluated) => if_defined(interval(evaluated)),
            _ => Ok(None),
        }
    }

    /// The title of a column: `F1-max (oracle)`.
    pub fn heading(&self) -> String {
        if self.is_oracle { format!("{} (oracle)", self.title) } else { self.title.to_owned() }
    }

    /// The heading with its level, as it stands within a sentence: `image F1-max (oracle)`.
    pub fn name_with_level(&self) -> String {
        let (heading, level) = (self.heading(), self.level.name());
        match heading.split_at_checked(level.len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case(level) => format!("{level}{rest}"),
            _ if self.level == Level::Region => heading,
            _ => format!("{level} {heading}"),
        }
    }
}

fn if_defined<T>(result: Result<T, MetricError>) -> Result<Option<T>, MetricError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.lacks_ground_truth() || error == MetricError::NoneAbove => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_entry_is_complete_and_its_key_is_its_own() {
        let mut keys = HashSet::new();
        for metric in METRICS {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(!metric.key.is_empty() && metric.key.chars().all(is_plain), "{}: the key", metric.key);
            assert!(keys.insert(metric.key), "two metrics have the key {}", metric.key);
            assert_eq!(
                metric.key.starts_with("image_"),
                metric.level == Level::Image,
                "{}: a metric of images, and no other, has a key that starts with image_",
                metric.key
            );
            assert!(!metric.title.is_empty() && !metric.summary.is_empty(), "{}: the texts", metric.key);
            assert!(!metric.title.contains("oracle"), "{}: `is_oracle` says it", metric.key);
        }
        let titles: HashSet<String> = METRICS.iter().map(|metric| metric.heading()).collect();
        assert_eq!(titles.len(), METRICS.len(), "two metrics have one title");
    }

    #[test]
    fn every_metric_is_a_fraction_and_a_perfect_detector_has_the_best_one() {
        let labels: Vec<u8> = (0..40).map(|k| u8::from(k % 3 == 0)).collect();
        let masks: Vec<Vec<u8>> =
            (0..40).map(|k| (0..12).map(|p| labels[k] * u8::from(p < 5)).collect()).collect();
        let noise = |k: usize| (k.wrapping_mul(2_654_435_761) >> 7) % 97;
        for share in [0.0, 0.5, 1.0] {
            let score =
                |label: u8, k: usize| share * f32::from(label) + (1.0 - share) * noise(k) as f32 / 97.0;
            let scores: Vec<f32> = labels.iter().enumerate().map(|(k, &label)| score(label, k)).collect();
            let map = |(k, mask): (usize, &Vec<u8>)| {
                mask.iter().enumerate().map(|(p, &label)| score(label, 12 * k + p)).collect::<Vec<f32>>()
            };
            let maps: Vec<Vec<f32>> = masks.iter().enumerate().map(map).collect();
            let pairs = maps.iter().zip(&masks).map(|(map, mask)| (&map[..], &mask[..])).collect();
            let evaluated = Evaluated::new(&scores, &labels).with_maps(pairs, 3, 4).with_threshold(0.5);
            for metric in METRICS {
                let value = metric.of(&evaluated).unwrap().unwrap();
                assert!((0.0..=1.0).contains(&value), "{}: {value} at {share}", metric.key);
                let best = if metric.higher_is_better { 1.0 } else { 0.0 };
                assert!(share < 1.0 || (value - best).abs() < 1e-12, "{}: {value}, not {best}", metric.key);
            }
        }
    }

    #[test]
    fn a_metric_that_the_ground_truth_does_not_allow_is_none() {
        let (scores, map) = ([0.1, 0.9], [0.0, 1.0, 0.5]);
        let without_masks = Evaluated::new(&scores, &[0, 1]);
        let of_mask = |mask| Evaluated::new(&scores, &[0, 1]).with_maps(vec![(&map[..], mask)], 1, 3);
        let one_class = Evaluated::new(&scores, &[1, 1]);
        for metric in METRICS {
            if metric.needs_threshold {
                continue;
            }
            if metric.level == Level::Image {
                assert!(metric.of(&without_masks).unwrap().is_some(), "{}", metric.key);
                assert_eq!(metric.of(&one_class), Ok(None), "{}", metric.key);
                assert_eq!((metric.compute)(&one_class), Err(MetricError::NoNormal), "{}", metric.key);
                assert_eq!(metric.of(&Evaluated::new(&[], &[])), Err(MetricError::Empty), "{}", metric.key);
                continue;
            }
            for evaluated in [&without_masks, &of_mask(&[0; 3][..]), &of_mask(&[1; 3][..])] {
                assert_eq!(metric.of(evaluated), Ok(None), "{}", metric.key);
            }
            let broken = of_mask(&[0, 7, 1]);
            assert!(matches!(metric.of(&broken), Err(MetricError::InMap { map: 0, .. })), "{}", metric.key);
        }
    }

    #[test]
    fn a_sentence_names_the_level_once() {
        let names: Vec<String> = METRICS.iter().map(|metric| metric.name_with_level()).collect();
        let expected =
            ["image AUROC", "pixel AUROC", "AUPRO", "image AP", "pixel AP", "image F1-max (oracle)"];
        assert!(expected.iter().all(|name| names.iter().any(|other| other == name)), "{names:?}");
    }

    #[test]
    fn a_metric_at_a_fixed_threshold_is_none_without_one_and_has_its_interval_with_one() {
        let (scores, labels) = ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]);
        let without = Evaluated::new(&scores, &labels);
        let with = Evaluated::new(&scores, &labels).with_threshold(0.375);
        let expected = [
            ("image_false_alarm_rate", 0.5),
            ("image_miss_rate", 0.5),
            ("image_precision", 0.5),
            ("image_recall", 0.5),
            ("image_f1", 0.5),
        ];
        let at_threshold: Vec<_> = METRICS.iter().filter(|metric| metric.needs_threshold).collect();
        assert_eq!(at_threshold.len(), expected.len());
        for (metric, (key, value)) in at_threshold.into_iter().zip(expected) {
            assert_eq!((metric.of(&without), metric.interval_of(&without)), (Ok(None), Ok(None)), "{key}");
            assert_eq!((metric.compute)(&without), Err(MetricError::NoThreshold), "{key}");
            assert_eq!((metric.key, metric.of(&with)), (key, Ok(Some(value))));
            let [low, high] = metric.interval_of(&with).unwrap().unwrap();
            assert!(0.0 < low && low < value && value < high && high < 1.0, "{key}: {low} to {high}");
        }
        // The other metrics do not depend on it.
        for metric in METRICS.iter().filter(|metric| !metric.needs_threshold && metric.level == Level::Image)
        {
            assert_eq!(metric.of(&without), metric.of(&with), "{}", metric.key);
        }
    }

    #[test]
    fn one_class_has_the_rate_that_it_allows_and_no_image_above_leaves_no_precision() {
        let metric = |key| METRICS.iter().find(|metric| metric.key == key).unwrap();
        let normal = Evaluated::new(&[0.1, 0.9, 0.2, 0.3], &[0; 4]).with_threshold(0.5);
        assert_eq!(metric("image_false_alarm_rate").of(&normal), Ok(Some(0.25)));
        let anomalous = Evaluated::new(&[0.1, 0.9, 0.2, 0.3], &[1; 4]).with_threshold(0.5);
        assert_eq!(metric("image_miss_rate").of(&anomalous), Ok(Some(0.75)));
        assert_eq!(metric("image_recall").of(&anomalous), Ok(Some(0.25)));
        for key in ["image_false_alarm_rate", "image_precision", "image_f1"] {
            assert_eq!(metric(key).of(&anomalous), Ok(None), "{key}");
        }
        for key in ["image_miss_rate", "image_recall", "image_precision", "image_f1"] {
            assert_eq!(
                (metric(key).of(&normal), metric(key).interval_of(&normal)),
                (Ok(None), Ok(None)),
                "{key}"
            );
        }
        let none_above = Evaluated::new(&[0.1, 0.4], &[0, 1]).with_threshold(0.5);
        assert_eq!(metric("image_precision").of(&none_above), Ok(None));
        assert_eq!(metric("image_precision").interval_of(&none_above), Ok(None));
        assert_eq!(metric("image_f1").of(&none_above), Ok(Some(0.0)));
    }
}
