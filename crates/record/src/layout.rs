//! The names of files and folders within an output folder. No other crate spells them out.

/// Folder of all runs within an output folder.
pub const RUNS_DIR: &str = "runs";
/// A run's record within [`crate::RunKey::dir`].
pub const RECORD_FILE: &str = "record.json";
/// Folder of the fitted detector within a run's folder.
pub const MODEL_DIR: &str = "model";
/// Folder of the pictures within a run's folder.
pub const OVERLAYS_DIR: &str = "overlays";
/// The maps of all test images, made smaller, within a run's folder.
pub const MAPS_FILE: &str = "maps.tiff";
/// Folder of the exported maps, in their original size, within a run's folder.
pub const MAPS_DIR: &str = "maps";
/// The [`crate::GridList`] of an output folder.
pub const GRID_FILE: &str = "grid.json";
/// The file within an output folder that its writer locks.
pub(crate) const LOCK_FILE: &str = ".lock";
