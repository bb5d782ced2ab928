//! Saved detectors: a folder with `model.toml`, which is the [`ModelCard`], and one safetensors
//! file for each network. The card holds the digest of each file, and its own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use fmam_core::{ImageSize, MethodId, Placing, Preparation, Reading, RegionOfInterest, Seed};
use fmam_files::NewDir;
use fmam_inspection::Calibration;
use fmam_models::{Backbone, BackboneSpec, ModelError, Precision};
use serde::{Deserialize, Serialize};

use crate::MethodError;
use crate::checkpoint::{Checkpoint, Tensors};
use crate::network_files::{NetworkFiles, network_path, strangers};
use crate::seal::{self, Sealed};
use crate::settings::{Settings, overlaid};

/// Version of the folder's layout.
const SCHEMA: u32 = 4;

/// The version whose cards hold the digests of the networks, and none of their own.
const WITHOUT_SEAL: u32 = 3;

/// The version before, whose cards hold no digests.
const WITHOUT_DIGESTS: u32 = 2;

/// The versions that can be read.
const KNOWN: [u32; 3] = [WITHOUT_DIGESTS, WITHOUT_SEAL, SCHEMA];

/// No detector is fitted for larger images; a damaged size must not ask for all memory.
const MAX_SIDE: usize = 1 << 14;

/// Bytes of a card, at most: a calibration holds the scores of thousands of images.
const MAX_BYTES: u64 = 64 << 20;

/// The file of the card.
const CARD_FILE: &str = "model.toml";

/// The file of the backbone's tensors, without its ending.
const TEACHER: &str = "teacher";

/// The facts about a fitted detector: the contents of `model.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    schema: u32,
    /// The registered method.
    pub method: MethodId,
    /// The backbone of the run, also where the method does not use it.
    pub backbone: String,
    /// The seed of the fit.
    pub seed: Seed,
    /// The size of the pixels that the networks see: that of an image, or that of a tile.
    pub image_size: ImageSize,
    /// The way from the values of image files to 8 bits, as found on the training images.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reading: Reading,
    /// The place of an image of another size.
    #[serde(default, skip_serializing_if = "is_default")]
    pub placing: Placing,
    /// The part of each image that is looked at.
    #[serde(default, skip_serializing_if = "is_default")]
    pub region: RegionOfInterest,
    /// The one size of the images that a method of fixed positions has learnt in tiles; `None`
    /// where images may have any size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_size: Option<ImageSize>,
    /// The number format of the backbone and its students; absent for f32.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// The settings of the method, with what the fit has resolved.
    #[serde(rename = "config")]
    pub settings: toml::Table,
    /// The scores on good images that the detector did not learn from; `None` for a detector that
    /// was not calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The digests of the network files; none before the detector is saved.
    #[serde(default)]
    files: NetworkFiles,
}

impl ModelCard {
    /// The card of a detector that computes in f32.
    pub fn new(
        method: impl Into<MethodId>,
        backbone: impl Into<String>,
        seed: Seed,
        image_size: ImageSize,
        settings: toml::Table,
    ) -> Self {
        Self {
            schema: SCHEMA,
            method: method.into(),
            backbone: backbone.into(),
            seed,
            image_size,
            reading: Reading::default(),
            placing: Placing::default(),
            region: RegionOfInterest::default(),
            fixed_size: None,
            precision: Precision::default(),
            settings,
            calibration: None,
            files: NetworkFiles::default(),
        }
    }

    /// The card of a detector of images that `preparation` gives.
    #[must_use]
    pub fn with_preparation(self, preparation: &Preparation) -> Self {
        let Preparation { size, reading, placing, region } = preparation.clone();
        Self { image_size: size, reading, placing, region, ..self }
    }

    /// The way from an image file to the pixels that the detector sees.
    pub fn preparation(&self) -> Preparation {
        Preparation {
            size: self.image_size,
            reading: self.reading,
            placing: self.placing,
            region: self.region.clone(),
        }
    }

    fn read(dir: &Path) -> Result<Self, MethodError> {
        let path = dir.join(CARD_FILE);
        let text = fmam_files::read_text_limited(&path, MAX_BYTES);
        let text = text.map_err(|e| MethodError::read(&path, e))?;
        let (text, is_sealed) = match seal::open(&text) {
            Sealed::Whole(text) => (text, true),
            Sealed::Absent(text) => (text, false),
            Sealed::Broken => return Err(MethodError::EditedCard { path }),
        };
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| MethodError::read(&path, e))?;
        match table.get("schema").and_then(toml::Value::as_integer) {
            Some(found) if KNOWN.iter().all(|known| i64::from(*known) != found) => {
                return Err(MethodError::UnknownLayout { path, found, known: &KNOWN });
            }
            Some(found) if found == i64::from(SCHEMA) && !is_sealed => {
                return Err(MethodError::EditedCard { path });
            }
            _ => {}
        }
        let card: Self = table.try_into().map_err(|e: toml::de::Error| MethodError::read(&path, e))?;
        // One bit makes layout 2 of layout 3, and no digest would be compared.
        if card.schema == WITHOUT_DIGESTS && !card.files.is_empty() {
            return Err(MethodError::EditedCard { path });
        }
        let ImageSize { height, width } = card.image_size;
        if ![height, width].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            let message = format!("image size {} is not from 1 to {MAX_SIDE}", card.image_size);
            return Err(MethodError::read(&path, message));
        }
        Ok(card)
    }

    /// Puts this card in the place of the one in the folder `dir`. The digests of the network files
    /// stay as they were saved. A folder from before there were digests gets those of its files.
    pub(crate) fn replace(&self, dir: &Path) -> Result<(), MethodError> {
        let saved = Self::read(dir)?;
        let has_digests = saved.schema != WITHOUT_DIGESTS;
        let files = if has_digests { saved.files } else { NetworkFiles::in_folder(dir)? };
        let path = dir.join(CARD_FILE);
        // A region of other images, or another limit, is that of one call.
        let card = Self { region: saved.region, reading: saved.reading, ..self.with_files(files) };
        let text = card.to_toml(&path)?;
        fmam_files::write_atomic(&path, |file| file.write_all(text.as_bytes()))
            .map_err(|e| write_error(&path, e))
    }

    /// This card in the present layout, with the digests `files`.
    fn with_files(&self, files: NetworkFiles) -> Self {
        Self { schema: SCHEMA, files, ..self.clone() }
    }

    /// The text of the card under its seal, which goes to `path`. A list of thousands of scores
    /// stays on one line.
    fn to_toml(&self, path: &Path) -> Result<String, MethodError> {
        toml::to_string(self).map(|card| seal::seal(&card)).map_err(|e| write_error(path, e))
    }

    /// Writes the folder `dir`, which must not exist, with the card, the `backbone` and the
    /// `networks`. Tensors that are not finite are refused, since they could not be loaded.
    pub(crate) fn write(
        &self,
        dir: &Path,
        backbone: Option<&dyn Backbone>,
        networks: &[(&'static str, Tensors)],
    ) -> Result<(), MethodError> {
        // A link that leads nowhere is there too.
        if dir.symlink_metadata().is_ok() {
            return Err(write_error(dir, std::io::Error::from(std::io::ErrorKind::AlreadyExists)));
        }
        let new = NewDir::beside(dir).map_err(|e| write_error(dir, e))?;
        let networks = networks.iter().map(|(name, tensors)| (*name, tensors));
        let teacher = backbone.map(|backbone| Ok::<_, ModelError>((TEACHER, backbone.weights()?)));
        for (name, tensors) in teacher.transpose()?.into_iter().chain(networks) {
            let target = network_path(dir, name);
            fmam_models::check_finite(tensors, &target.display().to_string())?;
            fmam_models::save_tensors(&network_path(new.path(), name), tensors)
                .map_err(|e| write_error(&target, e))?;
        }
        let path = dir.join(CARD_FILE);
        let text = self.with_files(NetworkFiles::in_folder(new.path())?).to_toml(&path)?;
        fs::write(new.path().join(CARD_FILE), text).map_err(|e| write_error(&path, e))?;
        new.finish(dir).map_err(|e| write_error(dir, e))
    }
}

/// A saved detector whose card has been read, before its method reads the networks.
pub struct SavedModel {
    pub(crate) card: ModelCard,
    dir: PathBuf,
    device: Device,
    backbones: Vec<&'static BackboneSpec>,
}

impl SavedModel {
    /// Reads the card in `dir`. The networks will go to `device`, and the backbone will be one of
    /// `backbones`.
    pub(crate) fn open(
        dir: &Path,
        device: &Device,
        backbones: &[&'static BackboneSpec],
    ) -> Result<Self, MethodError> {
        let (card, device) = (ModelCard::read(dir)?, device.clone());
        if card.schema != WITHOUT_DIGESTS {
            card.files.check_names(dir)?;
        }
        let strangers = strangers(dir, CARD_FILE)?;
        if let Some(first) = strangers.first() {
            let (model, n) = (dir.display(), strangers.len());
            tracing::warn!(%model, first, n, "files that are no part of the model: not read");
        }
        Ok(Self { card, dir: dir.to_owned(), device, backbones: backbones.to_vec() })
    }

    /// The facts about the detector.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The device that the networks go to.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The checked settings of `method`, of which `defaults` are the defaults.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn settings<S: Settings>(&self, method: &'static str, defaults: &S) -> Result<S, MethodError> {
        overlaid(method, defaults, self.card.settings.clone())
    }

    /// The saved backbone, in the precision of the fit.
    ///
    /// # Errors
    /// [`ModelError::UnknownBackbone`] for a backbone that this program does not have, and as
    /// [`SavedModel::network`].
    pub fn backbone(&self) -> Result<Arc<dyn Backbone>, MethodError> {
        let saved = self.network(TEACHER)?;
        let origin = saved.origin().to_owned();
        let name = &self.card.backbone;
        let spec = self.backbones.iter().find(|spec| spec.name == name.as_str()).ok_or_else(|| {
            let known = self.backbones.iter().map(|spec| spec.name).collect();
            ModelError::UnknownBackbone { name: name.clone(), known }
        })?;
        let backbone = spec.with_tensors(saved.tensors, &origin, &self.device)?;
        Ok(Arc::new(backbone.with_precision(self.card.precision)))
    }

    /// The tensors of the network `name`.
    ///
    /// # Errors
    /// [`MethodError::ReplacedFile`] for another file than the saved one,
    /// [`MethodError::MissingFile`] for a network that was not saved; [`ModelError::NotFinite`] for
    /// a tensor with infinite or undefined values; [`ModelError::Read`] for a file that is missing
    /// or damaged, in a folder from before there were digests.
    pub fn network(&self, name: &str) -> Result<Checkpoint, MethodError> {
        match self.card.schema {
            WITHOUT_DIGESTS => Checkpoint::read(&network_path(&self.dir, name)),
            _ => self.card.files.load(&self.dir, name),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn write_error(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> MethodError {
    MethodError::Write { path: path.to_owned(), source: source.into() }
}
