//! `cargo xtask bench`: networks through `fmam bench`, operators through Criterion.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::fmam::{self, cargo};
use crate::workspace_root;

/// Hands `args` on unchanged.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    match args.split_first() {
        Some((what, rest)) if what == "ops" => {
            let mut command = cargo();
            command.args(["bench", "--package", "fmam-ops", "--bench", "ops"]).current_dir(workspace_root()?);
            if !rest.is_empty() {
                command.arg("--").args(rest);
            }
            let passed = command.status().context("cannot run cargo")?.success();
            Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ => fmam::build(&[])?.exec([OsString::from("bench")].iter().chain(args)),
    }
}
