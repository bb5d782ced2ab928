use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fmam_core::{Frame, ImageSize, Placing, Preparation};

use crate::Choice;
use crate::told::first_time;

/// A larger change of the aspect ratio is told of.
const MOST_SQUEEZE: f64 = 1.5;

/// A warning of images that lose their aspect ratio, given once for all images of a source.
#[derive(Debug, Default)]
pub struct SqueezeNotice {
    is_told: AtomicBool,
    /// True where any shape is as good as any other.
    is_silent: bool,
}

impl SqueezeNotice {
    /// A notice that is never given.
    pub(crate) fn silent() -> Self {
        Self { is_silent: true, ..Self::default() }
    }

    /// Notes that `preparation` changes the aspect ratio of the image `path` of the size `original`
    /// by more than a factor of 1.5, and warns of the first such image.
    pub fn look(&self, preparation: &Preparation, path: &Path, original: ImageSize) {
        let size = preparation.size;
        let squeeze = Frame::squeeze(original, size);
        if self.is_silent || preparation.placing != Placing::Squeeze || squeeze <= MOST_SQUEEZE {
            return;
        }
        first_time(Choice::Squeezed, path);
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                path = %path.display(),
                "resizing from {original} to {size} changes the aspect ratio {squeeze:.1} times, here and in \
                 images like it: keep the aspect ratio, or give height and width in that of the images"
            );
        }
    }
}
