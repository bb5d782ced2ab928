//! FCDD: a fully convolutional network whose outputs are drawn to 0 on normal images and away from
//! it on made-up anomalies; its output is the anomaly map (Liznerski et al., ICLR 2021,
//! arXiv:2007.01760).

mod config;
mod fit;
mod scorer;

pub use config::{Exposure, FcddConfig};
pub(crate) use fit::ENTRY;
pub use fit::fcdd;
