//! MRKD: a small cloner learns the values and the directions of a teacher's features on normal
//! images; an image is scored by their difference, and what in it makes the difference by its
//! gradient (Salehi et al., CVPR 2021, arXiv:2011.11108).

mod config;
mod fit;
mod loss;
mod scorer;
mod standardizer;

pub use config::MrkdConfig;
pub(crate) use fit::ENTRY;
pub use fit::mrkd;
