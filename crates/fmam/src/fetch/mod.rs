//! Weights of backbones and data sets that are published: fetched, checked and kept.

mod datasets;
mod hub;
mod published;
mod weights;

pub use datasets::{CategoryCount, DatasetCounts, count_images, fetch_dataset};
pub use published::{
    PublishedDataset, PublishedWeights, TransferProgress, fetched_weights, published_datasets,
    published_weights, weights_dir,
};
pub use weights::{WeightsOrigin, fetch_weights, fetchable_weights, set_weights, weights_origin};
