use toml::{Table, Value};

/// A key and its value, read from `KEY=VALUE`: values in TOML's syntax, keys with dots for tables
/// within tables.
///
/// ```
/// let mut settings = toml::Table::new();
/// "mapping.margin=0.5".parse::<fmam::Setting>()?.apply(&mut settings);
/// assert_eq!(settings["mapping"]["margin"].as_float(), Some(0.5));
/// # Ok::<(), fmam::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The key's parts, never none and never empty.
    keys: Vec<String>,
    value: Value,
}

impl std::str::FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| SettingError::NoValue { text: text.to_owned() })?;
        let keys: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if keys.iter().any(String::is_empty) {
            return Err(SettingError::EmptyKey { text: text.to_owned() });
        }
        Ok(Self { keys, value: parse_value(value.trim()) })
    }
}

/// TOML where it is TOML (`3`, `0.5`, `true`, `[1, 2]`, `"text"`), else the text itself: quotes are
/// hard to type in a shell.
fn parse_value(text: &str) -> Value {
    let document: Option<Table> = toml::from_str(&format!("value = {text}")).ok();
    document
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

impl Setting {
    /// The first part of the key, and the setting below it; `None` when there is only one part.
    pub fn split_first(&self) -> Option<(&str, Self)> {
        match &self.keys[..] {
            [first, rest @ ..] if !rest.is_empty() => {
                Some((first, Self { keys: rest.to_vec(), value: self.value.clone() }))
            }
            _ => None,
        }
    }

    /// The setting `value` of `key`, which has dots for tables within tables.
    ///
    /// # Errors
    /// [`SettingError::EmptyKey`].
    pub fn new(key: &str, value: impl Into<Value>) -> Result<Self, SettingError> {
        let keys: Vec<String> = key.split('.').map(str::to_owned).collect();
        if keys.iter().any(String::is_empty) {
            return Err(SettingError::EmptyKey { text: key.to_owned() });
        }
        Ok(Self { keys, value: value.into() })
    }

    /// The setting below the prefix `prefix` of the key, which ends with a part; `None` where the
    /// key does not begin with it or is no longer.
    pub(crate) fn below(&self, prefix: &str) -> Option<Self> {
        let n = prefix.split('.').count();
        let (first, rest) = self.keys.split_at_checked(n).filter(|(_, rest)| !rest.is_empty())?;
        (first.join(".") == prefix).then(|| Self { keys: rest.to_vec(), value: self.value.clone() })
    }

    /// The parts of the key.
    pub(crate) fn path(&self) -> &[String] {
        &self.keys
    }

    /// The whole key, for messages.
    pub fn key(&self) -> String {
        self.keys.join(".")
    }

    /// Puts the value into `table`, making the tables on the way; what else stands there is
    /// replaced.
    pub fn apply(&self, table: &mut Table) {
        let Some((last, path)) = self.keys.split_last() else { return };
        let mut inner = table;
        for key in path {
            let entry = inner.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
            if !entry.is_table() {
                *entry = Value::Table(Table::new());
            }
            let Value::Table(next) = entry else { return };
            inner = next;
        }
        inner.insert(last.clone(), self.value.clone());
    }
}

/// The reason why a text is no setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// The text lacks an equals sign.
    #[error("`{text}` is not KEY=VALUE")]
    NoValue {
        /// The text.
        text: String,
    },
    /// The key is empty, or a part of it.
    #[error("`{text}` has no key before `=`, or an empty part in it")]
    EmptyKey {
        /// The text.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_or_text() {
        let value = |text: &str| text.parse::<Setting>().unwrap().value;
        assert_eq!(value("a=3"), Value::Integer(3));
        assert_eq!(value("a = 0.5"), Value::Float(0.5));
        assert_eq!(value("a=true"), Value::Boolean(true));
        assert_eq!(value("a=[1, 2]").as_array().unwrap().len(), 2);
        assert_eq!(value("a=per-position"), Value::String("per-position".into()));
        assert_eq!(value("a=\"3\""), Value::String("3".into()));
        assert_eq!(value("a=1\nb=2"), Value::String("1\nb=2".into()));
        assert_eq!(value("a=x=y"), Value::String("x=y".into()));
    }

    #[test]
    fn keys_make_nested_tables_and_keep_their_neighbours() {
        let mut table: Table = toml::from_str("lr = 0.1\nmapping = { margin = 0.3 }").unwrap();
        for text in ["mapping.epochs=5", "lr=0.2", "scoring.blur.sigma=4"] {
            text.parse::<Setting>().unwrap().apply(&mut table);
        }
        let expected: Table =
            toml::from_str("lr = 0.2\nmapping = { margin = 0.3, epochs = 5 }\nscoring.blur.sigma = 4")
                .unwrap();
        assert_eq!(table, expected);
    }

    #[test]
    fn the_first_part_is_the_method() {
        let setting: Setting = "nkd+fmam.mapping.epochs=5".parse().unwrap();
        let (method, rest) = setting.split_first().unwrap();
        assert_eq!((method, rest.key().as_str()), ("nkd+fmam", "mapping.epochs"));
        assert!("epochs=5".parse::<Setting>().unwrap().split_first().is_none());
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for bad in ["epochs", "=3", "a..b=3", ".a=3", "a.=3"] {
            assert!(bad.parse::<Setting>().is_err(), "{bad}");
        }
    }
}
