//! The binary, and the images, models and runs that the campaigns work on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use tempfile::TempDir;

use super::dice::Dice;
use super::watch::{End, Limits, run};

/// The bounds of a call on a few small images by a binary that was built without optimisation.
pub(super) const SMALL: Limits = Limits { time: Duration::from_secs(60), memory: 600 << 20 };

/// Everything that a campaign needs.
pub(super) struct Ground {
    binary: PathBuf,
    /// The root of the checkout.
    root: PathBuf,
    scratch: TempDir,
}

/// A file to be edited.
pub(super) struct Base {
    /// The name that it has for its reader.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Side of a part's image in pixels.
const SIDE: usize = 64;

impl Ground {
    /// Fits the models and does the runs, with the program itself.
    pub(super) fn new(binary: PathBuf, root: &Path) -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let scratch = tempfile::Builder::new().prefix("fmam-endure-").tempdir_in(parent)?;
        let ground = Self { binary, root: root.to_owned(), scratch };
        ground.write_images()?;
        for method in ["padim", "rkd+fmam"] {
            ground.must(&ground.fit(method, &ground.model(method)))?;
        }
        ground.must(&ground.reproduce(&ground.at("runs")))?;
        Ok(ground)
    }

    /// A ground without a binary and without anything on it.
    #[cfg(test)]
    pub(super) fn bare() -> Result<Self> {
        Ok(Self { binary: PathBuf::new(), root: PathBuf::new(), scratch: tempfile::tempdir()? })
    }

    /// A path in the folder of the campaigns.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A new empty folder.
    pub(super) fn folder(&self) -> Result<TempDir> {
        Ok(tempfile::Builder::new().prefix("try-").tempdir_in(self.scratch.path())?)
    }

    pub(super) fn model(&self, method: &str) -> PathBuf {
        self.at("models").join(method)
    }

    /// The program with arguments, on one thread.
    pub(super) fn fmam<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).current_dir(self.scratch.path());
        command.env("RAYON_NUM_THREADS", "1").env("XDG_CACHE_HOME", self.at("cache"));
        command
    }

    /// The program with a line of arguments that is split at blanks.
    pub(super) fn line(&self, line: &str) -> Command {
        self.fmam(line.split(' '))
    }

    /// Arguments that fit a model of `method` into `out`.
    pub(super) fn fit(&self, method: &str, out: &Path) -> Vec<String> {
        let mut line = format!(
            "fit -q --threads 1 --keep-every 0s --method {method} --backbone tiny --image-size 64 {} --out {}",
            self.at("parts").display(),
            out.display()
        );
        if method.ends_with("+fmam") {
            line += " --epochs 6 --set mapping.epochs=2";
        }
        line.split(' ').map(str::to_owned).collect()
    }

    /// Arguments of a small grid of runs into `out`.
    pub(super) fn reproduce(&self, out: &Path) -> Vec<String> {
        let line = format!(
            "reproduce -q --threads 1 --keep-every 0s --dataset folder --data-root {} --methods padim,rkd+fmam --backbone tiny \
             --image-size 64 --epochs 2 --seeds 0,1 --out {}",
            self.at("data").display(),
            out.display()
        );
        line.split(' ').map(str::to_owned).collect()
    }

    fn must(&self, args: &[String]) -> Result<()> {
        let outcome = run(&mut self.fmam(args), Limits { time: Duration::from_secs(300), ..SMALL })?;
        if outcome.end != End::Code(0) {
            bail!("fmam {} failed: {}", args.join(" "), outcome.stderr.trim());
        }
        Ok(())
    }

    /// The images of parts, a data set of them with masks, and a defective part.
    fn write_images(&self) -> Result<()> {
        let mut dice = Dice::new(1);
        let mut write = |path: String, is_defective: bool| -> Result<()> {
            let path = self.at(&path);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            Ok(std::fs::write(path, part(is_defective, &mut dice))?)
        };
        for number in 0..24 {
            write(format!("parts/{number:03}.ppm"), false)?;
        }
        write("bad.ppm".to_owned(), true)?;
        for number in 0..8 {
            write(format!("data/cat/train/normal/{number:03}.ppm"), false)?;
        }
        for number in 0..3 {
            write(format!("data/cat/test/normal/{number:03}.ppm"), false)?;
            write(format!("data/cat/test/anomalous/{number:03}.ppm"), true)?;
            let path = self.at(&format!("data/cat/masks/{number:03}.pgm"));
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            std::fs::write(path, mask())?;
        }
        Ok(())
    }

    /// The files directly in `folder` of the checkout.
    pub(super) fn committed(&self, folder: &str) -> Result<Vec<Base>> {
        self.in_folder(&self.root.join(folder))
    }

    /// The files directly in `folder`, by name.
    pub(super) fn in_folder(&self, folder: &Path) -> Result<Vec<Base>> {
        let mut bases = Vec::new();
        for entry in folder.read_dir()? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            bases.push(Base { name, bytes: std::fs::read(path)? });
        }
        bases.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(bases)
    }

    /// The file `name` of the folder of the campaigns.
    pub(super) fn base(&self, name: &str) -> Result<Base> {
        let path = self.at(name);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Base { name, bytes: std::fs::read(path)? })
    }
}

fn is_defect(y: usize, x: usize) -> bool {
    (20..40).contains(&y) && (24..44).contains(&x)
}

/// The image of a part: stripes with noise, and a bright square in a defective one.
fn part(is_defective: bool, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = format!("P6\n{SIDE} {SIDE}\n255\n").into_bytes();
    for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
        let noise = dice.below(12) as u8;
        let stripe = if y / 4 % 2 == 0 { 90 } else { 130 };
        let value = if is_defective && is_defect(y, x) { 240 } else { stripe + noise };
        bytes.extend([value, value / 2, 255 - value]);
    }
    bytes
}

/// The mask of a defective part.
fn mask() -> Vec<u8> {
    let mut bytes = format!("P5\n{SIDE} {SIDE}\n255\n").into_bytes();
    let pixels = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| if is_defect(y, x) { 255 } else { 0 }));
    bytes.extend(pixels);
    bytes
}
