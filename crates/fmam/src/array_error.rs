/// The reason why a file is no array of scores or labels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// The file cannot be opened or read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is not in NumPy's format.
    #[error("this is no .npy file")]
    NotNpy(#[source] std::io::Error),
    /// The array is of records.
    #[error("an array of records is no array of numbers")]
    Records,
    /// The array is in Fortran order.
    #[error("the array is in Fortran order; save it with numpy.ascontiguousarray")]
    FortranOrder,
    /// A dimension is larger than this machine's memory can be.
    #[error("the array is too large")]
    TooLarge,
    /// Scores of another type than floats.
    #[error("scores must be float32 or float64, not {found}")]
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
    /// A label that is neither 0 nor 1.
    #[error("element {index}: labels are 0 or 1, but there is {value}")]
    Label {
        /// The position, from 0.
        index: usize,
        /// The label.
        value: String,
    },
    /// An element cannot be read.
    #[error("element {index}")]
    Element {
        /// The position, from 0.
        index: usize,
        /// Why.
        source: std::io::Error,
    },
}
