use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Frame, ImageRows, ImageSize, Mask, RgbImage, SourceError, TileGrid};

/// The split of a sample: training or test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Defect-free images to fit on.
    Train,
    /// Normal and anomalous images to evaluate on.
    Test,
}

/// The class of an image: normal, or anomalous with a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Defect-free.
    Normal,
    /// Shows at least one defect.
    Anomalous,
}

/// One image of a data set: what is known of it without decoding it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Unique within the category and stable, `test/scratch/003` say: names artefacts and seeds
    /// synthesis.
    pub id: String,
    /// Train or test.
    pub split: Split,
    /// Normal or anomalous.
    pub label: Label,
    /// The data set's own name of the defect type (`scratch_neck`); `None` for normal images.
    pub defect_type: Option<String>,
    /// The image file; empty for generated samples.
    pub image_path: PathBuf,
    /// The mask files of an anomalous image: an anomalous pixel is one in any of them. Empty for a
    /// normal image, and for an anomalous one without a mask.
    pub mask_paths: Vec<PathBuf>,
}

/// All that a method or an evaluation sees of data: a fixed list of samples, each decoded on
/// request to one common size. Requests may come from many threads at once and in any order.
pub trait SampleSource: Send + Sync {
    /// Number of samples.
    fn len(&self) -> usize;

    /// True if there is no sample.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sample `index`, without decoding its image.
    ///
    /// # Panics
    /// Panics if `index` is not below [`SampleSource::len`], as slice indexing does.
    fn sample(&self, index: usize) -> &Sample;

    /// Decodes sample `index`, resized to the source's common size: the same pixels at every call.
    ///
    /// # Errors
    /// The source's own: an unreadable or truncated file, say. The message names the file.
    fn image(&self, index: usize) -> Result<RgbImage, SourceError>;

    /// The rows of [`SampleSource::image`], for a source that need not hold all of it. `None` where
    /// the image is best taken whole: it is small, it is held already, or not all of its pixels
    /// count.
    ///
    /// # Errors
    /// The source's own, as for [`SampleSource::image`].
    fn rows(&self, index: usize) -> Result<Option<Box<dyn ImageRows>>, SourceError> {
        let _ = index;
        Ok(None)
    }

    /// The ground-truth mask of sample `index` in the same size as its image: empty for a normal
    /// sample, `None` for an anomalous one without a mask.
    ///
    /// # Errors
    /// The source's own, as for [`SampleSource::image`].
    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError>;

    /// The size of [`SampleSource::image`]. A source that knows the size without decoding the image
    /// says so here.
    ///
    /// # Errors
    /// The source's own, as for [`SampleSource::image`].
    fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
        Ok(self.image(index)?.size())
    }

    /// The pixels of [`SampleSource::image`] that count, 1 for each: those that are no padding and
    /// lie within the region of interest. `None` where all count.
    ///
    /// # Errors
    /// The source's own, as for [`SampleSource::image`].
    fn inside(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        let _ = index;
        Ok(None)
    }

    /// Sample `index` at the size of its file; `None` for a source whose images have no other size
    /// than that of [`SampleSource::image`].
    ///
    /// # Errors
    /// The source's own, as for [`SampleSource::image`].
    fn original(&self, index: usize) -> Result<Option<Original>, SourceError> {
        let _ = index;
        Ok(None)
    }

    /// The depth in bits by which 16-bit files of the source are scaled; `None` where no file of
    /// 16 bits is scaled by a depth.
    ///
    /// # Errors
    /// The source's own, as for [`SampleSource::image`].
    fn bits(&self) -> Result<Option<u8>, SourceError> {
        Ok(None)
    }

    /// The position of sample `index` among the tiles of its image, row by row; 0 for a sample that
    /// is a whole image.
    fn tile(&self, index: usize) -> usize {
        let _ = index;
        0
    }

    /// The tiles of the image that sample `index` was cut from; `None` for a sample that is a whole
    /// image.
    fn grid(&self, index: usize) -> Option<&TileGrid> {
        let _ = index;
        None
    }
}

impl<S: SampleSource + ?Sized> SampleSource for &S {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn sample(&self, index: usize) -> &Sample {
        (**self).sample(index)
    }

    fn image(&self, index: usize) -> Result<RgbImage, SourceError> {
        (**self).image(index)
    }

    fn rows(&self, index: usize) -> Result<Option<Box<dyn ImageRows>>, SourceError> {
        (**self).rows(index)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        (**self).mask(index)
    }

    fn size(&self, index: usize) -> Result<ImageSize, SourceError> {
        (**self).size(index)
    }

    fn inside(&self, index: usize) -> Result<Option<Mask>, SourceError> {
        (**self).inside(index)
    }

    fn original(&self, index: usize) -> Result<Option<Original>, SourceError> {
        (**self).original(index)
    }

    fn bits(&self) -> Result<Option<u8>, SourceError> {
        (**self).bits()
    }

    fn tile(&self, index: usize) -> usize {
        (**self).tile(index)
    }

    fn grid(&self, index: usize) -> Option<&TileGrid> {
        (**self).grid(index)
    }
}

/// A sample at the size of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The place of the image within the pixels of [`SampleSource::image`].
    pub frame: Frame,
    /// The ground-truth mask, as [`SampleSource::mask`] has it, of the size of the file.
    pub mask: Option<Mask>,
    /// The region of interest, 1 inside; `None` for the whole image.
    pub inside: Option<Mask>,
}
