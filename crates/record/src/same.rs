//! Comparison of two runs.

use serde_json::Value;

use crate::{RecordError, RunConfig, differences};

/// A setting in which two runs differ.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingDifference {
    /// The setting with its parents: `method.mapping.epochs`.
    pub key: String,
    /// Its value in the first run, null where it has none.
    pub there: Value,
    /// Its value in the second run.
    pub here: Value,
}

/// The settings in which two runs differ. Contents go before places: where both know the digest of
/// the weights or of the data, the path is not compared; where one does not know it, the path is.
/// Neither the fingerprint of the data is compared, which says nothing on another machine, nor the
/// stages, which follow from the settings of the method. A setting that a record leaves out has its
/// default.
///
/// # Errors
/// [`RecordError::Json`].
pub fn setting_differences(
    there: &RunConfig,
    here: &RunConfig,
) -> Result<Vec<SettingDifference>, RecordError> {
    let (mut a, mut b) = (there.clone(), here.clone());
    for config in [&mut a, &mut b] {
        config.stages = Vec::new();
        config.data.fingerprint = None;
    }
    if a.weights_sha256.is_some() && b.weights_sha256.is_some() {
        (a.weights, b.weights) = (None, None);
    } else {
        (a.weights_sha256, b.weights_sha256) = (None, None);
    }
    if a.data.sha256.is_some() && b.data.sha256.is_some() {
        (a.data.root, b.data.root) = (None, None);
    } else {
        (a.data.sha256, b.data.sha256) = (None, None);
    }
    let value = |config: RunConfig| with_defaults(&config).map_err(|source| RecordError::Json { source });
    let (a, b) = (value(a)?, value(b)?);
    let found = differences(&a, &b).into_iter();
    Ok(found
        .map(|(key, there, here)| SettingDifference { key, there: there.clone(), here: here.clone() })
        .collect())
}

/// The JSON form of `config` with the settings of images and evaluation that a record leaves out.
fn with_defaults(config: &RunConfig) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(config)?;
    value["data"]["placing"] = serde_json::to_value(config.data.placing)?;
    value["data"]["reading"] = serde_json::to_value(config.data.reading)?;
    value["evaluation"] = serde_json::to_value(config.evaluation)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use fmam_core::{ImageSize, Placing, StageId, StagePlan, ValueRange};
    use serde_json::json;

    use super::*;
    use crate::Resolution;

    fn keys(change: impl FnOnce(&mut RunConfig, &mut RunConfig)) -> Vec<String> {
        let (mut a, mut b) = (RunConfig::default(), RunConfig::default());
        change(&mut a, &mut b);
        setting_differences(&a, &b).unwrap().into_iter().map(|difference| difference.key).collect()
    }

    #[test]
    fn contents_are_compared_where_they_are_known_and_places_elsewhere() {
        let some = |text: &str| Some(text.to_owned());
        for (there, here, expected) in [
            (some("a"), some("a"), &[][..]),
            (some("a"), some("b"), &["weights_sha256"][..]),
            (None, some("b"), &["weights"][..]),
            (None, None, &["weights"][..]),
        ] {
            let found = keys(|a, b| {
                (a.weights, b.weights) = (Some("x.pth".into()), Some("y.pth".into()));
                (a.weights_sha256, b.weights_sha256) = (there, here);
            });
            assert_eq!(found, expected);
        }
        let found = keys(|a, b| {
            (a.data.root, b.data.root) = (Some("x".into()), Some("y".into()));
            (a.data.sha256, b.data.sha256) = (some("a"), some("b"));
        });
        assert_eq!(found, ["data.sha256"]);
        let found = keys(|a, b| (a.data.root, b.data.root) = (Some("x".into()), Some("y".into())));
        assert_eq!(found, ["data.root"]);
    }

    #[test]
    fn image_settings_are_compared_one_by_one_and_limits_of_the_machine_are_not() {
        let found = keys(|_, b| {
            b.data.image_size = ImageSize::new(160, 768);
            b.data.placing = Placing::KeepAspect;
            b.data.reading.values = ValueRange::Bits(12);
            b.data.reading.max_bytes = 1;
            b.data.roi_sha256 = Some("0123".to_owned());
            b.evaluation.at = Resolution::Original;
        });
        let expected =
            ["data.image_size", "data.placing", "data.reading.values", "data.roi_sha256", "evaluation.at"];
        assert_eq!(found, expected);
        assert!(keys(|a, _| a.data.reading.max_bytes = 1).is_empty());

        let (a, mut b) = (RunConfig::default(), RunConfig::default());
        b.evaluation.at = Resolution::Original;
        let [of] = &setting_differences(&a, &b).unwrap()[..] else { panic!("one setting differs") };
        assert_eq!((&of.there, &of.here), (&json!("network"), &json!("original")));
    }

    #[test]
    fn settings_are_compared_and_what_follows_from_them_is_not() {
        let found = keys(|a, b| {
            a.method = json!({"epochs": 1});
            b.method = json!({"epochs": 2});
            a.stages = vec![StagePlan { id: StageId::new("student"), epochs: 1 }];
            a.data.fingerprint = Some("1".into());
            b.precision = Some("bf16".into());
        });
        assert_eq!(found, ["method.epochs", "precision"]);
    }
}
