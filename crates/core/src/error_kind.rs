/// The party that can mend an error. A program that does not look into an error decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller: the request names something unknown, or a value lies out of range.
    Usage,
    /// Whoever has the files: an image, a model or a record is missing, damaged or does not fit.
    Data,
    /// Whoever runs the machine: memory, disk, permissions, another process.
    Environment,
    /// The authors of this program.
    Bug,
    /// Nobody: the caller asked to stop.
    Cancelled,
}
