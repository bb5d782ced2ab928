//! The features of third-party packages that several crates of the workspace share, stated once.
//!
//! Cargo gives a package the features that the selected crates ask for. Without this crate `cargo
//! test -p fmam-core` would ask for fewer than `cargo test --workspace` and compile serde again,
//! and with it all that depends on serde. As every crate depends on this one, at least for its
//! tests, every selection asks for the same features. `cargo xtask tidy` finds a package that has
//! others, and names it.
