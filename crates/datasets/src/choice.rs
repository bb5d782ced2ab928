use serde::Serialize;

/// A choice that is made in reading a data set or a file, or a property of it that is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Choice {
    /// The 16-bit training image with the highest value decides the depth.
    Depth,
    /// Values beyond the range become black or white.
    Clamped,
    /// A single 16-bit file uses a small part of its range.
    FewLevels,
    /// The file holds further frames or pages.
    FirstFrame,
    /// The image has pixels that are not opaque.
    Transparent,
    /// Resizing changes the aspect ratio.
    Squeezed,
    /// The size of a mask leaves its orientation open.
    MaskOrientation,
    /// A mask is cut at half of its range.
    SoftMask,
    /// The mask of an anomalous image is blank, which the data set allows.
    BlankMask,
    /// A mask of a region of interest is cut at half of its range.
    SoftRegion,
    /// No test image is normal.
    NoNormalTest,
    /// No test image is anomalous.
    NoAnomalousTest,
    /// Normal images have masks.
    MasksOfNormal,
    /// Anomalous images lie among the training images.
    AnomalousTraining,
    /// Files are second copies of others.
    Copies,
    /// Files are no images by their names.
    OtherFiles,
    /// A link leads to a folder that is read already.
    RepeatedFolder,
    /// The layout does not use a folder of the category.
    UnusedFolder,
    /// A list has a column that is not known.
    UnknownColumn,
    /// A list names no splits.
    NoSplits,
    /// A list names masks and no labels.
    LabelsByMasks,
    /// A list names neither labels nor masks.
    NoLabels,
    /// A list names no masks.
    NoMasks,
    /// A list names no categories.
    NoCategories,
    /// A list names images more than once.
    RepeatedIds,
}

impl Choice {
    /// The choice as a clause.
    pub fn clause(self) -> &'static str {
        match self {
            Self::Depth => "16-bit files are scaled by the depth of the training images",
            Self::Clamped => "values beyond the range become black or white",
            Self::FewLevels => "16-bit values use a small part of their range",
            Self::FirstFrame => "the first of several frames or pages is used",
            Self::Transparent => "transparent pixels are laid over the background",
            Self::Squeezed => "resizing changes the aspect ratio by more than 1.5",
            Self::MaskOrientation => "the mask is taken as drawn on the upright image",
            Self::SoftMask => "the mask has soft edges, and pixels above half of its range are anomalous",
            Self::BlankMask => "the mask of an anomalous image has no anomalous pixel",
            Self::SoftRegion => "the region has soft edges, and pixels above half of its range lie inside",
            Self::NoNormalTest => {
                "no normal test image: AUROC and other figures of two classes, and the false alarm rate, are \
                 undefined"
            }
            Self::NoAnomalousTest => {
                "no anomalous test image: AUROC and other figures of two classes, pixel figures, and the miss \
                 rate, are undefined"
            }
            Self::MasksOfNormal => "masks of normal images are not read",
            Self::AnomalousTraining => "anomalous training images are left out",
            Self::Copies => "copies of other files are left out",
            Self::OtherFiles => "no image by its extension: ignored",
            Self::RepeatedFolder => "a link to a folder that is read already is passed over",
            Self::UnusedFolder => "the folder is not used",
            Self::UnknownColumn => "a column is not known and not read",
            Self::NoSplits => {
                "no column `split`: normal images are trained on, anomalous ones tested on, and no normal image \
                 is tested on"
            }
            Self::LabelsByMasks => {
                "no column `label`: images with a mask count as anomalous, and the others to train on as normal"
            }
            Self::NoLabels => {
                "no column `label`: the images to train on count as normal, and none can be tested on"
            }
            Self::NoMasks => "no column `mask`: there are no pixel figures",
            Self::NoCategories => "no column `category`: all images are of one category, called as the list",
            Self::RepeatedIds => "the image set names images more than once",
        }
    }
}
