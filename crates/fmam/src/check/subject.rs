use std::path::{Path, PathBuf};

use fmam_core::{ImageSize, Label, Preparation, Sample, Split};
use fmam_datasets::{CategoryFiles, Dataset, DatasetEntry, DatasetOptions, MaskFormat};
use fmam_experiment::Registry;
use serde::Serialize;

use super::quiet::quiet;
use crate::Error;
use crate::input::Inputs;

/// The layout that a folder is read as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TakenFor {
    /// A data set that was named.
    Named {
        /// The data set.
        dataset: String,
    },
    /// A data set whose layout the folder has.
    Recognised {
        /// The data set; several where they read the folder alike.
        datasets: Vec<String>,
        /// The folder of the data set: the folder given or the one above it.
        root: PathBuf,
    },
    /// A folder of normal images.
    Images {
        /// Data sets whose layouts the folder has too, and which read it in different ways.
        could_be: Vec<String>,
    },
}

/// The data to check.
pub struct Subject {
    /// The folder given.
    pub(super) folder: PathBuf,
    pub(super) taken_for: TakenFor,
    /// The data set; `None` for a folder of images.
    pub(super) dataset: Option<Box<dyn Dataset>>,
    /// The categories to check.
    pub(super) categories: Vec<String>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("taken_for", &self.taken_for).finish_non_exhaustive()
    }
}

impl Subject {
    /// The data set `dataset` in `root`: its category `category`, or all of them.
    ///
    /// # Errors
    /// [`Error::Experiment`] for an unknown name or a folder that is not as it should be.
    pub fn dataset(
        registry: &Registry,
        dataset: &str,
        root: Option<PathBuf>,
        category: Option<&str>,
    ) -> Result<Self, Error> {
        let folder = root.clone().unwrap_or_default();
        let opened = (registry.dataset(dataset)?.open)(&DatasetOptions { root, ..Default::default() })?;
        let categories = category.map_or_else(|| opened.categories(), |name| vec![name.to_owned()]);
        let taken_for = TakenFor::Named { dataset: dataset.to_owned() };
        Ok(Self { folder, taken_for, dataset: Some(opened), categories })
    }

    /// The data in `folder`: a data set of `registry` where exactly one layout fits, which
    /// [`Subject::taken_for`] tells; otherwise the normal images in it.
    ///
    /// # Errors
    /// [`Error::Read`] for a folder that cannot be listed.
    pub fn folder(registry: &Registry, folder: &Path) -> Result<Self, Error> {
        std::fs::read_dir(folder).map_err(|source| Error::Read { path: folder.to_owned(), source })?;
        // A folder is recognised by the names of those around it, which `.` or `screw` do not show.
        let given = folder;
        let canonical = folder.canonicalize();
        let folder = canonical.as_deref().unwrap_or(folder);
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
        let is_category = ["train", "test"].iter().any(|part| folder.join(part).is_dir());
        let mut fits = fits(registry, folder, None);
        let mut root = folder;
        if let (true, true, Some(above), Some(name)) = (fits.is_empty(), is_category, above, &name) {
            (fits, root) = (self::fits(registry, above, Some(name)), above);
        }
        Ok(match alike(fits, root) {
            Ok(mut fits) if !fits.is_empty() => {
                let datasets = fits.iter().map(|fit| fit.entry.name.to_owned()).collect();
                let taken_for = TakenFor::Recognised { datasets, root: root.to_owned() };
                let Fit { dataset, categories, .. } = fits.swap_remove(0);
                Self { folder: given.to_owned(), taken_for, dataset: Some(dataset), categories }
            }
            fits => {
                let could_be = fits.err().unwrap_or_default();
                let categories = vec![name.unwrap_or_else(|| folder.display().to_string())];
                let taken_for = TakenFor::Images { could_be };
                Self { folder: given.to_owned(), taken_for, dataset: None, categories }
            }
        })
    }

    /// The layout that the folder is read as.
    pub fn taken_for(&self) -> &TakenFor {
        &self.taken_for
    }

    /// Number of categories that there are, checked or not.
    pub(super) fn n_categories(&self) -> usize {
        self.dataset.as_ref().map_or(1, |dataset| dataset.categories().len())
    }

    /// The files of a category, and the faults of files that are left out.
    pub(super) fn files(&self, category: &str) -> Result<(CategoryFiles, Vec<Error>), Error> {
        match &self.dataset {
            Some(dataset) => Ok((dataset.files(category)?, Vec::new())),
            None => images(&self.folder),
        }
    }

    /// The training images of a category whose files are not as they should be.
    pub(super) fn training_files(&self, category: &str) -> Option<CategoryFiles> {
        let source = quiet(|| self.dataset.as_ref()?.train(category, &PREPARATION).ok())?;
        let train = (0..source.len()).map(|index| source.sample(index).clone()).collect();
        let folder = self.folder.clone();
        Some(CategoryFiles { folder, train, test: Vec::new(), masks: MaskFormat::Binary })
    }

    /// The fault for which the category is refused before any image of it is decoded.
    pub(super) fn refusal(&self, category: &str) -> Option<Error> {
        let dataset = self.dataset.as_ref()?;
        quiet(|| dataset.category(category, &PREPARATION)).err().map(Error::from)
    }
}

/// No pixel is asked for.
const PREPARATION: Preparation = Preparation {
    size: ImageSize::square(256),
    reading: fmam_core::Reading {
        values: fmam_core::ValueRange::Auto,
        background: [0; 3],
        max_bytes: u64::MAX,
    },
    placing: fmam_core::Placing::Squeeze,
    region: fmam_core::RegionOfInterest::Whole,
};

/// A layout that a folder has.
struct Fit {
    entry: &'static DatasetEntry,
    dataset: Box<dyn Dataset>,
    categories: Vec<String>,
    /// The files of each category, or the fault.
    files: Vec<Result<CategoryFiles, String>>,
}

impl Fit {
    fn is_whole(&self) -> bool {
        self.files.iter().all(Result::is_ok)
    }

    /// True if `root`, or a folder in it, is called as the folders that hold this data set.
    fn is_named_by(&self, root: &Path) -> bool {
        let holders = self.entry.layout.as_ref().map_or(&[][..], |layout| layout.holders);
        let is_called = |holder: &&str| root.ends_with(holder) || root.join(holder).is_dir();
        holders.iter().any(is_called)
    }

    /// The images and masks of each category.
    fn named_files(&self) -> Vec<Result<[&[Sample]; 2], &String>> {
        self.files.iter().map(|files| files.as_ref().map(samples)).collect()
    }
}

fn samples(files: &CategoryFiles) -> [&[Sample]; 2] {
    [&files.train, &files.test]
}

/// The layouts of `registry` that `root` has: training images lie where the layout asks for them.
fn fits(registry: &Registry, root: &Path, category: Option<&str>) -> Vec<Fit> {
    let fit = |entry: &&'static DatasetEntry| {
        let options = DatasetOptions { root: Some(root.to_owned()), ..DatasetOptions::default() };
        let dataset = quiet(|| (entry.open)(&options)).ok()?;
        let mut categories = dataset.categories();
        categories.retain(|name| category.is_none_or(|category| category == name));
        let trains = |name: &String| quiet(|| dataset.train(name, &PREPARATION)).is_ok();
        if !categories.iter().any(trains) {
            return None;
        }
        let files = |name: &String| quiet(|| dataset.files(name)).map_err(|error| error.to_string());
        let files = categories.iter().map(files).collect();
        Some(Fit { entry, dataset, categories, files })
    };
    registry.datasets().iter().filter(|entry| !entry.is_generated()).filter_map(fit).collect()
}

/// The layouts that read `root` without fault, else those that read a part of it; of several those
/// whose own folder name `root` has or holds. Layouts that read different files are an error: their
/// names. Of layouts that differ in the format of masks alone, those count that ask their values.
fn alike(mut fits: Vec<Fit>, root: &Path) -> Result<Vec<Fit>, Vec<String>> {
    let prefer = |fits: &mut Vec<Fit>, is: &dyn Fn(&Fit) -> bool| {
        if fits.iter().any(is) {
            fits.retain(is);
        }
    };
    prefer(&mut fits, &Fit::is_whole);
    prefer(&mut fits, &|fit| fit.is_named_by(root));
    let same = |fit: &Fit| fit.categories == fits[0].categories && fit.named_files() == fits[0].named_files();
    if !fits.iter().all(same) {
        return Err(fits.iter().map(|fit| fit.entry.name.to_owned()).collect());
    }
    prefer(&mut fits, &|fit| fit.files.iter().flatten().all(|files| files.masks == MaskFormat::Binary));
    Ok(fits)
}

/// The images below `folder`, as a fit reads them.
fn images(folder: &Path) -> Result<(CategoryFiles, Vec<Error>), Error> {
    let mut inputs = Inputs::new(None);
    inputs.add(folder)?;
    let (mut train, mut faults) = (Vec::new(), Vec::new());
    for found in inputs {
        match found {
            Ok(image_path) => train.push(Sample {
                id: image_path.strip_prefix(folder).unwrap_or(&image_path).display().to_string(),
                split: Split::Train,
                label: Label::Normal,
                defect_type: None,
                image_path,
                mask_paths: Vec::new(),
            }),
            Err(error) => faults.push(error),
        }
    }
    let files =
        CategoryFiles { folder: folder.to_owned(), train, test: Vec::new(), masks: MaskFormat::Binary };
    Ok((files, faults))
}
