use std::path::PathBuf;

use fmam_core::{ImageSize, Label, Mask, RgbImage, Sample, SampleSource, Seed, SourceError, Split};

use super::category::DemoCategory;
use super::config::DemoConfig;
use super::render::Scene;

/// One split of one category, rendered on request.
pub(super) struct DemoSource {
    category: DemoCategory,
    pub(super) size: ImageSize,
    pub(super) samples: Vec<Sample>,
    /// Of each sample: which of the category's defect types it has, and the seed of all else.
    scenes: Vec<(Option<usize>, Seed)>,
}

impl DemoSource {
    pub(super) fn new(config: &DemoConfig, category: DemoCategory, split: Split, size: ImageSize) -> Self {
        let mut source = Self { category, size, samples: Vec::new(), scenes: Vec::new() };
        let split_name = if split == Split::Train { "train" } else { "test" };
        let seed = Seed::new(config.seed).derive("demo").derive(category.name()).derive(split_name);
        let mut add = |n: usize, defect: Option<(usize, &str)>| {
            let group = defect.map_or("normal", |(_, name)| name);
            for index in 0..n {
                source.samples.push(Sample {
                    id: format!("{split_name}/{group}/{index:03}"),
                    split,
                    label: if defect.is_some() { Label::Anomalous } else { Label::Normal },
                    defect_type: defect.map(|(_, name)| name.to_owned()),
                    image_path: PathBuf::new(),
                    mask_paths: Vec::new(),
                });
                let kind = defect.map(|(kind, _)| kind);
                source.scenes.push((kind, seed.derive(group).derive_index(index as u64)));
            }
        };
        match split {
            Split::Train => add(config.n_train, None),
            Split::Test => {
                add(config.n_test_normal, None);
                for defect in (category.entry().defect_types)().into_iter().enumerate() {
                    add(config.n_test_per_defect, Some(defect));
                }
            }
        }
        source
    }

    pub(super) fn scene(&self, index: usize) -> Scene {
        let (kind, seed) = self.scenes[index];
        Scene::new(self.category, kind, self.size, seed)
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
