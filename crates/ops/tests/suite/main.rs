//! Operators against PyTorch, finite differences and the definition, and their refusals. The tests
//! that need a process of their own stand beside this folder.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

mod gradients;
mod half;
mod pytorch;
mod refusals;
mod support;
mod trace;
