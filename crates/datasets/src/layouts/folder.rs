//! Any images in plain folders: the way to bring one's own data. Settings name the four folders of
//! a category, so that most trees need no code.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use fmam_core::{Preparation, Sample, SampleSource, Split};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{
    EXTENSIONS, Tree, category_folders, find_category, has_part, name_of, normal_samples, sample, stem_of,
    subfolders,
};
use super::masks::{Joined, join, mask_tree, refuse_some_without_mask, unused_mask, without_suffix};
use crate::source::MaskFormat;
use crate::told::tell;
use crate::{
    Category, CategoryFiles, Choice, Counts, Dataset, DatasetEntry, DatasetError, DatasetOptions, Example,
    ExampleFile, FileLayout,
};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "folder",
    summary: "your images: [CATEGORY/]train/normal, test/normal, test/anomalous[/TYPE], masks[/TYPE]/STEM.png",
    layout: Some(FileLayout {
        holders: &[],
        expected: "train/normal or CATEGORY/train/normal",
        example: Example {
            files: &[
                ("bolt/train/normal/x.bmp", ExampleFile::Image),
                ("bolt/test/normal/y.bmp", ExampleFile::Image),
                ("bolt/test/anomalous/p.bmp", ExampleFile::Image),
                ("bolt/test/anomalous/q.bmp", ExampleFile::Image),
                ("bolt/test/anomalous/hole/p.bmp", ExampleFile::Image),
                ("bolt/masks/p.png", ExampleFile::Mask),
                ("bolt/masks/q_mask.png", ExampleFile::Mask),
                ("bolt/masks/hole/p.png", ExampleFile::Mask),
            ],
            counts: &[("bolt", Counts::new(1, 1, 3))],
        },
    }),
    published: &[],
    open: |options| Ok(Box::new(Folder::open(options)?)),
};

/// The groups of ids, which do not depend on the names of the folders.
const NORMAL: &str = "normal";
const ANOMALOUS: &str = "anomalous";

struct Folder {
    categories: Vec<PathBuf>,
    folders: Folders,
}

/// The settings: where a category has its images and masks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Folders {
    /// Normal images to train on.
    train: Within,
    test_normal: Within,
    /// Images with defects, also in sub-folders by defect type.
    test_anomalous: Within,
    /// Masks of the images with defects; the folder may be missing.
    masks: Within,
}

impl Default for Folders {
    fn default() -> Self {
        let within = |path: &str| Within(path.to_owned());
        Self {
            train: within("train/normal"),
            test_normal: within("test/normal"),
            test_anomalous: within("test/anomalous"),
            masks: within("masks"),
        }
    }
}

impl Folders {
    /// # Errors
    /// [`DatasetError::Setting`] also where one of the folders holds another.
    fn read(options: &DatasetOptions) -> Result<Self, DatasetError> {
        let folders: Self = options.read(ENTRY.name)?;
        let named = [
            ("train", &folders.train),
            ("test_normal", &folders.test_normal),
            ("test_anomalous", &folders.test_anomalous),
            ("masks", &folders.masks),
        ];
        for (index, (key, path)) in named.iter().enumerate() {
            for (other, held) in named.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, n)| n)
            {
                if Path::new(&held.0).starts_with(&path.0) {
                    let why =
                        format!("`{}` holds `{}` of `{other}`; the folders must be apart", path.0, held.0);
                    let (key, source) = ((*key).to_owned(), serde_json::Error::custom(why));
                    return Err(DatasetError::Setting { dataset: ENTRY.name, key, source });
                }
            }
        }
        Ok(folders)
    }

    /// A folder with one of these is taken for a category.
    fn parts(&self) -> [&str; 3] {
        [&self.train, &self.test_normal, &self.test_anomalous].map(Within::first)
    }
}

/// A path within the folder of a category, its parts separated by `/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Within(String);

impl Within {
    fn first(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl TryFrom<String> for Within {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let part = |part: Component<'_>| match part {
            Component::Normal(name) => name.to_str().map(str::to_owned),
            _ => None,
        };
        let parts: Option<Vec<String>> = Path::new(&text).components().map(part).collect();
        match parts {
            Some(parts) if !parts.is_empty() => Ok(Self(parts.join("/"))),
            _ => Err(format!("`{text}` must be a path within the folder of a category, without `..`")),
        }
    }
}

impl From<Within> for String {
    fn from(within: Within) -> Self {
        within.0
    }
}

impl Folder {
    fn open(options: &DatasetOptions) -> Result<Self, DatasetError> {
        let folders = Folders::read(options)?;
        let train = &folders.train.0;
        let expected = format!("{train} or CATEGORY/{train}");
        let categories = options.find_expecting(&ENTRY, expected, |root| found_in(root, &folders.parts()))?;
        Ok(Self { categories, folders })
    }

    fn train_samples(&self, category: &Path) -> Result<Vec<Sample>, DatasetError> {
        let folder = category.join(&self.folders.train.0);
        normal_samples(&folder, Split::Train, NORMAL, "the normal training images")
    }
}

/// The categories in `root`, or `root` itself where it is a category: a folder with one of `parts`.
fn found_in(root: &Path, parts: &[&str]) -> Result<Option<Vec<PathBuf>>, DatasetError> {
    if !has_part(root, parts) {
        return category_folders(root, parts);
    }
    // The category is called as its folder, which `.` or `..` would not tell.
    let root =
        root.canonicalize().map_err(|source| DatasetError::ListFolder { folder: root.to_owned(), source })?;
    Ok(Some(vec![root]))
}

impl Dataset for Folder {
    fn categories(&self) -> Vec<String> {
        self.categories.iter().map(|folder| name_of(folder)).collect()
    }

    fn files(&self, name: &str) -> Result<CategoryFiles, DatasetError> {
        let folder = find_category(ENTRY.name, &self.categories, name)?;
        let at = |within: &Within| folder.join(&within.0);
        let train = self.train_samples(folder)?;
        let (normal, anomalous) = (at(&self.folders.test_normal), at(&self.folders.test_anomalous));
        // One class alone has scores and maps, too.
        let mut test = Vec::new();
        if normal.is_dir() || !anomalous.is_dir() {
            test = normal_samples(&normal, Split::Test, NORMAL, "the normal test images")?;
        }
        test.extend(anomalous_samples(&anomalous, &at(&self.folders.masks), &test)?);
        Ok(CategoryFiles { folder: folder.to_owned(), train, test, masks: MaskFormat::Binary })
    }

    fn train(&self, name: &str, size: &Preparation) -> Result<Arc<dyn SampleSource>, DatasetError> {
        Category::train_from_files(
            self.train_samples(find_category(ENTRY.name, &self.categories, name)?)?,
            size,
        )
    }

    /// `null` with the default folders, as records have it that were made before there were
    /// settings.
    fn identity(&self) -> Value {
        if self.folders == Folders::default() {
            return Value::Null;
        }
        serde_json::to_value(&self.folders).unwrap_or_default()
    }
}

/// The samples below `folder`, none where there is no such folder; the first folder on the way to
/// an image is its defect type. Masks lie in folders of the same names or in one above; either
/// every image has one or none has.
fn anomalous_samples(folder: &Path, masks: &Path, normal: &[Sample]) -> Result<Vec<Sample>, DatasetError> {
    let masks = mask_tree(masks)?;
    let images = Tree::below(folder, &EXTENSIONS)?;
    let type_folders = if folder.is_dir() { subfolders(folder)? } else { Vec::new() };
    if folder.is_dir() && images.files.is_empty() && type_folders.is_empty() {
        return Err(DatasetError::NoImages { folder: folder.to_owned() });
    }
    let types: HashSet<&OsStr> = images.files.iter().filter_map(|image| type_of(&images, image)).collect();
    let is_empty =
        |path: &PathBuf| !path.is_symlink() && path.file_name().is_none_or(|name| !types.contains(name));
    if let Some(empty) = type_folders.into_iter().find(is_empty) {
        return Err(DatasetError::NoImages { folder: empty });
    }
    let joined = join(&images, &masks)?;
    refuse_unused_masks(&joined, &images, &masks, normal)?;
    let samples = images.files.iter().zip(joined.masks).map(|(image, mask_paths)| {
        let defect_type = type_of(&images, image).map_or(ANOMALOUS.into(), OsStr::to_string_lossy);
        let sample = sample(Split::Test, ANOMALOUS, &images.name(image), image.clone(), Some(&defect_type));
        Sample { mask_paths, ..sample }
    });
    let samples: Vec<Sample> = samples.collect();
    refuse_some_without_mask(&samples)?;
    Ok(samples)
}

/// The first folder on the way from the root to `image`.
fn type_of<'a>(images: &Tree, image: &'a Path) -> Option<&'a OsStr> {
    images.folder_of(image).components().next().map(Component::as_os_str)
}

/// A mask must fit an anomalous image. Where all of these have masks, it may fit a normal image,
/// too: masks of normal images are not read, which is told.
fn refuse_unused_masks(
    joined: &Joined,
    images: &Tree,
    masks: &Tree,
    normal: &[Sample],
) -> Result<(), DatasetError> {
    let Some(first) = joined.unused.first() else { return Ok(()) };
    let is_complete = joined.masks.iter().all(|masks| !masks.is_empty());
    let stems: HashSet<String> = normal.iter().map(|sample| stem_of(&sample.image_path)).collect();
    let fits_normal = |mask: &&PathBuf| {
        let stem = stem_of(mask);
        stems.contains(&stem) || without_suffix(&stem).is_some_and(|stem| stems.contains(stem))
    };
    let misfit = if is_complete { joined.unused.iter().find(|mask| !fits_normal(mask)) } else { Some(first) };
    if let Some(mask) = misfit {
        return Err(unused_mask(mask, images, masks, &joined.masks, ""));
    }
    tell(Choice::MasksOfNormal, first, joined.unused.len(), None);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use fmam_core::ImageSize;

    use super::*;
    use crate::dataset;

    fn open(root: &Path, settings: Value) -> Result<Box<dyn Dataset>, DatasetError> {
        (dataset("folder")?.open)(&DatasetOptions::new(Some(root.to_owned()), settings)?)
    }

    #[test]
    fn another_tree_opens_with_settings_alone() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Example {
            files: &[
                ("01/train/ok/0.bmp", ExampleFile::Image),
                ("01/train/ok/1.bmp", ExampleFile::Image),
                ("01/test/ok/0.bmp", ExampleFile::Image),
                ("01/test/ko/0.bmp", ExampleFile::Image),
                ("01/ground_truth/ko/0.png", ExampleFile::Mask),
            ],
            counts: &[],
        };
        tree.write(dir.path()).unwrap();
        let settings = json!({
            "train": "train/ok/",
            "test_normal": "test/ok",
            "test_anomalous": "test/ko",
            "masks": "ground_truth/ko",
        });
        let opened = open(dir.path(), settings).unwrap();
        assert_eq!(opened.categories(), ["01"]);
        assert_eq!(opened.identity()["train"], "train/ok");
        let again = open(&dir.path().join("01"), opened.identity()).unwrap();
        assert_eq!(again.identity(), opened.identity());
        for opened in [opened, again] {
            let category = opened.category("01", &ImageSize::new(8, 8).into()).unwrap();
            assert_eq!(Counts::of(&category), Counts::new(2, 1, 1));
            let sample = |index| category.test.sample(index).clone();
            assert_eq!((sample(0).id, sample(1).id), ("test/normal/0".into(), "test/anomalous/0".into()));
            assert!(sample(1).mask_paths[0].ends_with("ground_truth/ko/0.png"));
        }
        // Without them it says what is missing.
        let error =
            open(dir.path(), Value::Null).unwrap().category("01", &ImageSize::new(8, 8).into()).unwrap_err();
        assert!(
            matches!(&error, DatasetError::MissingSplit { folder, .. } if folder.ends_with("train/normal"))
        );
        let elsewhere = json!({ "train": "good", "test_normal": "fine", "test_anomalous": "bad" });
        let error = open(dir.path(), elsewhere).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("expected good or CATEGORY/good there"), "{error}");
    }

    #[test]
    fn the_default_folders_leave_no_trace_in_a_record() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("train")).unwrap();
        for settings in [json!({}), json!({ "masks": "masks", "train": "train//normal" })] {
            assert_eq!(open(dir.path(), settings).unwrap().identity(), Value::Null);
        }
    }

    #[test]
    fn paths_that_lead_out_or_into_one_another_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (settings, key, why) in [
            (json!({ "train": "/data" }), "train", "within the folder"),
            (json!({ "masks": "../masks" }), "masks", "without `..`"),
            (json!({ "masks": "" }), "masks", "within the folder"),
            (json!({ "test_normal": 1 }), "test_normal", "expected a string"),
            (json!({ "trains": "x" }), "trains", "unknown field `trains`"),
            (json!({ "train": "test" }), "train", "`test` holds `test/normal` of `test_normal`"),
            (json!({ "masks": "train/normal" }), "train", "of `masks`; the folders must be apart"),
        ] {
            let error = open(dir.path(), settings).map(|_| ()).unwrap_err();
            let DatasetError::Setting { key: named, source, .. } = &error else { panic!("{error:?}") };
            assert!(named == key && source.to_string().contains(why), "{named}: {source}");
        }
    }
}
