use std::path::{Path, PathBuf};

use std::sync::Arc;

use fmam_core::{Preparation, SampleSource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Category, CategoryFiles, Counts, DatasetError, FileLayout, telling};

/// A registered data set: everything that the program knows of it.
pub struct DatasetEntry {
    /// Name on the command line and in configurations.
    pub name: &'static str,
    /// One line for a person: the title, and the layout it is read from.
    pub summary: &'static str,
    /// The layout on disk; `None` for a data set that the program generates.
    pub layout: Option<FileLayout>,
    /// Categories of a complete copy, sorted, and how many images each has, where that is
    /// published.
    pub published: &'static [(&'static str, Counts)],
    /// Checks the settings and finds the categories.
    pub open: fn(&DatasetOptions) -> Result<Box<dyn Dataset>, DatasetError>,
}

impl DatasetEntry {
    /// True for a data set that the program generates, which needs no data root.
    pub fn is_generated(&self) -> bool {
        self.layout.is_none()
    }
}

impl std::fmt::Debug for DatasetEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatasetEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Input of [`DatasetEntry::open`].
#[derive(Debug, Clone, Default)]
pub struct DatasetOptions {
    /// The data set's own folder or the folder that holds it. A generated data set needs none.
    pub root: Option<PathBuf>,
    /// The data set's own settings by name. An absent setting has its default, an unknown one is an
    /// error.
    pub settings: Map<String, Value>,
}

impl DatasetOptions {
    /// Options with `settings`: a table of a configuration, a settings struct such as
    /// [`DemoConfig`](crate::DemoConfig), or what [`Dataset::identity`] gave. Nothing, as `None` or
    /// a JSON `null`, stands for the defaults.
    ///
    /// # Errors
    /// [`DatasetError::SettingsTable`] when `settings` is no table.
    pub fn new(root: Option<PathBuf>, settings: impl Serialize) -> Result<Self, DatasetError> {
        match serde_json::to_value(settings) {
            Ok(Value::Object(settings)) => Ok(Self { root, settings }),
            Ok(Value::Null) => Ok(Self { root, settings: Map::new() }),
            _ => Err(DatasetError::SettingsTable),
        }
    }

    /// The settings of the data set called `dataset`. Every field of `T` needs a default.
    ///
    /// # Errors
    /// [`DatasetError::Setting`], which names the setting that is wrong.
    pub fn read<T: DeserializeOwned>(&self, dataset: &'static str) -> Result<T, DatasetError> {
        let read = |settings: Map<String, Value>| serde_json::from_value::<T>(Value::Object(settings));
        read(self.settings.clone()).map_err(|source| {
            // The error of a single setting is the one that tells which setting is wrong.
            let single = |(key, value): (&String, &Value)| {
                let source = read(Map::from_iter([(key.clone(), value.clone())])).err()?;
                Some(DatasetError::Setting { dataset, key: key.clone(), source })
            };
            let several = DatasetError::Setting { dataset, key: String::new(), source };
            self.settings.iter().find_map(single).unwrap_or(several)
        })
    }

    /// The value that `recognise` makes of the first folder that holds the data set of `entry`: one
    /// of the layout's holders within the data root, or the data root itself. There are no
    /// settings.
    ///
    /// # Errors
    /// [`DatasetError::RootNotGiven`], [`DatasetError::MissingRoot`],
    /// [`DatasetError::UnrecognizedLayout`], and those of `recognise`.
    pub fn find<T>(
        &self,
        entry: &'static DatasetEntry,
        recognise: impl Fn(&Path) -> Result<Option<T>, DatasetError>,
    ) -> Result<T, DatasetError> {
        let NoSettings {} = self.read(entry.name)?;
        let expected = entry.layout.as_ref().map_or("", |layout| layout.expected);
        self.find_expecting(entry, expected.to_owned(), recognise)
    }

    /// [`DatasetOptions::find`] for a data set that has settings, on which depends what is
    /// `expected`.
    pub(crate) fn find_expecting<T>(
        &self,
        entry: &'static DatasetEntry,
        expected: String,
        recognise: impl Fn(&Path) -> Result<Option<T>, DatasetError>,
    ) -> Result<T, DatasetError> {
        let root = self.root.as_deref().ok_or(DatasetError::RootNotGiven { dataset: entry.name })?;
        if !root.is_dir() {
            return Err(DatasetError::MissingRoot { root: root.to_owned() });
        }
        let holders = entry.layout.as_ref().map_or(&[][..], |layout| layout.holders);
        let candidates = holders.iter().map(|holder| root.join(holder)).chain([root.to_owned()]);
        for folder in candidates.filter(|folder| folder.is_dir()) {
            if let Some(found) = recognise(&folder)? {
                return Ok(found);
            }
        }
        Err(DatasetError::UnrecognizedLayout { dataset: entry.name, root: root.to_owned(), expected })
    }
}

/// Settings of a data set that has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoSettings {}

/// An opened data set.
pub trait Dataset: Send + Sync {
    /// Names of the categories that are used where none are asked for, sorted.
    fn categories(&self) -> Vec<String>;

    /// Lists the files of category `name` and joins masks to images, without opening any of them.
    ///
    /// # Errors
    /// [`DatasetError::UnknownCategory`], what is wrong with the names of the files, and
    /// [`DatasetError::NoFiles`] for a data set that the program generates.
    fn files(&self, name: &str) -> Result<CategoryFiles, DatasetError> {
        Err(DatasetError::NoFiles { name: name.to_owned() })
    }

    /// Indexes category `name` and checks its layout: both splits, the masks and their sizes. A
    /// test split of one class has a warning. The samples' pixels are decoded later, on request,
    /// and prepared as `preparation` says. A data set that the program generates overrides this.
    ///
    /// # Errors
    /// [`DatasetError::UnknownCategory`], or what is wrong with the files.
    fn category(&self, name: &str, preparation: &Preparation) -> Result<Category, DatasetError> {
        let (category, told) = telling(|| {
            let CategoryFiles { folder, train, test, masks } = self.files(name)?;
            Category::from_files(name, &folder, train, test, preparation, masks)
        });
        Ok(Category { told, ..category? })
    }

    /// The normal training images of category `name`, as [`Dataset::category`] has them. A layout
    /// that overrides this reads and misses nothing of the test split.
    ///
    /// # Errors
    /// As [`Dataset::category`].
    fn train(&self, name: &str, preparation: &Preparation) -> Result<Arc<dyn SampleSource>, DatasetError> {
        Ok(self.category(name, preparation)?.train)
    }

    /// The settings that decide the data, defaults filled in, for the record of a run; `null` where
    /// the files alone decide. [`DatasetOptions::new`] opens the same data with them.
    fn identity(&self) -> Value {
        Value::Null
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_from_tables_structs_and_nothing() {
        let settings = |value: Value| DatasetOptions::new(None, value).map(|options| options.settings.len());
        assert_eq!(settings(serde_json::json!({ "seed": 1 })).unwrap(), 1);
        assert_eq!(settings(Value::Null).unwrap(), 0);
        assert!(matches!(settings(serde_json::json!([1])), Err(DatasetError::SettingsTable)));
        assert_eq!(DatasetOptions::new(None, None::<crate::DemoConfig>).unwrap().settings.len(), 0);
    }
}
