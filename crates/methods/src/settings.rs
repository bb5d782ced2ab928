use serde::Serialize;
use serde::de::{DeserializeOwned, Error};

use crate::MethodError;

/// Puts the settings of `over` in place of those of `base`, table by table: what `over` does not name stays.
pub fn overlay_settings(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(table)) => overlay_settings(inner, table),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Reads the settings of `method` from a table; what it does not name keeps its value in `defaults`. `optional` are the keys
/// that a configuration may lack, so that `defaults` may not show them.
///
/// Unknown keys are looked for here: serde cannot refuse them in a configuration that holds another one flat.
pub(crate) fn parse_settings<C: Serialize + DeserializeOwned>(
    method: &'static str,
    defaults: &C,
    optional: &[&str],
    table: toml::Table,
) -> Result<C, MethodError> {
    let mut merged = settings_table(defaults);
    let known: Vec<&str> = merged.keys().map(String::as_str).chain(optional.iter().copied()).collect();
    if let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) {
        let known = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let message = format!("unknown field `{key}`, expected one of {known}");
        return Err(MethodError::Config { method, source: Error::custom(message) });
    }
    overlay_settings(&mut merged, table);
    merged.try_into().map_err(|source| MethodError::Config { method, source })
}

/// Settings as they are saved with a model.
pub(crate) fn settings_table(config: &impl Serialize) -> toml::Table {
    // Every field has a TOML form, so this is a table; a failure would show in the tests of saving.
    toml::Table::try_from(config).unwrap_or_default()
}
