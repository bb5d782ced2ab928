use std::sync::Arc;

use candle_core::Device;
use fmam_core::{ImageSize, Preparation, Progress, Seed};
use fmam_models::Backbone;
use fmam_synthesis::Textures;

use crate::KeptTraining;

/// The surroundings of a fit: everything that a method is given besides its own settings.
#[derive(Clone)]
pub struct RunContext<'a> {
    /// The device of all tensors.
    pub device: Device,
    /// Origin of all randomness of the run.
    pub seed: Seed,
    /// The way from image files to the pixels of the run.
    pub preparation: Preparation,
    /// The frozen teacher.
    pub backbone: Arc<dyn Backbone>,
    /// Texture images for synthetic anomalies.
    pub textures: Textures,
    /// Threads that decode and synthesise beside the training thread.
    pub loader_threads: usize,
    /// Receiver of the run's progress, and the source of a request to stop.
    pub progress: &'a dyn Progress,
    /// The state of interrupted trainings; `None` for a fit that always begins anew.
    pub kept: Option<&'a KeptTraining>,
}

impl RunContext<'_> {
    /// The size of every image that the networks see.
    pub fn image_size(&self) -> ImageSize {
        self.preparation.size
    }
}
