//! The detectors of a server, each in memory once, and their replacement while requests go on.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use fmam::{Calibration, Detector, Loader, RgbImage, Session, Threshold};
use fmam_files::Digest;

use crate::fingerprint::fingerprint;
use crate::{ModelFolder, ServeError};

/// A detector in memory. Requests that began with it end with it, also after another has taken its
/// place.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) detector: Detector,
    pub(crate) threshold: Option<Threshold>,
    pub(crate) loader: Loader,
    /// The state of the folder that it was loaded from.
    state: Digest,
    /// SHA-256 of `model.toml`, which holds the digests of the networks.
    pub(crate) sha256: String,
    /// Seconds since 1970 at which it was loaded.
    pub(crate) loaded: u64,
}

impl Model {
    /// Loads the detector in `folder` and scores an image without content by it, so that the first
    /// request waits for no preparation.
    fn load(session: &Session, from: &ModelFolder) -> Result<Self, fmam::Error> {
        let read = |path: &Path, read: io::Result<Digest>| {
            read.map_err(|source| fmam::Error::Read { path: path.to_owned(), source })
        };
        let state = read(&from.folder, fingerprint(&from.folder))?;
        let card = from.folder.join("model.toml");
        let detector = session.load(&from.folder)?;
        let sha256 = read(&card, Digest::of_file(&card))?.to_string();
        let size = detector.card().fixed_size.unwrap_or(detector.image_size());
        let grey = RgbImage::filled(size, [127; 3]);
        for verdict in session.predict(&detector, [grey]) {
            if let Err(error) = verdict {
                // A folder with a region of interest for each name has none for this image.
                tracing::debug!(model = from.name, error = %error.one_line(), "no verdict on a grey image");
            }
        }
        let threshold = detector.calibration().map(Calibration::threshold);
        let loaded = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let loader = Loader::of(&detector);
        Ok(Self { name: from.name.clone(), detector, threshold, loader, state, sha256, loaded })
    }

    /// True for a detector of images of any size, whose prepared images are as large as they came.
    pub(crate) fn is_tiled(&self) -> bool {
        self.detector.card().preparation().tile_overlap().is_some()
    }
}

/// A model of the server: the detector in use, and the outcome of the last look at its folder.
#[derive(Debug)]
pub(crate) struct Slot {
    folder: ModelFolder,
    current: RwLock<Arc<Model>>,
    look: Mutex<Look>,
}

/// The outcome of the looks at a folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    /// The state at the last look. A folder is loaded when two looks in turn find the same state:
    /// a copy may be under way.
    seen: Option<Digest>,
    /// The state that could not be loaded; it is not tried again before it changes.
    refused: Option<Digest>,
    /// Times that another detector took the place of the one before.
    pub(crate) reloads: u64,
    /// Times that the folder changed and could not be loaded.
    pub(crate) failures: u64,
    /// The reason that the last change is not in use.
    pub(crate) problem: Option<String>,
}

/// The outcome of a look at a folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// The folder is as it was, or a change is not finished.
    Same,
    /// Another detector is in use now.
    Reloaded,
    /// The change could not be loaded; the detector before stays in use.
    Kept,
}

impl Slot {
    /// The name of the model.
    pub(crate) fn name(&self) -> &str {
        &self.folder.name
    }

    /// The detector in use.
    pub(crate) fn current(&self) -> Arc<Model> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The outcome of the looks so far.
    pub(crate) fn looks(&self) -> Look {
        self.look.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the folder. A changed one is loaded whole before it takes the place of the detector
    /// in use.
    pub(crate) fn look(&self, session: &Session) -> Looked {
        // Held all along: two looks at a time would load twice.
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        let name = self.name();
        let state = match fingerprint(&self.folder.folder) {
            Ok(state) => state,
            Err(error) => return keep(&mut look, name, None, &error.to_string()),
        };
        let current = self.current();
        if state == current.state {
            look.seen = Some(state);
            // Back as it was, after a change that could not be loaded.
            (look.problem, look.refused) = (None, None);
            return Looked::Same;
        }
        let is_settled = look.seen.replace(state) == Some(state);
        if !is_settled || look.refused == Some(state) {
            return Looked::Same;
        }
        match Model::load(session, &self.folder) {
            Ok(model) if model.state == state => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(model);
                look.reloads += 1;
                (look.problem, look.refused) = (None, None);
                tracing::info!(model = name, "the folder changed; its detector is in use");
                Looked::Reloaded
            }
            // It changed while it was read; the next look sees.
            Ok(_) => Looked::Same,
            Err(error) => keep(&mut look, name, Some(state), &error.one_line()),
        }
    }
}

/// Notes that a changed folder is not in use, once for each state.
fn keep(look: &mut Look, model: &str, state: Option<Digest>, problem: &str) -> Looked {
    if look.problem.as_deref() == Some(problem) && look.refused == state {
        return Looked::Same;
    }
    tracing::error!(model, problem, "the folder changed and cannot be loaded; the detector before stays");
    (look.refused, look.problem) = (state, Some(problem.to_owned()));
    look.failures += 1;
    Looked::Kept
}

/// The models of a server, in the order given; the first is that of a request that names none.
#[derive(Debug)]
pub(crate) struct Models(Vec<Slot>);

impl Models {
    /// Loads all `folders`.
    ///
    /// # Errors
    /// [`ServeError::NoModel`], [`ServeError::SameName`], [`ServeError::Model`].
    pub(crate) fn load(session: &Session, folders: Vec<ModelFolder>) -> Result<Self, ServeError> {
        // Before any of them is loaded, which takes a while.
        for (index, folder) in folders.iter().enumerate() {
            if folders[..index].iter().any(|other| other.name == folder.name) {
                return Err(ServeError::SameName { name: folder.name.clone() });
            }
        }
        let mut slots: Vec<Slot> = Vec::with_capacity(folders.len());
        for folder in folders {
            let model = Model::load(session, &folder).map_err(|source| ServeError::Model {
                name: folder.name.clone(),
                folder: folder.folder.clone(),
                source: Box::new(source),
            })?;
            tracing::info!(
                model = folder.name,
                folder = %folder.folder.display(),
                method = %model.detector.card().method,
                backbone = model.detector.card().backbone,
                "loaded"
            );
            let look = Look { seen: Some(model.state), ..Look::default() };
            slots.push(Slot { folder, current: RwLock::new(Arc::new(model)), look: Mutex::new(look) });
        }
        if slots.is_empty() { Err(ServeError::NoModel) } else { Ok(Self(slots)) }
    }

    /// The model `name`, or the first.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<&Slot> {
        match name {
            None => self.0.first(),
            Some(name) => self.0.iter().find(|slot| slot.name() == name),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }
}
