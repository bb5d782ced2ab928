//! The PNG twin of a figure, for documents that take no vectors.

use std::sync::Arc;

use resvg::{tiny_skia, usvg};

use super::Figure;
use crate::ReportError;

/// Pixels of the PNG file per unit of the SVG file.
const SCALE: f32 = 2.0;

impl Figure {
    /// The content of a PNG file, two pixels a unit. It has the same letters on every machine.
    ///
    /// # Errors
    /// [`ReportError::Plot`].
    pub fn png(&self) -> Result<Vec<u8>, ReportError> {
        let failed = |reason: String| ReportError::Plot { reason };
        let mut options = usvg::Options::default();
        let fonts = options.fontdb_mut();
        fonts.load_font_source(usvg::fontdb::Source::Binary(Arc::new(epaint_default_fonts::UBUNTU_LIGHT)));
        let family =
            fonts.faces().next().and_then(|face| face.families.first()).map(|(name, _)| name.clone());
        if let Some(family) = family {
            fonts.set_sans_serif_family(family.clone());
            options.font_family = family;
        }
        let tree = usvg::Tree::from_str(&self.svg(), &options).map_err(|error| failed(error.to_string()))?;
        let size = tree.size().to_int_size().scale_by(SCALE);
        let pixels = size.and_then(|size| tiny_skia::Pixmap::new(size.width(), size.height()));
        let mut pixels = pixels.ok_or_else(|| failed("it is too large for a PNG file".to_owned()))?;
        resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
        pixels.encode_png().map_err(|error| failed(error.to_string()))
    }
}
