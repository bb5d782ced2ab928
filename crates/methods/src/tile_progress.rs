use std::sync::atomic::{AtomicU64, Ordering};

use fmam_core::{Progress, StageId};

/// The progress of the tiles of one image, shown as a detail of the stage that goes through the
/// images.
///
/// ```
/// use fmam_core::{Progress, Silent, StageId};
/// use fmam_methods::TileProgress;
///
/// let tiles = TileProgress::new(&Silent, 3);
/// tiles.start(&StageId::SCORING, 80);
/// // The stage outside hears: 3 images, "tile 12 of 80".
/// tiles.update(12, "");
/// ```
pub struct TileProgress<'a> {
    outside: &'a dyn Progress,
    n_done: u64,
    n_tiles: AtomicU64,
}

impl<'a> TileProgress<'a> {
    /// The tiles of the image behind `n_done` others, a detail for `outside`.
    pub fn new(outside: &'a dyn Progress, n_done: u64) -> Self {
        Self { outside, n_done, n_tiles: AtomicU64::new(0) }
    }
}

impl std::fmt::Debug for TileProgress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TileProgress").field("n_done", &self.n_done).finish_non_exhaustive()
    }
}

impl Progress for TileProgress<'_> {
    fn start(&self, _stage: &StageId, total: u64) {
        self.n_tiles.store(total, Ordering::Relaxed);
    }

    fn update(&self, done: u64, _detail: &str) {
        let n_tiles = self.n_tiles.load(Ordering::Relaxed);
        self.outside.update(self.n_done, &format!("tile {done} of {n_tiles}"));
    }

    fn finish(&self) {}

    fn cancelled(&self) -> bool {
        self.outside.cancelled()
    }
}
