use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fmam_core::{AnomalyMap, ImageSize, Sample};
use serde::{Deserialize, Serialize};

use crate::RecordError;

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

/// Files of the maps of a test split, one by one.
#[derive(Debug)]
pub struct MapExport {
    folder: PathBuf,
    /// Names that are taken.
    names: HashSet<PathBuf>,
    n_written: usize,
}

impl MapExport {
    /// The files of `category` under `dir`.
    pub fn new(layout: MapLayout, dir: &Path, category: &str) -> Self {
        let MapLayout::Mvtec = layout;
        Self { folder: dir.join(category).join("test"), names: HashSet::new(), n_written: 0 }
    }

    /// Writes the map of the next sample of the split, brought to `size`: that of its image file.
    /// Gives the file, which is not synced.
    ///
    /// # Errors
    /// As [`crate::write_map`].
    pub fn write(
        &mut self,
        sample: &Sample,
        map: &AnomalyMap,
        size: ImageSize,
    ) -> Result<PathBuf, RecordError> {
        let mut name = mvtec_name(sample);
        if !self.names.insert(name.clone()) {
            // Two files of one name, in folders that the layout does not have.
            let index = self.n_written;
            name.set_file_name(format!("{}-{index}", name.file_name().unwrap_or_default().display()));
            self.names.insert(name.clone());
        }
        self.n_written += 1;
        let mut path = self.folder.join(name).into_os_string();
        path.push(".tiff");
        let path = PathBuf::from(path);
        crate::write_map(&path, map, size)?;
        Ok(path)
    }
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

    use super::*;

    #[test]
    fn maps_lie_by_defect_and_none_takes_the_place_of_another() {
        let sample = |image_path: &str, defect_type: Option<&str>| Sample {
            id: image_path.to_owned(),
            split: Split::Test,
            label: if defect_type.is_some() { Label::Anomalous } else { Label::Normal },
            defect_type: defect_type.map(str::to_owned),
            image_path: image_path.into(),
            mask_paths: Vec::new(),
        };
        let cuts = [sample("a/0.png", Some("cut")), sample("b/0.png", Some("cut"))];
        let samples = [&[sample("good/0.png", None)][..], &cuts].concat();
        let map = AnomalyMap::new(ImageSize::square(2), vec![0.0; 4]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut export = MapExport::new(MapLayout::Mvtec, dir.path(), "screw");
        for sample in &samples {
            let size = if sample.label == Label::Normal { ImageSize::new(4, 6) } else { map.size() };
            export.write(sample, &map, size).unwrap();
        }
        let split = dir.path().join("screw/test");
        let size_of = |name: &str| crate::read_maps(&split.join(name)).unwrap()[0].size();
        assert_eq!(size_of("good/0.tiff"), ImageSize::new(4, 6));
        assert_eq!(size_of("cut/0.tiff"), ImageSize::square(2));
        assert_eq!(size_of("cut/0-2.tiff"), ImageSize::square(2));
    }
}
