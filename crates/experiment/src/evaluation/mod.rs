//! The evaluation of a detector on a test split: `evaluator` scores and compares, `map_digest` and
//! `pixel_sample` keep of many maps what pictures and analyses need.

mod evaluator;
mod map_digest;
mod pixel_sample;

pub use evaluator::{Evaluation, Evaluator};
