//! ZJU-Leaper (Zhang, Feng, Wang and Wang, IEEE TAI 2020): fabrics in patterns and groups, in its
//! own layout; setting 1, which trains on normal images only.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fmam_core::{Preparation, Sample, SampleSource, Split};
use serde::Deserialize;

use super::files::{Tree, sample, stem_of};
use super::masks::{mask_tree, without_suffix};
use super::records::MAX_LIST;
use crate::source::MaskFormat;
use crate::told::tell;
use crate::{
    Category, CategoryFiles, Choice, Counts, Dataset, DatasetEntry, DatasetError, Example, ExampleFile,
    FileLayout,
};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "zju-leaper",
    summary: "ZJU-Leaper, setting 1: Images, Annotations/masks, ImageSets; categories are patterns, groups and total",
    layout: Some(FileLayout {
        holders: &["zju-leaper", "zju_leaper", "ZJU-Leaper"],
        expected: "ImageSets/Patterns/patternN.json, or zju-leaper with that in it",
        example: Example {
            files: &[
                ("Images/00001.jpg", ExampleFile::Image),
                ("Images/00002.jpg", ExampleFile::Image),
                ("Images/00003.png", ExampleFile::Image),
                ("Images/00010.jpg", ExampleFile::Image),
                ("Annotations/masks/00010.png", ExampleFile::Mask),
                ("ImageSets/Patterns/pattern10.json", ExampleFile::Text(EXAMPLE_NUMBERS)),
                ("ImageSets/Patterns/pattern2.json", ExampleFile::Text(EXAMPLE_NAMES)),
                ("ImageSets/Groups/group1.json", ExampleFile::Text(EXAMPLE_NAMES)),
                ("ImageSets/total.json", ExampleFile::Text(EXAMPLE_NUMBERS)),
            ],
            counts: &[("pattern2", Counts::new(2, 1, 1)), ("pattern10", Counts::new(2, 1, 1))],
        },
    }),
    published: &[],
    open: |options| Ok(Box::new(options.find(&ENTRY, ZjuLeaper::found_in)?)),
};

/// An image set of the example; image sets are published with numbers and with names.
const EXAMPLE_NUMBERS: &str =
    r#"{"normal": {"train": [1, 2], "test": [3]}, "defect": {"train": [], "test": [10]}}"#;
const EXAMPLE_NAMES: &str =
    r#"{"normal": {"train": ["00001", "0002"], "test": ["00003"]}, "defect": {"test": ["00010"]}}"#;

/// Image sets that are categories: folder within `ImageSets`, and how their names begin.
const SETS: [(&str, &str); 3] = [("Patterns", "pattern"), ("Groups", "group"), ("", "total")];

/// Repeated images that are told by name, at most.
const MOST_TOLD: usize = 8;

struct ZjuLeaper {
    folder: PathBuf,
    /// Names and files, the patterns first, each kind by its numbers.
    sets: Vec<(String, PathBuf)>,
    n_patterns: usize,
}

impl ZjuLeaper {
    /// The data set in `folder`, where it has image sets.
    fn found_in(folder: &Path) -> Result<Option<Self>, DatasetError> {
        let (mut sets, mut n_patterns) = (Vec::new(), 0);
        for (sub, prefix) in SETS {
            let mut found = image_sets(&folder.join("ImageSets").join(sub), prefix)?;
            // pattern10 comes after pattern9.
            found.sort_by_key(|(name, _)| (name.len(), name.clone()));
            sets.append(&mut found);
            n_patterns = n_patterns.max(if sub == "Patterns" { sets.len() } else { 0 });
        }
        Ok((!sets.is_empty()).then(|| Self { folder: folder.to_owned(), sets, n_patterns }))
    }
}

/// The files `PREFIX*.json` directly in `folder`, by their names.
fn image_sets(folder: &Path, prefix: &str) -> Result<Vec<(String, PathBuf)>, DatasetError> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let paths = list().map_err(|source| DatasetError::ListFolder { folder: folder.to_owned(), source })?;
    let is_set = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "json") && stem_of(path).starts_with(prefix)
    };
    Ok(paths.into_iter().filter(is_set).map(|path| (stem_of(&path), path)).collect())
}

/// The contents of an image set.
#[derive(Deserialize)]
struct ImageSet {
    normal: Splits,
    defect: Splits,
}

impl ImageSet {
    /// The images that are named more than once: the id without leading zeros, the list that names
    /// it first, and the list that names it again, which may be the same.
    fn repeated(&self) -> Vec<(String, &'static str, &'static str)> {
        let Self { normal, defect } = self;
        let lists =
            [("normal.train", &normal.train), ("normal.test", &normal.test), ("defect.test", &defect.test)];
        let (mut first, mut repeated) = (HashMap::new(), Vec::new());
        for (list, ids) in lists {
            for key in ids.iter().map(Id::key) {
                match first.get(&key) {
                    Some(&first) => repeated.push((key, first, list)),
                    None => drop(first.insert(key, list)),
                }
            }
        }
        repeated
    }
}

#[derive(Deserialize)]
struct Splits {
    #[serde(default)]
    train: Vec<Id>,
    #[serde(default)]
    test: Vec<Id>,
}

/// An image's name without extension, or its number: published both ways.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Name(String),
}

impl Id {
    /// The name without leading zeros.
    fn key(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Name(name) => unpadded(name),
        }
    }
}

fn unpadded(name: &str) -> String {
    let rest = name.trim_start_matches('0');
    if rest.is_empty() && !name.is_empty() { "0".to_owned() } else { rest.to_owned() }
}

/// The files of `tree` by `id_of` their stems.
fn by_id(tree: Tree, id_of: impl Fn(&str) -> String) -> Result<HashMap<String, PathBuf>, DatasetError> {
    let mut ids = HashMap::new();
    for path in tree.files {
        if let Some(first) = ids.insert(id_of(&stem_of(&path)), path.clone()) {
            return Err(DatasetError::DuplicateStem { first, second: path });
        }
    }
    Ok(ids)
}

/// An image set with the image files that there are.
struct Listed<'a> {
    /// The file of the set.
    path: &'a Path,
    set: ImageSet,
    /// The folder of the images.
    folder: PathBuf,
    images: HashMap<String, PathBuf>,
}

impl Listed<'_> {
    fn image(&self, id: &Id) -> Result<PathBuf, DatasetError> {
        self.images.get(&id.key()).cloned().ok_or_else(|| DatasetError::MissingImage {
            id: id.key(),
            list: self.path.to_owned(),
            folder: self.folder.clone(),
        })
    }

    fn normal(&self, ids: &[Id], split: Split) -> Result<Vec<Sample>, DatasetError> {
        let once = self.once(ids);
        once.map(|id| {
            let image = self.image(id)?;
            Ok(sample(split, "normal", &stem_of(&image), image, None))
        })
        .collect()
    }

    /// The ids of a list, each once.
    fn once<'a>(&self, ids: &'a [Id]) -> impl Iterator<Item = &'a Id> {
        let mut seen = HashSet::new();
        ids.iter().filter(move |id| seen.insert(id.key()))
    }

    /// Tells of the images that the set names more than once.
    fn tell_repeated(&self) {
        let repeated = self.set.repeated();
        if !repeated.is_empty() {
            let more = match repeated.len().saturating_sub(MOST_TOLD) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let pairs: Vec<String> =
                repeated.iter().take(MOST_TOLD).map(|(id, a, b)| format!("{id} in {a} and {b}")).collect();
            tell(Choice::RepeatedIds, self.path, 1, Some(format!("{}{more}", pairs.join(", "))));
        }
    }

    fn train(&self) -> Result<Vec<Sample>, DatasetError> {
        let train = self.normal(&self.set.normal.train, Split::Train)?;
        if train.is_empty() {
            Err(DatasetError::EmptyImageSet { path: self.path.to_owned() })
        } else {
            Ok(train)
        }
    }
}

impl ZjuLeaper {
    /// The image set `name`.
    fn listed(&self, name: &str) -> Result<Listed<'_>, DatasetError> {
        let Some((_, path)) = self.sets.iter().find(|(known, _)| known == name) else {
            let known = self.sets.iter().map(|(name, _)| name.clone()).collect();
            return Err(DatasetError::UnknownCategory { dataset: ENTRY.name, name: name.to_owned(), known });
        };
        let text = fmam_files::read_text_limited(path, MAX_LIST)
            .map_err(|source| DatasetError::Read { path: path.clone(), source })?;
        let set = serde_json::from_str(&text)
            .map_err(|source| DatasetError::ImageSet { path: path.clone(), source })?;
        let folder = self.folder.join("Images");
        let images = by_id(Tree::required(&folder, "the images", &["jpg", "jpeg", "png"])?, unpadded)?;
        Ok(Listed { path, set, folder, images })
    }
}

impl Dataset for ZjuLeaper {
    fn categories(&self) -> Vec<String> {
        // Groups and the total hold the same images again.
        let n = if self.n_patterns > 0 { self.n_patterns } else { self.sets.len() };
        self.sets[..n].iter().map(|(name, _)| name.clone()).collect()
    }

    fn files(&self, name: &str) -> Result<CategoryFiles, DatasetError> {
        let listed = self.listed(name)?;
        let (train, mut test) = (listed.train()?, listed.normal(&listed.set.normal.test, Split::Test)?);
        listed.tell_repeated();
        let mask_folder = self.folder.join("Annotations/masks");
        let id_of = |stem: &str| unpadded(without_suffix(stem).unwrap_or(stem));
        let masks = by_id(mask_tree(&mask_folder)?, id_of)?;
        for id in listed.once(&listed.set.defect.test) {
            let image = listed.image(id)?;
            let Some(mask) = masks.get(&id.key()) else {
                let expected = mask_folder.join(format!("{}.png", stem_of(&image)));
                return Err(DatasetError::MissingMask { image, expected });
            };
            let sample = sample(Split::Test, "defect", &stem_of(&image), image, Some("defect"));
            test.push(Sample { mask_paths: vec![mask.clone()], ..sample });
        }
        // A mask may be that of an image of another set.
        let unused =
            masks.iter().filter(|(id, _)| !listed.images.contains_key(*id)).map(|(_, mask)| mask).min();
        if let Some(mask) = unused {
            let stem = stem_of(mask);
            let name = format!("{}.jpg", without_suffix(&stem).unwrap_or(&stem));
            let (mask, expected) = (mask.clone(), listed.folder.join(name));
            return Err(DatasetError::UnusedMask { mask, expected });
        }
        Ok(CategoryFiles { folder: self.folder.clone(), train, test, masks: MaskFormat::Binary })
    }

    fn train(&self, name: &str, size: &Preparation) -> Result<Arc<dyn SampleSource>, DatasetError> {
        Category::train_from_files(self.listed(name)?.train()?, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_named_again_is_found() {
        let set =
            r#"{"normal": {"train": [1, "0002", 2], "test": ["00001", 3]}, "defect": {"test": [3, 10]}}"#;
        let set: ImageSet = serde_json::from_str(set).unwrap();
        let pair = |id: &str, first, second| (id.to_owned(), first, second);
        let expected = [
            pair("2", "normal.train", "normal.train"),
            pair("1", "normal.train", "normal.test"),
            pair("3", "normal.test", "defect.test"),
        ];
        assert_eq!(set.repeated(), expected);
        for published in [EXAMPLE_NUMBERS, EXAMPLE_NAMES] {
            assert_eq!(serde_json::from_str::<ImageSet>(published).unwrap().repeated(), []);
        }
    }
}
