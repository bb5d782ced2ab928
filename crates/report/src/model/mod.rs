//! The content of a report: runs, their means, the paper's figures, and tables without a language.

pub(crate) mod ablation;
pub(crate) mod analysis;
pub(crate) mod columns;
pub(crate) mod findings;
pub(crate) mod image_settings;
pub(crate) mod layout;
pub(crate) mod paper;
pub(crate) mod report;
pub(crate) mod settings;
pub(crate) mod summary;
