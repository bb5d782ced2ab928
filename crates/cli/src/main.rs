//! The `fmam` binary.

fn main() {}
