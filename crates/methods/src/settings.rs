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
