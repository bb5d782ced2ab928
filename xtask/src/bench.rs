//! `cargo xtask bench`: networks through `fmam bench`, operators and methods through Criterion.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::fmam::{self, cargo};
use crate::workspace::workspace_root;

/// Hands `args` on unchanged.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    match args.split_first() {
        Some((what, rest)) if what == "ops" || what == "methods" => {
            let mut command = cargo();
            let package = format!("fmam-{}", what.to_string_lossy());
            command
                .args(["bench", "--package", &package, "--bench"])
                .arg(what)
                .current_dir(workspace_root()?);
            if !rest.is_empty() {
                command.arg("--").args(rest);
            }
            let passed = command.status().context("cannot run cargo")?.success();
            Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ => fmam::build(&[])?.exec([OsString::from("bench")].iter().chain(args)),
    }
}
