//! PuzzleAE: a U-Net restores images whose pieces have changed places, trained on the worst small
//! changes of its input; an image is scored by what the restoration misses (Salehi et al. 2020,
//! arXiv:2008.12959).

mod config;
mod fit;
mod puzzle;
mod scorer;

pub use config::PuzzleAeConfig;
pub(crate) use fit::ENTRY;
pub use fit::puzzle_ae;
