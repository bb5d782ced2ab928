//! One image of the training set as a fit sees it.

use fmam_core::{ImageSize, Mask, Preparation, RgbImage, SampleSource};

use crate::{MethodError, Place};

/// A training image with its pixels that count; the others have one colour.
pub(crate) struct TrainingImage {
    pub(crate) image: RgbImage,
    /// `None` where all pixels count.
    pub(crate) inside: Option<Mask>,
    /// Position of the tile in its image.
    tile: usize,
}

impl TrainingImage {
    /// Decodes sample `index`; the error names it.
    pub(crate) fn load(source: &dyn SampleSource, index: usize) -> Result<Self, MethodError> {
        let id = || source.sample(index).id.clone();
        let unread = |error| MethodError::Sample { id: id(), source: error };
        let mut image = source.image(index).map_err(unread)?;
        let inside = source.inside(index).map_err(unread)?;
        let inside = inside.filter(|inside| inside.area() < inside.size().pixels());
        if let Some(inside) = &inside {
            if inside.is_empty() {
                return Err(MethodError::NothingToLearn { id: id() });
            }
            image.fill_outside(inside, Preparation::FILL).map_err(|error| unread(error.into()))?;
        }
        Ok(Self { image, inside, tile: source.tile(index) })
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place { tile: self.tile, inside: self.inside.as_ref() }
    }
}

/// The size of the images that the tiles of `source` were cut from, which a method of fixed
/// positions needs to be one; `None` for whole images.
///
/// # Errors
/// [`MethodError::MixedPositions`] where there are several sizes.
pub(crate) fn fixed_size(source: &dyn SampleSource) -> Result<Option<ImageSize>, MethodError> {
    let mut grids = (0..source.len()).filter_map(|index| Some((index, source.grid(index)?)));
    let Some((_, first)) = grids.next() else { return Ok(None) };
    match grids.find(|(_, grid)| *grid != first) {
        Some((index, other)) => {
            let id = source.sample(index).id.clone();
            Err(MethodError::MixedPositions { id, first: first.image(), other: other.image() })
        }
        None => Ok(Some(first.image())),
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::{MemorySource, Split, TiledSource};

    use super::*;

    #[test]
    fn positions_are_fixed_where_all_images_have_one_size() {
        let mut source = MemorySource::new(Split::Train);
        let mut push = |height| source.push_normal(RgbImage::filled(ImageSize::new(height, 9), [1; 3]));
        push(20);
        push(20);
        assert_eq!(fixed_size(&source).unwrap(), None);
        let tiles = |source| TiledSource::new(source, ImageSize::square(8), 2).unwrap();
        assert_eq!(fixed_size(&tiles(source.clone())).unwrap(), Some(ImageSize::new(20, 9)));
        source.push_normal(RgbImage::filled(ImageSize::new(21, 9), [1; 3]));
        let refused = fixed_size(&tiles(source)).unwrap_err();
        assert!(matches!(refused, MethodError::MixedPositions { .. }), "{refused}");
        assert!(refused.to_string().contains("20x9 and of 21x9"), "{refused}");
    }
}
