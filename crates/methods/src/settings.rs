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
    let merged = settings_table(defaults);
    let known: Vec<&str> = merged.keys().map(String::as_str).chain(optional.iter().copied()).collect();
    if let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) {
        let known = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let message = format!("unknown field `{key}`, expected one of {known}");
        return Err(MethodError::Config { method, source: Error::custom(message) });
    }
    let mut whole = merged.clone();
    overlay_settings(&mut whole, table.clone());
    whole.try_into().map_err(|source: toml::de::Error| {
        // Errors in what is held flat do not say where they are: one key at a time does.
        let is_wrong = |(key, value): &(String, toml::Value)| {
            let mut with_one = merged.clone();
            overlay_settings(&mut with_one, [(key.clone(), value.clone())].into_iter().collect());
            with_one.try_into::<C>().is_err()
        };
        let source = match table.into_iter().find(is_wrong) {
            Some((key, _)) if !source.message().contains(&format!("`{key}`")) => {
                Error::custom(format!("`{key}`: {}", source.message()))
            }
            _ => source,
        };
        MethodError::Config { method, source }
    })
}

/// Settings of `method` as a record keeps them.
pub(crate) fn settings_value(
    method: &'static str,
    settings: &impl Serialize,
) -> Result<serde_json::Value, MethodError> {
    let error = |source: serde_json::Error| MethodError::Settings { method, source: source.into() };
    serde_json::to_value(settings).map_err(error)
}

/// Settings as they are saved with a model.
pub(crate) fn settings_table(config: &impl Serialize) -> toml::Table {
    // Every field has a TOML form, so this is a table; a failure would show in the tests of saving.
    toml::Table::try_from(config).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::method;

    fn refused(name: &str, settings: &str) -> String {
        let error = (method(name).unwrap().build)(toml::from_str(settings).unwrap()).err().unwrap();
        std::error::Error::source(&error).unwrap().to_string()
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_with_its_key() {
        for (name, settings, key) in [
            ("rkd", "epochs = 'many'", "epochs"),
            ("rkd", "learning_rate = 'x'", "learning_rate"),
            ("fcdd", "batch_size = -1", "batch_size"),
            ("mrkd", "optimizer = 'foo'", "optimizer"),
            ("puzzle-ae", "width = 'x'", "width"),
            ("padim", "channels = 'x'", "channels"),
        ] {
            let error = refused(name, settings);
            assert!(error.contains(key), "{name}: {settings}: {error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_at_every_depth_with_those_that_there_are() {
        for (name, settings, known) in [
            ("mrkd", "lambda = 1", "direction_weight"),
            ("mrkd", "training = { epochs = 1 }", "epochs"),
            ("fcdd", "synthesis = { no_such = 1 }", "no_such"),
            ("rkd+fmam", "mapping = { no_such = 1 }", "no_such"),
            ("rkd+fmam", "mapping = { network = { no_such = 1 } }", "no_such"),
            ("nkd", "scoring = { no_such = 1 }", "blur_sigma"),
            ("spade", "no_such = 1", "gallery_bytes"),
        ] {
            let error = refused(name, settings);
            assert!(error.contains("unknown field") && error.contains(known), "{name}: {settings}: {error}");
        }
    }

    #[test]
    fn settings_of_a_training_lie_beside_the_others() {
        let config = |name, settings| {
            (method(name).unwrap().build)(toml::from_str(settings).unwrap())
                .unwrap()
                .plan(8)
                .unwrap()
                .settings
        };
        for name in ["fcdd", "mrkd", "puzzle-ae", "nkd", "rkd+fmam"] {
            let config = config(name, "epochs = 3\nlearning_rate = 1");
            assert_eq!((&config["epochs"], &config["learning_rate"]), (&3.into(), &1.0.into()), "{name}");
            assert!(config["batch_size"].is_u64() && config.get("training").is_none(), "{name}: {config}");
        }
    }
}
