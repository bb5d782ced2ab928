use std::fmt;

use fmam_metrics::{Evaluated, METRICS, MetricEntry, MetricError};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The metrics of a run by key, each a fraction in 0..=1, in the order of [`METRICS`].
///
/// `None`, null in JSON, is a metric that the ground truth leaves undefined. A key that is missing
/// belongs to a metric that the writing program did not have, or that is at a threshold which the
/// run did not have; a key that this program does not have is kept, after all others, and shown
/// where the reader of a report has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    values: Vec<(String, Option<f64>)>,
}

impl Metrics {
    /// Each of `metrics` that applies to a test split.
    ///
    /// # Errors
    /// As [`MetricEntry::of`].
    pub fn of(evaluated: &Evaluated<'_>, metrics: &[&MetricEntry]) -> Result<Self, MetricError> {
        let applying = metrics.iter().filter(|metric| metric.applies_to(evaluated));
        let values = applying.map(|metric| Ok((metric.key.to_owned(), metric.of(evaluated)?)));
        Ok(Self { values: values.collect::<Result<_, _>>()? })
    }

    /// The value of a metric; `None` where it is undefined or missing.
    pub fn get(&self, metric: &MetricEntry) -> Option<f64> {
        self.values.iter().find(|(key, _)| key == metric.key).and_then(|(_, value)| *value)
    }

    /// True where a metric evaluated the run, be its value defined or not.
    pub fn has(&self, metric: &MetricEntry) -> bool {
        self.values.iter().any(|(key, _)| key == metric.key)
    }

    /// Puts the value of a metric in the place of what is there.
    pub fn set(&mut self, metric: &MetricEntry, value: Option<f64>) {
        match self.values.iter_mut().find(|(key, _)| key == metric.key) {
            Some((_, old)) => *old = value,
            None => {
                self.values.push((metric.key.to_owned(), value));
                self.sort();
            }
        }
    }

    /// Keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<f64>)> {
        self.values.iter().map(|(key, value)| (key.as_str(), *value))
    }

    fn sort(&mut self) {
        let position = |key: &str| METRICS.iter().position(|metric| metric.key == key);
        self.values.sort_by_cached_key(|(key, _)| (position(key).unwrap_or(METRICS.len()), key.clone()));
    }
}

/// Metrics by their keys; of a key that comes twice the first value counts.
impl<K: Into<String>> FromIterator<(K, Option<f64>)> for Metrics {
    fn from_iter<T: IntoIterator<Item = (K, Option<f64>)>>(values: T) -> Self {
        let values = values.into_iter().map(|(key, value)| (key.into(), value)).collect();
        let mut metrics = Self { values };
        metrics.sort();
        metrics.values.dedup_by(|later, kept| later.0 == kept.0);
        metrics
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = Metrics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of metrics, numbers or null")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metrics, A::Error> {
                let mut metrics = Metrics::default();
                while let Some((key, value)) = map.next_entry::<String, Option<f64>>()? {
                    if metrics.values.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom(format_args!("duplicate metric `{key}`")));
                    }
                    metrics.values.push((key, value));
                }
                metrics.sort();
                Ok(metrics)
            }
        }

        deserializer.deserialize_map(Values)
    }
}

#[cfg(test)]
mod tests {
    use fmam_metrics::{AUPRO, IMAGE_AUROC, PIXEL_AUROC};

    use super::*;

    /// The metrics of a record as the first release writes them.
    const FIRST: &str = r#"{"image_auroc":0.9,"pixel_auroc":0.95,"aupro":null,"image_ap":0.96,"pixel_ap":0.5,"image_f1_max":0.925}"#;

    fn read(text: &str) -> Metrics {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_record_of_the_first_release_is_read_and_written_the_same() {
        let metrics = read(FIRST);
        let values = [&IMAGE_AUROC, &PIXEL_AUROC, &AUPRO].map(|metric| metrics.get(metric));
        assert_eq!(values, [Some(0.9), Some(0.95), None]);
        assert!(metrics.has(&AUPRO));
        assert_eq!(serde_json::to_string(&metrics).unwrap(), FIRST);
    }

    #[test]
    fn metrics_of_another_release_may_be_missing_or_unknown() {
        let metrics = read(r#"{"new_b":0.25,"aupro":0.5,"new_a":null,"image_auroc":0.75}"#);
        assert!(!metrics.has(&PIXEL_AUROC) && metrics.get(&PIXEL_AUROC).is_none());
        let kept = r#"{"image_auroc":0.75,"aupro":0.5,"new_a":null,"new_b":0.25}"#;
        assert_eq!(serde_json::to_string(&metrics).unwrap(), kept);
        assert_eq!(read(kept), metrics);
    }

    #[test]
    fn what_is_no_metric_is_refused() {
        for damaged in [r#"{"aupro":1,"aupro":1}"#, r#"{"aupro":"1"}"#, r#"{"aupro":[1]}"#, "[]", "null"] {
            assert!(serde_json::from_str::<Metrics>(damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn a_test_split_has_every_metric_in_the_order_of_the_table() {
        let evaluated = Evaluated::new(&[0.1, 0.9], &[0, 1]).with_threshold(0.5);
        let metrics = Metrics::of(&evaluated, METRICS).unwrap();
        let keys: Vec<&str> = metrics.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, METRICS.iter().map(|metric| metric.key).collect::<Vec<_>>());
        let shuffled: Metrics = metrics.iter().collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(shuffled, metrics);
        assert_eq!(Metrics::of(&Evaluated::new(&[], &[]), METRICS), Err(MetricError::Empty));
    }

    #[test]
    fn a_split_of_one_class_has_the_rates_of_that_class_and_null_elsewhere() {
        let defined = |label| {
            let (scores, labels) = ([0.1, 0.9, 0.2, 0.3], [label; 4]);
            let metrics =
                Metrics::of(&Evaluated::new(&scores, &labels).with_threshold(0.5), METRICS).unwrap();
            assert_eq!(metrics.iter().count(), METRICS.len());
            let values = metrics.iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
            values.collect::<Vec<_>>()
        };
        assert_eq!(defined(0), [("image_false_alarm_rate".to_owned(), 0.25)]);
        let expected = [("image_miss_rate", 0.75), ("image_recall", 0.25)];
        assert_eq!(defined(1), expected.map(|(key, value)| (key.to_owned(), value)));
    }

    #[test]
    fn without_a_threshold_the_metrics_at_it_are_missing_and_not_null() {
        let metrics = Metrics::of(&Evaluated::new(&[0.1, 0.9], &[0, 1]), METRICS).unwrap();
        for metric in METRICS {
            assert_eq!(metrics.has(metric), !metric.needs_threshold, "{}", metric.key);
        }
    }

    #[test]
    fn a_value_is_put_in_its_place() {
        let mut metrics = read(r#"{"aupro":0.5}"#);
        metrics.set(&IMAGE_AUROC, Some(1.0));
        metrics.set(&AUPRO, None);
        assert_eq!(serde_json::to_string(&metrics).unwrap(), r#"{"image_auroc":1.0,"aupro":null}"#);
    }
}
