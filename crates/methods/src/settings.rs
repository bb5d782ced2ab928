use serde::Serialize;
use serde::de::DeserializeOwned;

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

/// Reads the settings of `method` from a table; what it does not name keeps its default.
pub(crate) fn parse_settings<C: DeserializeOwned>(
    method: &'static str,
    table: toml::Table,
) -> Result<C, MethodError> {
    table.try_into().map_err(|source| MethodError::Config { method, source })
}

/// Settings as they are saved with a model.
pub(crate) fn settings_table(config: &impl Serialize) -> toml::Table {
    // Every field has a TOML form, so this is a table; a failure would show in the tests of saving.
    toml::Table::try_from(config).unwrap_or_default()
}
