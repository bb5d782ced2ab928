use serde::{Deserialize, Serialize};

/// Peculiarities of the images of a run that bear on its figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Findings {
    /// The depth in bits from which 16-bit files were scaled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// Anomalous test images whose mask has no pixel left at the resolution of the pixel figures:
    /// all their pixels count as normal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vanished: Vec<String>,
    /// Pairs of samples that show the same pixels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<[String; 2]>,
    /// Choices that were made in reading the files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
}

/// A choice that was made in reading some image or mask files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The choice, a clause for a person.
    pub choice: String,
    /// Number of files.
    pub n: usize,
    /// The first of them.
    pub first: String,
}

impl Findings {
    /// True where nothing was found.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
