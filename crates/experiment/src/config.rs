use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fmam_core::{ImageSize, MethodId, sides};
use fmam_models::Precision;
use fmam_record::{EvaluationConfig, MapLayout};
use serde::{Deserialize, Serialize};

use crate::{CalibrationConfig, DatasetChoice, ExperimentError, InputConfig};

/// Smallest image side: below it the coarsest features of most networks are a single position.
pub const MIN_IMAGE_SIZE: usize = 32;
/// Largest image side: beyond it the feature maps of one batch do not fit into memory.
pub const MAX_IMAGE_SIZE: usize = 2048;

/// Checks both sides of images in pixels against [`MIN_IMAGE_SIZE`] and [`MAX_IMAGE_SIZE`]. Their
/// multiples are those of a backbone, see [`check_image_size`](crate::check_image_size).
///
/// # Errors
/// [`ExperimentError::ImageSize`].
pub fn check_sides(actual: ImageSize) -> Result<(), ExperimentError> {
    let is_valid = |side: &usize| (MIN_IMAGE_SIZE..=MAX_IMAGE_SIZE).contains(side);
    if [actual.height, actual.width].iter().all(is_valid) {
        Ok(())
    } else {
        Err(ExperimentError::ImageSize { actual })
    }
}

/// The data of an experiment, and the methods, backbones and seeds whose every combination is a
/// run. Read from TOML; an unknown key is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentConfig {
    /// The data set: `dataset = "NAME"`, or a table `[dataset.NAME]` of its options.
    pub dataset: DatasetChoice,
    /// Folder that holds the data set, and DTD where there is one. Generated data needs none.
    pub data_root: Option<PathBuf>,
    /// Categories to run; empty for all that the data set has.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Registered names of the methods; `rkd+fmam@no-margin` is a variant of one, with the settings
    /// of `[variant.no-margin]`.
    pub methods: Vec<MethodId>,
    /// Registered names of the backbones.
    pub backbones: Vec<String>,
    /// Weight files (`.pth` or `.safetensors`) of backbones that have none embedded, or other than
    /// the embedded ones.
    #[serde(default)]
    pub weights: BTreeMap<String, PathBuf>,
    /// Seeds; each makes its own run.
    pub seeds: Vec<u64>,
    /// The size that every image is resized to, or that of a tile: a side such as `256`, or height
    /// and width such as `"160x768"`; multiples of 32, or of 14 for DINOv2, at most
    /// [`MAX_IMAGE_SIZE`].
    #[serde(default = "default_image_size", with = "sides")]
    pub image_size: ImageSize,
    /// The way from image files to pixels of that size.
    #[serde(default, skip_serializing_if = "is_default")]
    pub input: InputConfig,
    /// The pixel figures.
    #[serde(default, skip_serializing_if = "is_default")]
    pub evaluation: EvaluationConfig,
    /// The number format of backbones and students, `f32` or `bf16`; losses, statistics and scores
    /// are f32 in either.
    #[serde(default)]
    pub precision: Precision,
    /// The device of all tensors, `auto`, `cpu` or `cuda:0`; `None` leaves it to the caller.
    pub device: Option<String>,
    /// The output folder; `None` leaves it to the caller.
    pub out: Option<PathBuf>,
    /// Threads that decode and synthesise beside the training thread; `None` for one a core. The
    /// result does not depend on it.
    pub loader_threads: Option<usize>,
    /// Training epochs of every method that trains, with FMAM those of the student; a method's own
    /// table has precedence.
    pub epochs: Option<usize>,
    /// Each method's own settings, `[method.rkd]` say, over that method's defaults.
    #[serde(default)]
    pub method: BTreeMap<MethodId, toml::Table>,
    /// Named changes of a method's settings, over `method`. A run of `rkd+fmam@NAME` has those of
    /// `[variant.NAME]`, which may be empty.
    #[serde(default)]
    pub variant: BTreeMap<String, toml::Table>,
    /// The good images that calibrate each detector, and the rate of false alarms that its
    /// threshold is for. None where it is absent, as the protocols of the field have it: detectors
    /// learn from all training images.
    #[serde(default = "no_calibration")]
    pub calibration: CalibrationConfig,
    /// Test images of a run of which pictures are kept. With 0 of them a run keeps no maps either;
    /// see [`fmam_record::ArtefactConfig::keeps_maps`].
    #[serde(default = "default_n_overlays")]
    pub n_overlays: usize,
    /// The layout in which the anomaly maps of all test images are kept as files; absent for none.
    pub export_maps: Option<MapLayout>,
    /// True if the fitted detector is kept with its run.
    #[serde(default = "default_save_model")]
    pub save_model: bool,
}

fn default_image_size() -> ImageSize {
    ImageSize::square(256)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn no_calibration() -> CalibrationConfig {
    CalibrationConfig::OFF
}

fn default_n_overlays() -> usize {
    12
}

fn default_save_model() -> bool {
    true
}

impl ExperimentConfig {
    /// Bytes of a file of configurations, at most.
    pub const MAX_BYTES: u64 = 4 << 20;

    /// The protocol's experiment on a data set: the paper's four distillation methods with their
    /// default settings, the embedded backbone, three seeds, all categories.
    pub fn for_dataset(dataset: &str) -> Self {
        Self {
            dataset: DatasetChoice::new(dataset),
            data_root: None,
            categories: Vec::new(),
            methods: ["nkd", "nkd+fmam", "rkd", "rkd+fmam"].map(MethodId::from).to_vec(),
            backbones: vec!["efficientnet-lite0".to_owned()],
            weights: BTreeMap::new(),
            seeds: vec![0, 1, 2],
            image_size: default_image_size(),
            input: InputConfig::default(),
            evaluation: EvaluationConfig::default(),
            precision: Precision::default(),
            device: None,
            out: None,
            loader_threads: None,
            epochs: None,
            method: BTreeMap::new(),
            variant: BTreeMap::new(),
            calibration: no_calibration(),
            n_overlays: default_n_overlays(),
            export_maps: None,
            save_model: default_save_model(),
        }
    }

    /// Reads a configuration from TOML; `origin` names it in errors.
    ///
    /// # Errors
    /// [`ExperimentError::Parse`] for what is no TOML, an unknown or missing key, or a value of the
    /// wrong type.
    pub fn from_toml(text: &str, origin: &Path) -> Result<Self, ExperimentError> {
        toml::from_str(text).map_err(|source| ExperimentError::Parse {
            path: origin.to_owned(),
            line: line_of(text, &source),
            source: Box::new(source),
        })
    }

    /// Reads several configurations, for one report, from TOML that has a table `[[part]]` for
    /// each: its settings go before those outside of the parts. Without a part it is one
    /// configuration.
    ///
    /// # Errors
    /// As [`ExperimentConfig::from_toml`]; [`ExperimentError::ParsePart`],
    /// [`ExperimentError::EmptyList`].
    pub fn parts_from_toml(text: &str, origin: &Path) -> Result<Vec<Self>, ExperimentError> {
        let parse_error = |source: toml::de::Error| ExperimentError::Parse {
            path: origin.to_owned(),
            line: line_of(text, &source),
            source: Box::new(source),
        };
        let mut common: toml::Table = toml::from_str(text).map_err(parse_error)?;
        let Some(parts) = common.remove("part") else { return Ok(vec![Self::from_toml(text, origin)?]) };
        let parts: Vec<toml::Table> = parts.try_into().map_err(parse_error)?;
        if parts.is_empty() {
            return Err(ExperimentError::EmptyList { key: "part" });
        }
        let whole = |(index, part)| {
            let mut table = common.clone();
            fmam_methods::overlay_settings(&mut table, part);
            table.try_into().map_err(|source| ExperimentError::ParsePart {
                path: origin.to_owned(),
                part: index + 1,
                source: Box::new(source),
            })
        };
        parts.into_iter().enumerate().map(whole).collect()
    }

    /// Reads configurations from a TOML file.
    ///
    /// # Errors
    /// [`ExperimentError::ReadConfig`], and as [`ExperimentConfig::parts_from_toml`].
    pub fn parts_from_file(path: &Path) -> Result<Vec<Self>, ExperimentError> {
        let text = fmam_files::read_text_limited(path, Self::MAX_BYTES)
            .map_err(|source| ExperimentError::ReadConfig { path: path.to_owned(), source })?;
        Self::parts_from_toml(&text, path)
    }

    /// Checks what can be checked without the data: no empty list, no empty or repeated item, a
    /// usable image size.
    ///
    /// # Errors
    /// [`ExperimentError::EmptyList`], [`ExperimentError::EmptyItem`],
    /// [`ExperimentError::Repeated`], [`ExperimentError::ImageSize`],
    /// [`ExperimentError::LoaderThreads`].
    pub fn validate(&self) -> Result<(), ExperimentError> {
        self.calibration.check()?;
        let seeds: Vec<_> = self.seeds.iter().map(u64::to_string).collect();
        let methods: Vec<_> = self.methods.iter().map(MethodId::to_string).collect();
        let lists = [("methods", &methods), ("backbones", &self.backbones), ("seeds", &seeds)];
        if let Some((key, _)) = lists.iter().find(|(_, list)| list.is_empty()) {
            return Err(ExperimentError::EmptyList { key });
        }
        for (key, list) in lists.into_iter().chain([("categories", &self.categories)]) {
            if list.iter().any(|value| value.trim().is_empty()) {
                return Err(ExperimentError::EmptyItem { key });
            }
            if let Some((_, value)) = list.iter().enumerate().find(|(at, value)| list[..*at].contains(value))
            {
                return Err(ExperimentError::Repeated { key, value: value.clone() });
            }
        }
        check_sides(self.image_size)?;
        self.input.placing(self.image_size)?;
        if self.loader_threads == Some(0) {
            return Err(ExperimentError::LoaderThreads);
        }
        Ok(())
    }
}

/// The line, counted from 1, that `error` is about; the first where it does not say.
fn line_of(text: &str, error: &toml::de::Error) -> usize {
    error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "dataset = 'mvtec'\nmethods = ['rkd']\nbackbones = ['tiny']\nseeds = [0, 1]\ncategories = ['screw']\n";

    fn parse(text: &str) -> Result<ExperimentConfig, ExperimentError> {
        ExperimentConfig::from_toml(text, Path::new("x.toml"))
    }

    fn check(change: impl FnOnce(&mut ExperimentConfig), expected: fn(&ExperimentError) -> bool) {
        let mut config = parse(MINIMAL).unwrap();
        change(&mut config);
        let error = config.validate().unwrap_err();
        assert!(expected(&error), "{error:?}");
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = parse(MINIMAL).unwrap();
        config.validate().unwrap();
        assert_eq!(config.image_size, ImageSize::square(256));
        assert_eq!((config.n_overlays, config.save_model), (12, true));
        assert_eq!(config.dataset, DatasetChoice::new("mvtec"));
        assert_eq!((config.device, config.out, config.epochs), (None, None, None));
        assert_eq!(config.precision, Precision::F32);
        assert_eq!(parse(&format!("{MINIMAL}precision = 'bf16'")).unwrap().precision, Precision::Bf16);
    }

    #[test]
    fn parts_have_what_is_common_and_their_own() {
        let parts = |text: &str| ExperimentConfig::parts_from_toml(text, Path::new("x.toml"));
        let common = "methods = ['rkd']\nbackbones = ['tiny']\nseeds = [0]\nepochs = 3\n[method.rkd]\nbatch_size = 4\n";
        let text = format!(
            "{common}[[part]]\ndataset = 'mvtec'\ncategories = ['screw']\n[[part]]\ndataset = 'demo'\nepochs = 5\n\
             [part.method.rkd]\nlearning_rate = 0.1"
        );
        let [first, second] = &parts(&text).unwrap()[..] else { panic!("two parts") };
        let rkd = MethodId::from("rkd");
        assert_eq!(
            (first.dataset.name.as_str(), first.epochs, first.categories.len()),
            ("mvtec", Some(3), 1)
        );
        assert_eq!(
            (second.dataset.name.as_str(), second.epochs, second.categories.len()),
            ("demo", Some(5), 0)
        );
        assert_eq!(second.method[&rkd]["batch_size"].as_integer(), Some(4));
        assert!(
            second.method[&rkd].contains_key("learning_rate")
                && !first.method[&rkd].contains_key("learning_rate")
        );
        assert_eq!(parts(MINIMAL).unwrap(), [parse(MINIMAL).unwrap()]);
        let bad = |text: &str| parts(&format!("{common}{text}")).unwrap_err();
        let second = "[[part]]\ndataset = 'demo'\n[[part]]\ndataset = 'demo'\nlr = 1";
        assert!(matches!(bad(second), ExperimentError::ParsePart { part: 2, .. }));
        assert!(matches!(bad("[[part]]\nepochs = 1"), ExperimentError::ParsePart { part: 1, .. }));
        let first = |text: &str| parts(&format!("{text}\n{common}")).unwrap_err();
        assert!(matches!(first("part = 3"), ExperimentError::Parse { .. }));
        assert!(matches!(first("part = []"), ExperimentError::EmptyList { key: "part" }));
    }

    #[test]
    fn method_tables_are_kept_as_they_are() {
        let config = parse(&format!("{MINIMAL}[method.'rkd+fmam']\nepochs = 3\nmapping.width = 2")).unwrap();
        let table = &config.method[&MethodId::from("rkd+fmam")];
        assert_eq!(table["epochs"].as_integer(), Some(3));
        assert_eq!(table["mapping"]["width"].as_integer(), Some(2));
    }

    #[test]
    fn unknown_missing_and_mistyped_keys_are_refused_with_their_line() {
        let line = |text: &str| match parse(text).unwrap_err() {
            ExperimentError::Parse { line, .. } => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(line(&format!("{MINIMAL}lr = 0.1")), 6);
        assert_eq!(line(&format!("{MINIMAL}image_size = 'large'")), 6);
        assert_eq!(line(&format!("{MINIMAL}precision = 'f16'")), 6);
        assert_eq!(line("dataset = 'mvtec'\nmethods = [0]"), 2);
        assert!(parse("dataset = 'mvtec'").unwrap_err().to_string().contains("x.toml"));
        assert!(parse(&format!("{MINIMAL}[demo]\nseed = 1")).is_err());
    }

    #[test]
    fn each_bad_value_has_its_own_error() {
        use ExperimentError as E;
        check(|c| c.methods.clear(), |e| matches!(e, E::EmptyList { key: "methods" }));
        check(|c| c.backbones.clear(), |e| matches!(e, E::EmptyList { key: "backbones" }));
        check(|c| c.seeds.clear(), |e| matches!(e, E::EmptyList { key: "seeds" }));
        check(|c| c.methods.push(" ".into()), |e| matches!(e, E::EmptyItem { key: "methods" }));
        check(|c| c.categories.push("".into()), |e| matches!(e, E::EmptyItem { key: "categories" }));
        check(|c| c.seeds.push(0), |e| matches!(e, E::Repeated { key: "seeds", value } if value == "0"));
        check(|c| c.categories.push("screw".into()), |e| matches!(e, E::Repeated { key: "categories", .. }));
        for size in [(0, 0), (31, 31), (2080, 2080), (160, 16), (2080, 160)] {
            let size = ImageSize::new(size.0, size.1);
            check(|c| c.image_size = size, |e| matches!(e, E::ImageSize { .. }));
        }
        check(|c| c.input.tile_overlap = Some(256), |e| matches!(e, E::TileOverlap { .. }));
        check(|c| c.loader_threads = Some(0), |e| matches!(e, E::LoaderThreads));
    }
}
