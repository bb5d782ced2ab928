use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    CoreError, ErrorKind, ImageSize, Mask, OneLarge, RgbImage, Sample, SampleSource, SourceError, TileGrid,
};

/// Bytes of decoded images that are kept; one image is kept whatever its size.
const KEPT_BYTES: usize = 256 << 20;

/// The tiles of a source of images of any size, as samples of one common size.
///
/// Tiles that lie wholly outside of the region of interest are left out. A tile is the sample of
/// its image with the id `ID#Y,X`, where `Y` and `X` are its first row and column; its label is
/// that of the whole image. The images decoded last are kept, so that an image whose tiles are
/// asked for one behind the other is decoded once.
///
/// ```
/// use fmam_core::{ImageSize, MemorySource, RgbImage, SampleSource, Split, TiledSource};
///
/// let mut source = MemorySource::new(Split::Train);
/// source.push_normal(RgbImage::filled(ImageSize::new(20, 40), [7; 3]));
/// let tiles = TiledSource::new(source, ImageSize::square(20), 0)?;
/// assert_eq!((tiles.len(), tiles.tile(1)), (2, 1));
/// assert_eq!(tiles.sample(1).id, "train/normal/000#0,20");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TiledSource<S> {
    inner: S,
    grids: Vec<TileGrid>,
    tiles: Vec<Tile>,
    kept: Mutex<Vec<(usize, Arc<Slot>)>>,
    large: OneLarge,
}

/// The place of one tile.
struct Tile {
    image: usize,
    index: usize,
    sample: Sample,
    /// The runs of the pixels that count, which take little memory; `None` where all do.
    inside: Option<Vec<usize>>,
}

/// An image that one thread decodes while others that want it wait.
type Slot = Mutex<Option<Arc<Whole>>>;

struct Whole {
    image: RgbImage,
    mask: Option<Mask>,
}

/// The images of a source could not be cut into tiles.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TiledSourceError {
    /// The tiles themselves are not possible.
    #[error(transparent)]
    Tiles(#[from] CoreError),
    /// The size or the region of interest of an image could not be read.
    #[error("cannot cut `{id}` into tiles")]
    Sample {
        /// The sample.
        id: String,
        /// The reason; names the file.
        #[source]
        source: SourceError,
    },
    /// The region of interest of an image has another size than the image.
    #[error("the region of interest of `{id}` does not fit: give a mask of the size of the image")]
    Region {
        /// The sample.
        id: String,
        /// The two sizes.
        #[source]
        source: CoreError,
    },
}

impl TiledSourceError {
    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Tiles(error) => error.kind(),
            Self::Sample { .. } | Self::Region { .. } => ErrorKind::Data,
        }
    }
}

impl<S: SampleSource> TiledSource<S> {
    /// The tiles of all images of `inner`, of the size `tile`, where neighbours share `overlap`
    /// pixels at least. Sizes and regions of interest are read here, images where
    /// [`SampleSource::size`] needs them.
    ///
    /// # Errors
    /// [`TiledSourceError::Tiles`] for an overlap that is not below both sides of a tile,
    /// [`TiledSourceError::Sample`] and [`TiledSourceError::Region`] naming the sample.
    pub fn new(inner: S, tile: ImageSize, overlap: usize) -> Result<Self, TiledSourceError> {
        let (mut grids, mut tiles) = (Vec::with_capacity(inner.len()), Vec::new());
        for image in 0..inner.len() {
            let sample = inner.sample(image);
            let unread = |source| TiledSourceError::Sample { id: sample.id.clone(), source };
            let grid = TileGrid::new(inner.size(image).map_err(unread)?, tile, overlap)?;
            let inside = inner.inside(image).map_err(unread)?;
            for index in 0..grid.len() {
                let inside = grid
                    .inside(inside.as_ref(), index)
                    .map_err(|source| TiledSourceError::Region { id: sample.id.clone(), source })?;
                if inside.as_ref().is_some_and(Mask::is_empty) {
                    continue;
                }
                let (y, x) = grid.origin(index);
                let sample = Sample { id: format!("{}#{y},{x}", sample.id), ..sample.clone() };
                let inside = inside.map(|inside| inside.runs());
                tiles.push(Tile { image, index, sample, inside });
            }
            grids.push(grid);
        }
        Ok(Self { inner, grids, tiles, kept: Mutex::default(), large: OneLarge::default() })
    }

    /// The source of whole images.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The number of the image in [`TiledSource::inner`] that tile `index` was cut from.
    ///
    /// # Panics
    /// Panics if `index` is not below the number of tiles, as slice indexing does.
    pub fn image_of(&self, index: usize) -> usize {
        self.tiles[index].image
    }

    fn slot(&self, image: usize) -> Arc<Slot> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = kept.iter().find(|(known, _)| *known == image) {
            return Arc::clone(slot);
        }
        let bytes = |image: usize| 4 * self.grids[image].image().pixels();
        let slot = Arc::new(Slot::default());
        kept.push((image, Arc::clone(&slot)));
        while kept.len() > 1 && kept.iter().map(|(image, _)| bytes(*image)).sum::<usize>() > KEPT_BYTES {
            kept.remove(0);
        }
        slot
    }

    fn whole(&self, image: usize) -> Result<Arc<Whole>, SourceError> {
        let slot = self.slot(image);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(whole) = &*slot {
            return Ok(Arc::clone(whole));
        }
        let _alone = self.large.enter_for(self.grids[image].image());
        let whole = Whole { image: self.inner.image(image)?, mask: self.inner.mask(image)? };
        Ok(Arc::clone(slot.insert(Arc::new(whole))))
    }
}

impl<S: SampleSource> SampleSource for TiledSource<S> {
    fn len(&self) -> usize {
        self.tiles.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        &self.tiles[index].sample
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        let Tile { image, index, .. } = self.tiles[index];
        Ok(self.grids[image].cut(&self.whole(image)?.image, index)?)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        let Tile { image, index, .. } = self.tiles[index];
        let whole = self.whole(image)?;
        Ok(whole.mask.as_ref().map(|mask| self.grids[image].cut_mask(mask, index)).transpose()?)
    }

    fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
        Ok(self.grids[self.tiles[index].image].tile())
    }

    fn inside(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        let Tile { image, inside, .. } = &self.tiles[index];
        let mask = |runs: &Vec<usize>| Mask::from_runs(self.grids[*image].tile(), runs);
        Ok(inside.as_ref().map(mask).transpose()?)
    }

    fn bits(&self) -> Result<Option<u8>, SourceError> {
        self.inner.bits()
    }

    fn tile(&self, index: usize) -> usize {
        self.tiles[index].index
    }

    fn grid(&self, index: usize) -> Option<&TileGrid> {
        Some(&self.grids[self.tiles[index].image])
    }
}

impl<S> std::fmt::Debug for TiledSource<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TiledSource").field("tiles", &self.tiles.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{MemorySource, Preparation, Split};

    /// Two images of different sizes; the upper half of the first alone is looked at.
    struct Halves {
        inner: MemorySource,
        decoded: AtomicUsize,
    }

    impl SampleSource for Halves {
        fn len(&self) -> usize {
            self.inner.len()
        }

        fn sample(&self, index: usize) -> &Sample {
            self.inner.sample(index)
        }

        fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
            self.decoded.fetch_add(1, Ordering::Relaxed);
            self.inner.image(index)
        }

        fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
            self.inner.mask(index)
        }

        fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
            self.inner.size(index)
        }

        fn inside(&self, index: usize) -> Result<Option<Mask>, SourceError> {
            let size = self.inner.size(index)?;
            Ok((index == 0).then(|| Mask::from_fn(size, |y, _| y < size.height / 2)))
        }
    }

    fn halves() -> Halves {
        let mut inner = MemorySource::new(Split::Test);
        let image = |size| RgbImage::from_fn(size, |y, x| [y as u8, x as u8, 1]);
        let (first, second) = (ImageSize::new(40, 20), ImageSize::new(12, 30));
        let mask = Mask::from_fn(first, |y, x| (y, x) == (9, 13));
        inner.push_anomalous("hole", image(first), Some(mask)).unwrap();
        inner.push_normal(image(second));
        Halves { inner, decoded: AtomicUsize::new(0) }
    }

    #[test]
    fn tiles_have_their_place_mask_and_region() {
        let tiles = TiledSource::new(halves(), ImageSize::square(20), 4).unwrap();
        let ids: Vec<_> = (0..tiles.len()).map(|i| tiles.sample(i).id.as_str()).collect();
        // The tile at row 20 of the first image lies outside of the region.
        assert_eq!(
            ids,
            ["test/hole/000#0,0", "test/hole/000#10,0", "test/normal/001#0,0", "test/normal/001#0,10"]
        );
        let places: Vec<_> = (0..4).map(|i| (tiles.tile(i), tiles.image_of(i))).collect();
        assert_eq!(places, [(0, 0), (1, 0), (0, 1), (1, 1)]);
        assert_eq!(tiles.mask(0).unwrap().unwrap().area(), 1);
        assert!(tiles.mask(1).unwrap().unwrap().is_empty());
        assert_eq!(tiles.inside(0).unwrap(), None);
        assert_eq!(tiles.inside(1).unwrap().unwrap().area(), 200);
        let padded = tiles.image(3).unwrap();
        assert_eq!((padded.pixel(11, 19), padded.pixel(12, 0)), ([11, 29, 1], Preparation::FILL));
        assert_eq!(tiles.inside(3).unwrap().unwrap().area(), 240);
        assert_eq!(tiles.size(3).unwrap(), ImageSize::square(20));
        assert_eq!(tiles.grid(3).unwrap().image(), ImageSize::new(12, 30));
    }

    #[test]
    fn an_image_is_decoded_once_for_its_tiles() {
        let tiles = TiledSource::new(halves(), ImageSize::square(8), 0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..tiles.len()).for_each(|i| assert!(tiles.image(i).is_ok())));
            }
        });
        assert_eq!(tiles.inner().decoded.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_overlap_of_a_whole_tile_is_refused() {
        let refused = TiledSource::new(halves(), ImageSize::square(8), 8).unwrap_err();
        assert!(matches!(refused, TiledSourceError::Tiles(CoreError::TileOverlap { .. })), "{refused}");
    }
}
