use fmam_methods::{MethodEntry, overlay_settings};

use crate::{ExperimentConfig, ExperimentError};

/// What parts a method's registered name from the variant of its settings, as in `rkd+fmam@no-margin`.
const VARIANT_MARK: char = '@';

/// The registered method that `name` is, or is a variant of.
///
/// # Errors
/// [`ExperimentError::Configuration`] for an unknown method.
pub(crate) fn method_entry(name: &str) -> Result<&'static MethodEntry, ExperimentError> {
    let base = name.split_once(VARIANT_MARK).map_or(name, |(base, _)| base);
    fmam_methods::method(base).map_err(ExperimentError::configuration)
}

/// The settings to build the method `name` with: its own table, the general `epochs` where that table has none and the
/// method trains at all, and over both the table of its variant.
///
/// # Errors
/// [`ExperimentError::Configuration`] for an unknown method and when it does not even accept its own defaults,
/// [`ExperimentError::UnknownVariant`].
pub(crate) fn method_table(config: &ExperimentConfig, name: &str) -> Result<toml::Table, ExperimentError> {
    let entry = method_entry(name)?;
    let mut table = config.method.get(entry.name).cloned().unwrap_or_default();
    if let Some(epochs) = config.epochs
        && !table.contains_key("epochs")
        && entry.trains().map_err(ExperimentError::configuration)?
    {
        // Saturating: a number of epochs that no TOML integer holds is refused by no method and never ends.
        table.insert("epochs".to_owned(), toml::Value::Integer(i64::try_from(epochs).unwrap_or(i64::MAX)));
    }
    if let Some((_, variant)) = name.split_once(VARIANT_MARK) {
        let changes = config.variant.get(variant).ok_or_else(|| ExperimentError::UnknownVariant {
            method: name.to_owned(),
            variant: variant.to_owned(),
            known: config.variant.keys().cloned().collect(),
        })?;
        overlay_settings(&mut table, changes.clone());
        // `--set rkd+fmam@no-margin.KEY=VALUE` means this variant of this method.
        overlay_settings(&mut table, config.method.get(name).cloned().unwrap_or_default());
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
        let table = |name| method_table(&config, name).unwrap();
        let expected = "batch_size = 3\nepochs = 7\nmapping = { margin = 0.1, scale = 8.0 }";
        assert_eq!(table("rkd+fmam@wide"), toml::from_str(expected).unwrap());
        assert_eq!(table("rkd+fmam")["batch_size"].as_integer(), Some(2));
        assert_eq!(method_entry("rkd+fmam@wide").unwrap().name, "rkd+fmam");
        assert!(matches!(
            method_table(&config, "rkd@narrow"),
            Err(ExperimentError::UnknownVariant { variant, .. }) if variant == "narrow"
        ));
        assert!(method_table(&config, "none@wide").is_err());
    }
}
