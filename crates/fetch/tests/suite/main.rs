//! Archives and downloads. The tests that depend on the environment stand beside this folder.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

mod archive;
mod download;
