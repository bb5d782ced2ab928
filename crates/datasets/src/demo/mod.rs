//! The generated data set: woven fabrics in the spirit of ZJU-Leaper, a machined part and a
//! perforated sheet, with defects and exact masks.
//!
//! It needs no files, so a fresh clone can train and evaluate. Every image is a function of seed,
//! category, split, type, index and size alone: asking for more images, or on more threads, does
//! not change those there were.
//!
//! A category is a module that says what is photographed and what can go wrong with it, and a line
//! in `category.rs`; the camera, the light and the masks are the same for all.

mod category;
mod config;
mod flange;
mod metal;
mod noise;
mod perforated;
mod render;
mod shapes;
mod source;
mod subject;
mod view;
mod weave;
mod write;

#[cfg(test)]
mod tests;

use fmam_core::{Preparation, Split};

use serde_json::{Value, json};

pub use self::category::DemoCategory;
pub use self::config::DemoConfig;
use self::source::DemoSource;
pub use self::write::write_demo;
use crate::{Category, Dataset, DatasetEntry, DatasetError};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "demo",
    summary: "generated fabrics, on request a flange and a perforated sheet, with exact masks; needs no files",
    layout: None,
    published: &[],
    open: |options| {
        let config: DemoConfig = options.read(ENTRY.name)?;
        config.check()?;
        Ok(Box::new(Demo { config }))
    },
};

struct Demo {
    config: DemoConfig,
}

impl Dataset for Demo {
    fn categories(&self) -> Vec<String> {
        let mut names = names(&self.config.categories);
        names.sort();
        names.dedup();
        names
    }

    fn category(&self, name: &str, size: &Preparation) -> Result<Category, DatasetError> {
        let Some(&category) = DemoCategory::ALL.iter().find(|category| category.name() == name) else {
            let (name, known) = (name.to_owned(), names(DemoCategory::ALL));
            return Err(DatasetError::UnknownCategory { dataset: ENTRY.name, name, known });
        };
        let train = DemoSource::new(&self.config, category, Split::Train, size.size);
        let test = DemoSource::new(&self.config, category, Split::Test, size.size);
        Ok(Category::cached(name, train, test))
    }

    fn identity(&self) -> Value {
        json!(self.config)
    }
}

fn names(categories: &[DemoCategory]) -> Vec<String> {
    categories.iter().map(|category| category.name().to_owned()).collect()
}
