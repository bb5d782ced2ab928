use fmam_methods::MethodEntry;
use serde_json::Value;

use crate::{ExperimentConfig, ExperimentError};

/// How long one training stage of a method lasts, as its resolved configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageEpochs {
    /// What tells the stage: `mapping` of `mapping.epochs` or `mapping_epochs`; empty for a plain `epochs`.
    pub name: String,
    /// Passes over the training images.
    pub epochs: u64,
}

/// The training stages in a method's resolved configuration: every number under a key that ends in `epochs`, wherever
/// it stands, since this crate must not know the methods' insides.
pub fn stage_epochs(config: &Value) -> Vec<StageEpochs> {
    let mut found = Vec::new();
    collect(config, "", &mut found);
    found
}

fn collect(value: &Value, parent: &str, found: &mut Vec<StageEpochs>) {
    let Value::Object(fields) = value else { return };
    for (key, value) in fields {
        match (key.strip_suffix("epochs"), value.as_u64()) {
            (Some(""), Some(epochs)) => found.push(StageEpochs { name: parent.to_owned(), epochs }),
            (Some(stage), Some(epochs)) => {
                found.push(StageEpochs { name: stage.trim_end_matches('_').to_owned(), epochs });
            }
            _ => collect(value, key, found),
        }
    }
}

/// The settings to build `entry` with: its own table, and the general `epochs` where that table has none and the
/// method trains at all.
///
/// # Errors
/// [`ExperimentError::Configuration`] when the method does not even accept its own defaults.
pub(crate) fn method_table(
    config: &ExperimentConfig,
    entry: &MethodEntry,
) -> Result<toml::Table, ExperimentError> {
    let mut table = config.method.get(entry.name).cloned().unwrap_or_default();
    if let Some(epochs) = config.epochs
        && !table.contains_key("epochs")
    {
        let defaults = (entry.build)(toml::Table::new()).map_err(ExperimentError::configuration)?.config();
        if defaults.get("epochs").is_some() {
            // Saturating: a number of epochs that no TOML integer holds is refused by no method and never ends.
            table
                .insert("epochs".to_owned(), toml::Value::Integer(i64::try_from(epochs).unwrap_or(i64::MAX)));
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(config: &Value, expected: &[(&str, u64)]) {
        let found: Vec<_> = stage_epochs(config).into_iter().map(|s| (s.name, s.epochs)).collect();
        let expected: Vec<_> = expected.iter().map(|&(name, epochs)| (name.to_owned(), epochs)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn stages_are_found_wherever_their_epochs_stand() {
        check(&json!({"epochs": 20, "mapping": {"epochs": 5, "margin": 0.3}}), &[("", 20), ("mapping", 5)]);
        check(&json!({"epochs": 20, "mapping_epochs": 5}), &[("", 20), ("mapping", 5)]);
        check(&json!({"k": 50}), &[]);
    }
}
