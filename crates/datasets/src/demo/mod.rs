//! The generated data set: woven fabrics in the spirit of ZJU-Leaper, with defects and exact masks.
//!
//! It needs no files, so a fresh clone can train and evaluate. Every image is a function of seed, category,
//! split, type, index and size alone: asking for more images, or on more threads, does not change those there
//! were.

mod defect;
mod noise;
mod render;
mod weave;
mod write;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use fmam_core::{ImageSize, Label, Mask, RgbImage, Sample, SampleSource, Seed, SourceError, Split};
use serde::{Deserialize, Serialize};

use self::defect::DefectType;
use self::render::Scene;
pub use self::weave::Weave;
pub use self::write::write_demo;
use crate::{CachedSource, Category, DEFAULT_CACHE_BYTES, Dataset, DatasetEntry, DatasetError};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "demo",
    summary: "generated woven fabrics with six defect types and exact masks; needs no files",
    open: |options| Ok(Box::new(Demo::new(&options.demo)?)),
};

/// What the demo set consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DemoConfig {
    /// Names the data: another seed is another data set. Not the seed of a run.
    pub seed: u64,
    /// Normal training images of a category.
    pub n_train: usize,
    /// Normal test images of a category.
    pub n_test_normal: usize,
    /// Anomalous test images of each of the six defect types of a category.
    pub n_test_per_defect: usize,
    /// The categories.
    pub categories: Vec<Weave>,
}

impl Default for DemoConfig {
    /// Two categories of 64 training and 56 test images, which train in minutes without a GPU.
    fn default() -> Self {
        Self {
            seed: 0,
            n_train: 64,
            n_test_normal: 20,
            n_test_per_defect: 6,
            categories: vec![Weave::Plain, Weave::Twill],
        }
    }
}

impl DemoConfig {
    fn check(&self) -> Result<(), DatasetError> {
        let counts = [
            ("n_train", self.n_train),
            ("n_test_normal", self.n_test_normal),
            ("n_test_per_defect", self.n_test_per_defect),
            ("categories", self.categories.len()),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((field, _)) => Err(DatasetError::DemoCount { field }),
            None => Ok(()),
        }
    }
}

struct Demo {
    config: DemoConfig,
}

impl Demo {
    fn new(config: &DemoConfig) -> Result<Self, DatasetError> {
        config.check()?;
        Ok(Self { config: config.clone() })
    }
}

impl Dataset for Demo {
    fn categories(&self) -> Vec<String> {
        let mut names: Vec<_> = self.config.categories.iter().map(|weave| weave.name().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }

    fn category(&self, name: &str, size: ImageSize) -> Result<Category, DatasetError> {
        let Some(&weave) = self.config.categories.iter().find(|weave| weave.name() == name) else {
            let (name, known) = (name.to_owned(), self.categories());
            return Err(DatasetError::UnknownCategory { dataset: ENTRY.name, name, known });
        };
        let train = DemoSource::new(&self.config, weave, Split::Train, size);
        let test = DemoSource::new(&self.config, weave, Split::Test, size);
        Ok(Category {
            name: name.to_owned(),
            train: Arc::new(CachedSource::new(train, DEFAULT_CACHE_BYTES)),
            test: Arc::new(CachedSource::new(test, DEFAULT_CACHE_BYTES)),
        })
    }
}

/// One split of one category, rendered on request.
struct DemoSource {
    weave: Weave,
    size: ImageSize,
    samples: Vec<Sample>,
    /// Of each sample: its defect and the seed of all else.
    scenes: Vec<(Option<DefectType>, Seed)>,
}

impl DemoSource {
    fn new(config: &DemoConfig, weave: Weave, split: Split, size: ImageSize) -> Self {
        let mut source = Self { weave, size, samples: Vec::new(), scenes: Vec::new() };
        let split_name = if split == Split::Train { "train" } else { "test" };
        let seed = Seed::new(config.seed).derive("demo").derive(weave.name()).derive(split_name);
        let mut add = |n: usize, kind: Option<DefectType>| {
            let group = kind.map_or("normal", DefectType::name);
            for index in 0..n {
                source.samples.push(Sample {
                    id: format!("{split_name}/{group}/{index:03}"),
                    split,
                    label: if kind.is_some() { Label::Anomalous } else { Label::Normal },
                    defect_type: kind.map(|kind| kind.name().to_owned()),
                    image_path: PathBuf::new(),
                    mask_path: None,
                });
                source.scenes.push((kind, seed.derive(group).derive_index(index as u64)));
            }
        };
        match split {
            Split::Train => add(config.n_train, None),
            Split::Test => {
                add(config.n_test_normal, None);
                for kind in DefectType::ALL {
                    add(config.n_test_per_defect, Some(kind));
                }
            }
        }
        source
    }

    fn scene(&self, index: usize) -> Scene {
        let (kind, seed) = self.scenes[index];
        Scene::new(self.weave, kind, self.size, seed)
    }
}

impl SampleSource for DemoSource {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        &self.samples[index]
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        Ok(self.scene(index).image())
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        Ok(Some(self.scene(index).mask()))
    }
}
