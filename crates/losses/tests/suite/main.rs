//! Losses against other implementations, and their gradients against finite differences.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

mod differences;
mod pytorch;
mod within;
