use std::fmt;
use std::path::{Path, PathBuf};

use fmam_core::ImageSize;
use fmam_datasets::{Counts, Dataset, published_categories, published_counts};
use fmam_fetch::{Limits, check_digest, has_digest};

use super::published::{PublishedDataset, TransferProgress, bring, find, unpack};
use crate::Error;

/// No published data set has more.
const LIMITS: Limits = Limits { max_entries: 200_000, max_bytes: 64 << 30 };

/// Brings the data set `name` under `data_root`: from the archive `from_archive`, or fetched where
/// its licence lets a program do that. Gives its folder.
///
/// # Errors
/// [`Error::NotPublished`], [`Error::NotFetchable`], [`Error::AlreadyExists`], [`Error::Fetch`],
/// [`Error::Write`].
pub fn fetch_dataset(
    published: &[PublishedDataset],
    name: &str,
    data_root: &Path,
    from_archive: Option<&Path>,
    progress: &mut TransferProgress<'_>,
) -> Result<PathBuf, Error> {
    let entry = find(published, name, |dataset| &dataset.name, "data sets")?;
    let target = data_root.join(&entry.folder);
    if target.exists() {
        return Err(Error::AlreadyExists { path: target });
    }
    let cannot_write = |source| Error::Write { path: data_root.to_owned(), source };
    std::fs::create_dir_all(data_root).map_err(cannot_write)?;
    let archive = match (from_archive, &entry.url) {
        (Some(archive), _) => {
            // One that was fetched before, for another folder.
            if has_digest(archive) {
                check_digest(archive)?;
            }
            archive.to_owned()
        }
        (None, Some(url)) => {
            let archive = data_root.join(url.rsplit('/').next().unwrap_or(&entry.name));
            bring(url, &archive, None, LIMITS.max_bytes, false, progress)?;
            archive
        }
        (None, None) => {
            let PublishedDataset { name, page, licence, .. } = entry.clone();
            return Err(Error::NotFetchable { name, page, licence });
        }
    };
    unpack(&archive, &target, LIMITS, progress)?;
    Ok(target)
}

/// The images of a category beside those that are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryCount {
    /// The category.
    pub category: String,
    /// The images that are there.
    pub found: Counts,
    /// The images that are published; `None` where nothing is.
    pub published: Option<Counts>,
}

/// The images of a data set beside those that are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetCounts {
    /// Each category that is there.
    pub categories: Vec<CategoryCount>,
    /// Published categories that are not there.
    pub absent: Vec<String>,
}

impl DatasetCounts {
    /// The number of categories whose images are not those that are published.
    pub fn n_wrong(&self) -> usize {
        let is_wrong = |count: &&CategoryCount| count.published.is_some_and(|p| p != count.found);
        self.categories.iter().filter(is_wrong).count()
    }
}

impl fmt::Display for DatasetCounts {
    /// A line for each category, and one for those that are not there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |counts: &Counts| {
            format!("{} / {} / {}", counts.train, counts.test_normal, counts.test_anomalous)
        };
        for CategoryCount { category, found, published } in &self.categories {
            let verdict = match published {
                Some(published) if published == found => "as published".to_owned(),
                Some(published) => format!("published are {}", told(published)),
                None => "no published count".to_owned(),
            };
            let found = told(found);
            writeln!(f, "{category}: {found} images (training / normal / anomalous), {verdict}")?;
        }
        if self.absent.is_empty() { Ok(()) } else { writeln!(f, "not there: {}", self.absent.join(", ")) }
    }
}

/// Counts the images of each category of `dataset`, which is registered as `name`.
///
/// # Errors
/// [`Error::Experiment`] for files that are not as they should be.
pub fn count_images(name: &str, dataset: &dyn Dataset) -> Result<DatasetCounts, Error> {
    let known = dataset.categories();
    let count = |category: &String| {
        // The size does not matter to the counts.
        let found = Counts::of(&dataset.category(category, &ImageSize::square(32).into())?);
        let published = published_counts(name, category);
        Ok(CategoryCount { category: category.clone(), found, published })
    };
    let categories = known.iter().map(count).collect::<Result<_, Error>>()?;
    let absent = published_categories(name).filter(|category| !known.iter().any(|found| found == category));
    Ok(DatasetCounts { categories, absent: absent.map(str::to_owned).collect() })
}
