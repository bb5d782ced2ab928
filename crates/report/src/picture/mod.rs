//! Pictures: the colour scales, the overlay of a prediction in a report, plots, and figures as
//! files of their own; for single images the colours of a detector, overlays and masks in the
//! original size, sheets and map files.

pub(crate) mod colormap;
pub(crate) mod colours;
pub(crate) mod contour;
pub(crate) mod figure;
pub(crate) mod heat;
pub(crate) mod large_png;
pub(crate) mod map_format;
pub(crate) mod original;
pub(crate) mod overlay;
pub(crate) mod plots;
pub(crate) mod sheet;
