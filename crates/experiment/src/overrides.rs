use fmam_core::MethodId;
use fmam_methods::{MethodEntry, overlay_settings};

use crate::{ExperimentConfig, ExperimentError, Registry};

/// Key of the length of training in the settings of every method that trains.
const EPOCHS: &str = "epochs";

/// The method of `registry` that `id` is, or is a variant of.
///
/// # Errors
/// [`ExperimentError::Configuration`] for an unknown method.
pub(crate) fn method_entry(
    registry: &Registry,
    id: &MethodId,
) -> Result<&'static MethodEntry, ExperimentError> {
    registry.method(id.base()).map_err(ExperimentError::configuration)
}

impl ExperimentConfig {
    /// Gives every method that trains `epochs` epochs, with FMAM the student. The methods' own
    /// tables and what they said of it step back.
    pub fn set_epochs(&mut self, epochs: usize) {
        self.epochs = Some(epochs);
        for table in self.method.values_mut() {
            table.remove(EPOCHS);
        }
    }
}

/// The settings to build the method `id` with: its own table, the general `epochs` where that table
/// has none and the method trains at all, and over both the table of its variant.
///
/// # Errors
/// [`ExperimentError::Configuration`] for an unknown method and when it does not even accept its
/// own defaults, [`ExperimentError::UnknownVariant`].
pub(crate) fn method_table(
    registry: &Registry,
    config: &ExperimentConfig,
    id: &MethodId,
) -> Result<toml::Table, ExperimentError> {
    let entry = method_entry(registry, id)?;
    let mut table = config.method.get(&id.without_variant()).cloned().unwrap_or_default();
    if let Some(epochs) = config.epochs {
        entry.default_epochs(&mut table, epochs).map_err(ExperimentError::configuration)?;
    }
    if let Some(variant) = id.variant() {
        let changes = config.variant.get(variant).ok_or_else(|| ExperimentError::UnknownVariant {
            method: id.to_string(),
            variant: variant.to_owned(),
            known: config.variant.keys().cloned().collect(),
        })?;
        overlay_settings(&mut table, changes.clone());
        // `--set rkd+fmam@no-margin.KEY=VALUE` means this variant of this method.
        overlay_settings(&mut table, config.method.get(id).cloned().unwrap_or_default());
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_changes_the_settings_of_its_method_alone() {
        let mut config = ExperimentConfig::for_dataset("demo");
        config.epochs = Some(7);
        config
            .method
            .insert("rkd+fmam".into(), toml::from_str("batch_size = 2\nmapping.margin = 0.1").unwrap());
        config.variant.insert("wide".into(), toml::from_str("mapping.scale = 8.0\nbatch_size = 3").unwrap());
        let table = |name: &str| method_table(&Registry::builtin(), &config, &name.into()).unwrap();
        let expected = "batch_size = 3\nepochs = 7\nmapping = { margin = 0.1, scale = 8.0 }";
        assert_eq!(table("rkd+fmam@wide"), toml::from_str(expected).unwrap());
        assert_eq!(table("rkd+fmam")["batch_size"].as_integer(), Some(2));
        assert_eq!(method_entry(&Registry::builtin(), &"rkd+fmam@wide".into()).unwrap().name, "rkd+fmam");
        assert!(matches!(
            method_table(&Registry::builtin(), &config, &"rkd@narrow".into()),
            Err(ExperimentError::UnknownVariant { variant, .. }) if variant == "narrow"
        ));
        assert!(method_table(&Registry::builtin(), &config, &"none@wide".into()).is_err());
    }

    #[test]
    fn typed_epochs_go_before_those_of_the_tables() {
        let mut config = ExperimentConfig::for_dataset("demo");
        config.method.insert("rkd".into(), toml::from_str("epochs = 3\nbatch_size = 2").unwrap());
        config.set_epochs(7);
        let table = method_table(&Registry::builtin(), &config, &"rkd".into()).unwrap();
        assert_eq!(table, toml::from_str("epochs = 7\nbatch_size = 2").unwrap());
        assert!(method_table(&Registry::builtin(), &config, &"padim".into()).unwrap().is_empty());
    }
}
