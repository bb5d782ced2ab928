//! Pictures: the colour scale, the overlay of a prediction, plots, and figures as files of their
//! own.

pub(crate) mod colormap;
pub(crate) mod figure;
pub(crate) mod overlay;
pub(crate) mod plots;
