use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use fmam_core::{ImageSize, MethodId, ValueRange};
use fmam_experiment::CalibrationMode;
use fmam_models::Precision;
use fmam_record::{MapLayout, Resolution};

use crate::{DeviceChoice, Setting};

/// The upper layer of a configuration: what is chosen over a preset, or over the defaults of a data
/// set. A field that is `None` or empty leaves the layer below as it is.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The layer below: the name of a preset, or a TOML file. Without it and without a data set it
    /// is the preset `demo`; with a data set alone every method has its default settings.
    pub preset: Option<String>,
    /// The folder that holds the data set.
    pub data_root: Option<PathBuf>,
    /// The registered name of the data set.
    pub dataset: Option<String>,
    /// Categories.
    pub categories: Option<Vec<String>>,
    /// Methods, perhaps variants of them.
    pub methods: Option<Vec<MethodId>>,
    /// Backbones.
    pub backbones: Option<Vec<String>>,
    /// Weights of backbones, `[NAME=]FILE`.
    pub weights: Vec<OsString>,
    /// Seeds.
    pub seeds: Option<Vec<u64>>,
    /// Training epochs of every method.
    pub epochs: Option<usize>,
    /// The size of the images, or of tiles.
    pub image_size: Option<ImageSize>,
    /// The way from image files to pixels.
    pub input: InputOptions,
    /// The resolution of pixel figures.
    pub evaluate_at: Option<Resolution>,
    /// False for no pixel figures.
    pub pixel_metrics: Option<bool>,
    /// The type of numbers that networks compute in.
    pub precision: Option<Precision>,
    /// The good images that calibrate each detector.
    pub calibration: Option<CalibrationMode>,
    /// The rate of false alarms that the threshold of a detector is for.
    pub false_alarms: Option<f64>,
    /// Settings of methods, `METHOD.KEY=VALUE`. `METHOD@NAME.KEY=VALUE` makes the variant `NAME` of
    /// a method, where there is none yet; it runs where its method does.
    pub settings: Vec<Setting>,
    /// The output folder.
    pub out: Option<PathBuf>,
    /// The layout in which anomaly maps are kept.
    pub export_maps: Option<MapLayout>,
    /// Threads that decode images.
    pub threads: Option<usize>,
    /// The device.
    pub device: Option<DeviceChoice>,
}

/// The part of [`Options`] that says how image files become pixels; see
/// [`InputConfig`](crate::InputConfig).
#[derive(Debug, Clone, Default)]
pub struct InputOptions {
    /// True to keep the aspect ratio.
    pub keep_aspect: Option<bool>,
    /// The overlap of tiles in pixels.
    pub tile_overlap: Option<usize>,
    /// The region of interest.
    pub roi: Option<PathBuf>,
    /// The values that become black and white.
    pub value_range: Option<ValueRange>,
    /// The colour behind transparent pixels.
    pub background: Option<[u8; 3]>,
    /// Bytes that a decoded image may take.
    pub max_image_bytes: Option<u64>,
}

/// The layer that a value of a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The value that holds if no layer gives one.
    Default,
    /// The preset of this name.
    Preset(String),
    /// The configuration in this file.
    File(PathBuf),
    /// The weights that were fetched before.
    Fetched,
    /// The [`Options`].
    Option,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset(name) => write!(f, "preset {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Fetched => f.write_str("fetched"),
            Self::Option => f.write_str("option"),
        }
    }
}

/// A value of a resolved configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The key as TOML has it, with dots for tables within tables.
    pub key: String,
    /// The value.
    pub value: toml::Value,
    /// Its layer.
    pub origin: Origin,
}
