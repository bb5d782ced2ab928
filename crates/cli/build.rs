//! The facts for `fmam --version` that only a build knows: the target, the cargo features of this
//! package, and the commit of the checkout, where there is one.

use std::path::Path;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=FMAM_COMMIT");
    println!("cargo::rustc-env=FMAM_TARGET={}", target());
    println!("cargo::rustc-env=FMAM_FEATURES={}", features().join(" "));
    if let Some(commit) = commit() {
        println!("cargo::rustc-env=FMAM_CLI_COMMIT={commit}");
    }
}

/// The target triple, and the kind of its C library where that is not the usual one.
fn target() -> String {
    let triple = std::env::var("TARGET").unwrap_or_default();
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "crt-static") {
        format!("{triple}, with the C library in the program")
    } else {
        triple
    }
}

/// The features of this package that are switched on, sorted.
fn features() -> Vec<String> {
    let names = std::env::vars().filter_map(|(name, _)| {
        let name = name.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-");
        (name != "default").then_some(name)
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// `FMAM_COMMIT` of whoever builds, as `cargo xtask` sets it, else the commit of the checkout.
/// Without git, and in a package that lies in the repository of another project, there is none.
fn commit() -> Option<String> {
    if let Some(commit) = std::env::var("FMAM_COMMIT").ok().filter(|commit| !commit.is_empty()) {
        return Some(commit);
    }
    if git(&["rev-parse", "--show-prefix"])? != "crates/cli/" {
        return None;
    }
    // Git appends a line there with every commit and checkout. A change of a file alone is not
    // noticed; `sources` of the version tells it.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).is_file() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

/// The output of git in the folder of this package, where cargo runs this program.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
