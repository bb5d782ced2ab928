use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fmam_core::{AnomalyMap, ImageSize, Sample, SampleSource, SourceError};
use serde::{Deserialize, Serialize};

/// The layout of the files of anomaly maps in their folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapLayout {
    /// `CATEGORY/test/DEFECT/IMAGE.tiff`, which the evaluation code that MVTec publishes for its
    /// data sets takes as its `anomaly_maps_dir`; `good` stands for the defect of normal images.
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

/// Writes the maps of the whole test split of `category` under `dir`. `original_size` gives the
/// size of a sample's image file, to which its map is brought; `None` keeps the size of the map.
///
/// # Errors
/// The errors of `original_size` and of [`crate::write_map`].
pub fn export_maps(
    layout: MapLayout,
    dir: &Path,
    category: &str,
    test: &dyn SampleSource,
    maps: &[AnomalyMap],
    original_size: impl Fn(&Sample) -> Result<Option<ImageSize>, SourceError>,
) -> Result<(), SourceError> {
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
        let size = original_size(sample)?.unwrap_or(map.size());
        crate::write_map(Path::new(&path), map, size)?;
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
    use fmam_core::{Label, Split};
    use fmam_testkit::Listed;

    use super::*;

    #[test]
    fn maps_lie_by_defect_and_none_takes_the_place_of_another() {
        let sample = |image_path: &str, defect_type: Option<&str>| Sample {
            id: image_path.to_owned(),
            split: Split::Test,
            label: if defect_type.is_some() { Label::Anomalous } else { Label::Normal },
            defect_type: defect_type.map(str::to_owned),
            image_path: image_path.into(),
            mask_path: None,
        };
        let cuts = [sample("a/0.png", Some("cut")), sample("b/0.png", Some("cut"))];
        let test = Listed([&[sample("good/0.png", None)][..], &cuts].concat());
        let maps = vec![AnomalyMap::new(ImageSize::square(2), vec![0.0; 4]).unwrap(); 3];
        let dir = tempfile::tempdir().unwrap();
        let size = |sample: &Sample| Ok((sample.label == Label::Normal).then(|| ImageSize::new(4, 6)));
        export_maps(MapLayout::Mvtec, dir.path(), "screw", &test, &maps, size).unwrap();
        let split = dir.path().join("screw/test");
        let size_of = |name: &str| crate::read_maps(&split.join(name)).unwrap()[0].size();
        assert_eq!(size_of("good/0.tiff"), ImageSize::new(4, 6));
        assert_eq!(size_of("cut/0.tiff"), ImageSize::square(2));
        assert_eq!(size_of("cut/0-2.tiff"), ImageSize::square(2));
        assert!(
            export_maps(MapLayout::Mvtec, dir.path(), "x", &test, &maps, |_| Err("gone".into())).is_err()
        );
    }
}
