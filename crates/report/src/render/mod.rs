//! A report as text: Markdown, LaTeX, CSV, JSON and HTML.

mod comparison;
mod csv;
mod gallery;
mod html;
pub(crate) mod json;
mod latex;
pub(crate) mod markdown;
pub(crate) mod table;
pub(crate) mod text;
