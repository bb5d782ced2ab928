use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fmam_core::{AnomalyMap, Sample, SampleSource, SourceError};
use serde::{Deserialize, Serialize};

use crate::ExperimentError;

/// How the files of anomaly maps lie in their folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapLayout {
    /// `CATEGORY/test/DEFECT/IMAGE.tiff`, which the evaluation code that MVTec publishes for its data sets takes as its
    /// `anomaly_maps_dir`; `good` stands for the defect of normal images.
    Mvtec,
}

impl FromStr for MapLayout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mvtec" => Ok(Self::Mvtec),
            _ => Err("the only layout is `mvtec`".to_owned()),
        }
    }
}

/// Writes the map of one sample to a file.
pub type WriteMap<'a> = dyn Fn(&Path, &AnomalyMap, &Sample) -> Result<(), SourceError> + 'a;

/// Writes the maps of the whole test split of `category` under `dir`, each by `write`.
///
/// # Errors
/// [`ExperimentError::Maps`] with what `write` says.
pub fn write_maps(
    layout: MapLayout,
    dir: &Path,
    category: &str,
    test: &dyn SampleSource,
    maps: &[AnomalyMap],
    write: &WriteMap<'_>,
) -> Result<(), ExperimentError> {
    let MapLayout::Mvtec = layout;
    let mut names = HashSet::new();
    for (index, map) in maps.iter().enumerate() {
        let sample = test.sample(index);
        let mut name = mvtec_name(sample);
        if !names.insert(name.clone()) {
            // Two files of one name, in folders that the layout does not have.
            name.set_file_name(format!("{}-{index}", name.file_name().unwrap_or_default().display()));
            names.insert(name.clone());
        }
        let mut path = dir.join(category).join("test").join(name).into_os_string();
        path.push(".tiff");
        write(Path::new(&path), map, sample).map_err(ExperimentError::Maps)?;
    }
    Ok(())
}

/// The kind of defect and the name of the image without its ending.
fn mvtec_name(sample: &Sample) -> PathBuf {
    let stem = match sample.image_path.file_stem() {
        Some(stem) => stem.to_owned(),
        None => sample.id.rsplit('/').next().unwrap_or_default().into(),
    };
    Path::new(sample.defect_type.as_deref().unwrap_or("good")).join(stem)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use fmam_core::{ImageSize, RgbImage, Split};
    use fmam_testkit::MemorySource;

    use super::*;

    #[test]
    fn maps_lie_by_defect_and_none_takes_the_place_of_another() {
        let image = || RgbImage::filled(ImageSize::square(2), [0; 3]);
        let mut test = MemorySource::new(Split::Test);
        test.push_normal(image());
        test.push_anomalous("cut", image(), None);
        test.push_anomalous("cut", image(), None);
        let maps = vec![AnomalyMap::new(ImageSize::square(2), vec![0.0; 4]).unwrap(); 3];
        let written = RefCell::new(Vec::new());
        let write = |path: &Path, _: &AnomalyMap, _: &Sample| {
            written.borrow_mut().push(path.display().to_string());
            Ok(())
        };
        write_maps(MapLayout::Mvtec, Path::new("maps"), "screw", &test, &maps, &write).unwrap();
        let written = written.into_inner();
        assert!(written[0].starts_with("maps/screw/test/good/"), "{written:?}");
        assert!(
            written[1].starts_with("maps/screw/test/cut/") && written[1].ends_with(".tiff"),
            "{written:?}"
        );
        assert_eq!(written.iter().collect::<HashSet<_>>().len(), 3, "{written:?}");
    }
}
