use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fmam_core::{Frame, ImageSize, Placing, Preparation};

/// A larger change of the aspect ratio is told of.
const MOST_SQUEEZE: f64 = 1.5;

/// A warning of images that lose their aspect ratio, given once for all images of a source.
#[derive(Debug, Default)]
pub struct SqueezeNotice(AtomicBool);

impl SqueezeNotice {
    /// A notice that is never given.
    pub(crate) fn silent() -> Self {
        Self(AtomicBool::new(true))
    }

    /// Warns if `preparation` changes the aspect ratio of the image `path` of the size `original`
    /// by more than a factor of 1.5.
    pub fn look(&self, preparation: &Preparation, path: &Path, original: ImageSize) {
        let size = preparation.size;
        let squeeze = Frame::squeeze(original, size);
        if preparation.placing == Placing::Squeeze
            && squeeze > MOST_SQUEEZE
            && !self.0.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                path = %path.display(),
                "resizing from {original} to {size} changes the aspect ratio {squeeze:.1} times, here and in \
                 images like it: keep the aspect ratio, or give height and width in that of the images"
            );
        }
    }
}
