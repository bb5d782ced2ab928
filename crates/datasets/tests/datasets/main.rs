//! Data sets as a caller sees them: miniature layouts in temporary folders, damaged files, and real
//! data.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the functions that tests share are test code too"
)]

mod choices;
mod csv;
mod damage;
mod decode;
mod demo;
mod kinds;
mod layouts;
mod loader;
mod masks;
mod miniature;
mod mistakes;
#[cfg(target_os = "linux")]
mod names;
mod nested;
mod notices;
mod peers;
mod pictures;
mod prepare;
mod real_data;
mod rows;
mod table;
mod visa;
