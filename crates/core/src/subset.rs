use crate::{ImageRows, ImageSize, Mask, Original, RgbImage, Sample, SampleSource, SourceError, TileGrid};

/// Some samples of a source, in an order of their own.
///
/// ```
/// use fmam_core::{ImageSize, MemorySource, RgbImage, SampleSource, Split, Subset};
///
/// let mut source = MemorySource::new(Split::Train);
/// for grey in [1, 2, 3] {
///     source.push_normal(RgbImage::filled(ImageSize::square(1), [grey; 3]));
/// }
/// let subset = Subset::new(&source, vec![2, 0]);
/// assert_eq!((subset.len(), subset.image(0).unwrap().data()[0]), (2, 3));
/// ```
pub struct Subset<'a> {
    source: &'a dyn SampleSource,
    indices: Vec<usize>,
}

impl<'a> Subset<'a> {
    /// The samples `indices` of `source`.
    pub fn new(source: &'a dyn SampleSource, indices: Vec<usize>) -> Self {
        Self { source, indices }
    }
}

impl std::fmt::Debug for Subset<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subset").field("indices", &self.indices).finish_non_exhaustive()
    }
}

impl SampleSource for Subset<'_> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        self.source.sample(self.indices[index])
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        self.source.image(self.indices[index])
    }

    fn rows(&self, index: usize) -> Result<Option<Box<dyn ImageRows>>, SourceError> {
        self.source.rows(self.indices[index])
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        self.source.mask(self.indices[index])
    }

    fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
        self.source.size(self.indices[index])
    }

    fn inside(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        self.source.inside(self.indices[index])
    }

    fn original(&self, index: usize) -> Result<Option<Original>, SourceError> {
        self.source.original(self.indices[index])
    }

    fn bits(&self) -> Result<Option<u8>, SourceError> {
        self.source.bits()
    }

    fn tile(&self, index: usize) -> usize {
        self.source.tile(self.indices[index])
    }

    fn grid(&self, index: usize) -> Option<&TileGrid> {
        self.source.grid(self.indices[index])
    }
}
