//! Settings of methods: reading them over their defaults, and checking them.

use std::fmt::Display;

use serde::Serialize;
use serde::de::{DeserializeOwned, Error};

use crate::MethodError;

/// The settings of a method, or a part of them.
pub trait Settings: Serialize + DeserializeOwned {
    /// Keys that the settings may lack, so that the defaults do not show them.
    const OPTIONAL: &'static [&'static str] = &[];

    /// Checks every value; `check` keeps the first that is out of its range.
    fn check(&self, check: &mut Check);

    /// The checked settings of `method`: the defaults, overlaid with `table`.
    ///
    /// # Errors
    /// [`MethodError::Config`] for an unknown key or a wrong type, [`MethodError::ConfigValue`] for
    /// a value outside its range.
    fn read(method: &'static str, table: toml::Table) -> Result<Self, MethodError>
    where
        Self: Default,
    {
        overlaid(method, &Self::default(), table)
    }
}

/// The checked settings of `method`: `defaults`, overlaid with `table`.
pub(crate) fn overlaid<S: Settings>(
    method: &'static str,
    defaults: &S,
    table: toml::Table,
) -> Result<S, MethodError> {
    let settings = parse(method, defaults, table)?;
    checked(method, &settings)?;
    Ok(settings)
}

/// Checks the settings of `method`.
///
/// # Errors
/// [`MethodError::ConfigValue`] for the first value outside its range.
pub fn checked(method: &'static str, settings: &impl Settings) -> Result<(), MethodError> {
    let mut check = Check { method, first: None };
    settings.check(&mut check);
    check.first.map_or(Ok(()), Err)
}

/// A check of settings under way. It keeps the first error.
pub struct Check {
    method: &'static str,
    first: Option<MethodError>,
}

impl Check {
    /// The value `actual` of `key` must satisfy `holds`; `expected` says that in words.
    pub fn require(&mut self, key: &'static str, holds: bool, expected: &'static str, actual: impl Display) {
        if !holds && self.first.is_none() {
            self.first = Some(out_of_range(self.method, key, expected, actual));
        }
    }

    /// A number that is at least 1.
    pub fn at_least_one(&mut self, key: &'static str, value: usize) {
        self.require(key, value > 0, "at least 1", value);
    }

    /// A finite number above 0.
    pub fn above_zero(&mut self, key: &'static str, value: f64) {
        self.require(key, value > 0.0 && value.is_finite(), "above 0", value);
    }

    /// A finite number that is not negative.
    pub fn not_negative(&mut self, key: &'static str, value: f64) {
        self.require(key, value >= 0.0 && value.is_finite(), "0 or more", value);
    }

    /// A learning rate: above 0, and not so large that a step leaves the numbers of f32.
    pub fn learning_rate(&mut self, key: &'static str, value: f64) {
        self.require(key, value > 0.0 && value <= 1000.0, "above 0 and at most 1000", value);
    }

    /// The standard deviation of a blur in pixels of a 256-pixel image.
    pub fn blur(&mut self, key: &'static str, sigma: f64) {
        self.require(key, (0.0..=256.0).contains(&sigma), "from 0 to 256", sigma);
    }

    /// The check of a part that another crate owns.
    pub fn part(&mut self, checked: Result<(), impl Into<MethodError>>) {
        if let (Err(error), None) = (checked, &self.first) {
            self.first = Some(error.into());
        }
    }
}

/// The error for a value `actual` of `key` outside its range, which `expected` says in words.
pub(crate) fn out_of_range(
    method: &'static str,
    key: &'static str,
    expected: &'static str,
    actual: impl Display,
) -> MethodError {
    MethodError::ConfigValue { method, key, expected, actual: actual.to_string() }
}

/// Puts the settings of `over` in place of those of `base`, table by table: what `over` does not
/// name stays.
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

/// Reads the settings of `method` from a table over `defaults`, table by table.
///
/// Unknown keys are looked for here: serde cannot refuse them in settings that hold other settings
/// flat.
fn parse<S: Settings>(method: &'static str, defaults: &S, table: toml::Table) -> Result<S, MethodError> {
    let merged = settings_table(method, defaults)?;
    let known: Vec<&str> = merged.keys().map(String::as_str).chain(S::OPTIONAL.iter().copied()).collect();
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
            with_one.try_into::<S>().is_err()
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
///
/// # Errors
/// [`MethodError::Settings`] for settings that cannot be written as JSON.
pub fn settings_value(
    method: &'static str,
    settings: &impl Serialize,
) -> Result<serde_json::Value, MethodError> {
    let error = |source: serde_json::Error| MethodError::Settings { method, source: source.into() };
    serde_json::to_value(settings).map_err(error)
}

/// Settings of `method` as they are saved with a model.
pub(crate) fn settings_table(
    method: &'static str,
    settings: &impl Serialize,
) -> Result<toml::Table, MethodError> {
    let error = |source: toml::ser::Error| MethodError::Settings { method, source: source.into() };
    toml::Table::try_from(settings).map_err(error)
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
