//! The promises of the crate to its users, checked against PyTorch's numbers where there are any.

#![expect(clippy::unwrap_used, reason = "these are tests; clippy sees that only inside the test functions")]

mod backbones;
mod heads;
mod hostile_checkpoints;
mod kernels;
mod mapping;
mod parameters;
mod pyramid;
mod reference;
mod state_dicts;
