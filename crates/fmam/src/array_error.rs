use std::io;

/// The reason why a file is no array of scores or labels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// The file cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not in NumPy's format.
    #[error("this is no .npy file")]
    NotNpy,
    /// The header is not as NumPy writes it.
    #[error("the header of the .npy file is damaged at byte {at}")]
    Header {
        /// The position in the header's text, from 0.
        at: usize,
    },
    /// The array is of records or of objects.
    #[error("an array of records or objects is no array of numbers")]
    Records,
    /// A dimension is larger than this machine's memory can be.
    #[error("the array is too large")]
    TooLarge,
    /// The file ends before its last element.
    #[error("the file is cut off: {expected} bytes of numbers are announced, and there are {actual}")]
    Cut {
        /// Bytes that the shape and the type in the header ask for.
        expected: u64,
        /// Bytes after the header.
        actual: u64,
    },
    /// Scores of another type than floats.
    #[error("scores must be float16, float32 or float64, not {found}")]
    ScoreType {
        /// The type, as NumPy writes it.
        found: String,
    },
    /// Labels of a type without numbers.
    #[error("labels must be bool, integer or float, not {found}")]
    LabelType {
        /// The type, as NumPy writes it.
        found: String,
    },
    /// A label that does not fit the others.
    #[error("element {index}: labels are 0 and 1, or 0 and 255, but there are {}", list(values))]
    Label {
        /// The position of the first label that does not fit, from 0.
        index: u64,
        /// The values that were seen so far, rising, ten at most.
        values: Vec<f64>,
    },
}

fn list(values: &[f64]) -> String {
    values.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
}
