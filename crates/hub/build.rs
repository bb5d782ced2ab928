//! Nothing to build: cargo gives `[build-dependencies]` their features only where there is a build
//! script.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
