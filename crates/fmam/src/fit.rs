use std::path::PathBuf;

use fmam_core::{ImageSize, Seed};
use fmam_experiment::{CalibrationConfig, CalibrationMode, InputConfig, KeepTraining};
use fmam_models::Precision;
use fmam_synthesis::Textures;

use crate::{Error, Setting};

/// The options of [`Session::fit`](crate::Session::fit): a method, a backbone, and what they are
/// told.
///
/// ```
/// let fit = fmam::Fit::new().method("nkd").backbone("tiny").image_size(64).epochs(5).seed(1);
/// let fit = fit.set("learning_rate", 0.001)?;
/// # Ok::<(), fmam::Error>(())
/// ```
#[derive(Clone)]
pub struct Fit {
    pub(crate) method: String,
    pub(crate) backbone: String,
    pub(crate) weights: Option<PathBuf>,
    pub(crate) seed: Seed,
    pub(crate) image_size: ImageSize,
    pub(crate) input: InputConfig,
    pub(crate) epochs: Option<usize>,
    pub(crate) precision: Precision,
    pub(crate) settings: toml::Table,
    pub(crate) textures: Textures,
    pub(crate) calibration: CalibrationConfig,
    pub(crate) keep_training: Option<KeepTraining>,
}

impl std::fmt::Debug for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = f.debug_struct("Fit");
        fields.field("method", &self.method).field("backbone", &self.backbone).field("seed", &self.seed);
        fields.field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            method: "rkd+fmam".to_owned(),
            backbone: "efficientnet-lite0".to_owned(),
            weights: None,
            seed: Seed::new(0),
            image_size: ImageSize::square(256),
            input: InputConfig::default(),
            epochs: None,
            precision: Precision::default(),
            settings: toml::Table::new(),
            textures: Textures::Generated,
            calibration: CalibrationConfig::default(),
            keep_training: None,
        }
    }
}

impl Fit {
    /// The method `rkd+fmam` on the backbone `efficientnet-lite0`, whose weights are built in, with
    /// images of 256 by 256 pixels, the method's own settings and seed 0. A part of the images
    /// calibrates the detector for 1 % of false alarms.
    pub fn new() -> Self {
        Self::default()
    }

    /// The registered name of the method.
    #[must_use]
    pub fn method(mut self, name: impl Into<String>) -> Self {
        self.method = name.into();
        self
    }

    /// The registered name of the backbone.
    #[must_use]
    pub fn backbone(mut self, name: impl Into<String>) -> Self {
        self.backbone = name.into();
        self
    }

    /// The weights of the backbone, `.pth` or `.safetensors`. Without a file it is what is built
    /// in, or what was fetched before.
    #[must_use]
    pub fn weights(mut self, file: impl Into<PathBuf>) -> Self {
        self.weights = Some(file.into());
        self
    }

    /// The origin of all randomness: the same seed gives the same detector.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Seed::new(seed);
        self
    }

    /// The side in pixels of the square to which every image is resized, a multiple of 32, or of
    /// 14 for DINOv2.
    #[must_use]
    pub fn image_size(self, side: usize) -> Self {
        self.image_sides(side, side)
    }

    /// The height and the width in pixels to which every image is resized, multiples as in
    /// [`Fit::image_size`].
    #[must_use]
    pub fn image_sides(mut self, height: usize, width: usize) -> Self {
        self.image_size = ImageSize::new(height, width);
        self
    }

    /// Images keep their size and are cut into tiles of the image size, neighbours of which share
    /// `overlap` pixels at least: small defects stay visible.
    #[must_use]
    pub fn tiles(mut self, overlap: usize) -> Self {
        self.input.tile_overlap = Some(overlap);
        self
    }

    /// The way from image files to pixels: aspect ratio, tiles, region of interest, range of
    /// values.
    #[must_use]
    pub fn input(mut self, input: InputConfig) -> Self {
        self.input = input;
        self
    }

    /// The training epochs, with FMAM those of the student. A method that does not train ignores
    /// them.
    #[must_use]
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// The type of numbers that backbone and student compute in.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Settings of the method in place of those given so far.
    #[must_use]
    pub fn settings(mut self, settings: toml::Table) -> Self {
        self.settings = settings;
        self
    }

    /// One setting of the method; the key has dots for tables within tables, `mapping.epochs` say.
    ///
    /// # Errors
    /// [`Error::Setting`] for an empty key, or an empty part of it.
    pub fn set(mut self, key: &str, value: impl Into<toml::Value>) -> Result<Self, Error> {
        Setting::new(key, value)?.apply(&mut self.settings);
        Ok(self)
    }

    /// The textures of synthetic defects; without them they are generated.
    #[must_use]
    pub fn textures(mut self, textures: Textures) -> Self {
        self.textures = textures;
        self
    }

    /// The images that calibrate the detector; [`CalibrationMode::Auto`] without it.
    #[must_use]
    pub fn calibration(mut self, mode: CalibrationMode) -> Self {
        self.calibration.mode = mode;
        self
    }

    /// Keeps the state of trainings, so that an interrupted fit with the same options and images
    /// goes on where it was, and gives the same detector. Without it every fit begins anew. What is
    /// kept can be removed once the detector is saved, [`KeepTraining::remove`].
    #[must_use]
    pub fn keep_training(mut self, keep: KeepTraining) -> Self {
        self.keep_training = Some(keep);
        self
    }

    /// The rate of false alarms, between 0 and 1, that the threshold of the detector is for; 0.01
    /// without it.
    #[must_use]
    pub fn false_alarms(mut self, rate: f64) -> Self {
        self.calibration.false_alarms = rate;
        self
    }
}
