use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A data set by its registered name, with options of its own. In TOML it is `dataset = "NAME"`, or
/// a table `[dataset.NAME]` that holds the options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct DatasetChoice {
    /// Registered name.
    pub name: String,
    /// The options by name; an absent one has its default. The data set itself checks them.
    pub options: toml::Table,
}

impl DatasetChoice {
    /// The data set called `name` with its default options.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), options: toml::Table::new() }
    }
}

impl std::fmt::Display for DatasetChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// [`DatasetChoice`] as TOML has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a name, or one table `[dataset.NAME]` of options")]
enum Written {
    Name(String),
    Options(BTreeMap<String, toml::Table>),
}

impl TryFrom<Written> for DatasetChoice {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Name(name) => Ok(Self::new(&name)),
            Written::Options(tables) if tables.len() == 1 => {
                let only = tables.into_iter().next();
                only.map(|(name, options)| Self { name, options }).ok_or("no data set is named")
            }
            Written::Options(_) => Err("one data set, `[dataset.NAME]`, goes into a configuration or a part"),
        }
    }
}

impl From<DatasetChoice> for Written {
    fn from(choice: DatasetChoice) -> Self {
        let DatasetChoice { name, options } = choice;
        if options.is_empty() { Self::Name(name) } else { Self::Options(BTreeMap::from([(name, options)])) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Config {
        dataset: DatasetChoice,
    }

    #[test]
    fn a_name_stands_alone_or_over_its_options() {
        let parse = toml::from_str::<Config>;
        assert_eq!(parse("dataset = 'mvtec'").unwrap().dataset, DatasetChoice::new("mvtec"));
        let text = "[dataset.demo]\nn_train = 4\n";
        let config = parse(text).unwrap();
        assert_eq!(config.dataset.name, "demo");
        assert_eq!(config.dataset.options["n_train"].as_integer(), Some(4));
        let written = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&written).unwrap(), config);
        for wrong in ["dataset = 3", "[dataset.demo]\n[dataset.mvtec]", "[dataset]", "dataset = {demo = 1}"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
