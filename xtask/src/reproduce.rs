//! `cargo xtask reproduce`: builds `fmam` for the device asked for, then becomes `fmam reproduce`
//! or submits its runs.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::slurm::Launch;
use crate::{fmam, slurm};

/// Hands `args` to `fmam reproduce` unchanged, unless a launcher is asked for.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let launch = Launch::from_args(args)?;
    let is_launch = launch.launcher.is_some() && !launch.wants_help();
    if is_launch {
        // Before the build, which takes minutes.
        launch.check()?;
    }
    let features: &[&str] = if wants_cuda(args, machine_has_cuda) { &["cuda"] } else { &[] };
    let fmam = fmam::build(features)?;
    if is_launch {
        return slurm::submit(&launch, &fmam);
    }
    if launch.launcher.is_some() {
        return fmam.exec([OsString::from("reproduce")].iter().chain(&launch.rest));
    }
    fmam.exec([OsString::from("reproduce")].iter().chain(args))
}

/// True if the binary must be built with CUDA: on request, and for `auto`, the default, if the
/// machine has CUDA.
fn wants_cuda(args: &[OsString], machine_has_cuda: impl FnOnce() -> bool) -> bool {
    match device(args) {
        None | Some("auto") => machine_has_cuda(),
        Some(name) => name.starts_with("cuda"),
    }
}

/// The value of the last `--device`.
fn device(args: &[OsString]) -> Option<&str> {
    let mut device = None;
    let mut args = args.iter().filter_map(|arg| arg.to_str());
    while let Some(arg) = args.next() {
        if arg == "--device" {
            device = args.next();
        } else if let Some(value) = arg.strip_prefix("--device=") {
            device = Some(value);
        }
    }
    device
}

/// True if both the CUDA compiler, which the build needs, and the NVIDIA driver are there.
fn machine_has_cuda() -> bool {
    let nvcc = format!("nvcc{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    let has_compiler = std::env::split_paths(&path)
        .chain(toolkits.map(|root| Path::new(&root).join("bin")))
        .any(|folder| folder.join(&nvcc).is_file());
    let has_driver = Path::new("/proc/driver/nvidia/version").exists()
        || std::env::split_paths(&path).any(|folder| folder.join("nvidia-smi.exe").is_file());
    has_compiler && has_driver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_cuda(line: &str, machine: bool, expected: bool) {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        assert_eq!(wants_cuda(&args, || machine), expected, "`{line}` with machine_has_cuda = {machine}");
    }

    #[test]
    fn cuda_is_built_on_request() {
        check_cuda("--device cuda", false, true);
        check_cuda("--preset table1 --device=cuda:0 --seeds 0", false, true);
        check_cuda("--device cpu", true, false);
        check_cuda("--device cuda --device cpu", true, false);
    }

    #[test]
    fn auto_looks_at_the_machine() {
        for line in ["", "--device auto", "--device=auto", "--help", "--device"] {
            check_cuda(line, false, false);
            check_cuda(line, true, true);
        }
    }
}
