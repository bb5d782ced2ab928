use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use fmam_core::{AnomalyMap, RgbImage};
use fmam_files::{MadeDirs, NewDir};
use fmam_record::OVERLAYS_DIR;
use fmam_report::{map_range, overlay, write_png};
use serde_json::json;

use super::writable::{check_writable, parent_of};
use crate::{Error, Verdict};

/// Maps that are kept until the colour range is known; bounds the memory.
const N_RANGE: usize = 256;

/// A folder of verdicts in the making: `predictions.jsonl` and `overlays/*.png`, the image as the
/// detector saw it, the anomaly map over it, the map. The colours of all of them share one range,
/// that of the first 256 images. It appears with [`Predictions::finish`], or not at all.
#[derive(Debug)]
pub struct Predictions {
    folder: NewOut,
    names: OverlayNames,
    range: Option<(f32, f32)>,
    waiting: Vec<(String, RgbImage, AnomalyMap)>,
    scored: Vec<Scored>,
}

/// An image and its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The path of the image, or its name.
    pub name: String,
    /// Higher is more anomalous.
    pub image_score: f32,
    /// The picture, below the folder.
    pub overlay: String,
}

impl Predictions {
    /// Begins the folder `out`, which must be new or empty.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::Write`].
    pub fn begin(out: &Path) -> Result<Self, Error> {
        let (names, waiting, scored) = (OverlayNames::default(), Vec::new(), Vec::new());
        Ok(Self { folder: NewOut::begin(out)?, names, range: None, waiting, scored })
    }

    /// The name of the picture of the image called `name`, which is then taken. Pictures of images
    /// that cannot be scored may take theirs too, so that the names do not depend on that.
    pub fn reserve(&mut self, name: &str) -> String {
        self.names.next(Path::new(name))
    }

    /// Adds a verdict, whose picture is called `overlay`.
    ///
    /// # Errors
    /// [`Error::Report`] for a picture that cannot be written.
    pub fn add(&mut self, verdict: Verdict, overlay: String) -> Result<(), Error> {
        let Verdict { name, image, prediction, .. } = verdict;
        self.scored.push(Scored {
            name,
            image_score: prediction.image_score,
            overlay: format!("{OVERLAYS_DIR}/{overlay}"),
        });
        self.waiting.push((overlay, image, prediction.anomaly_map));
        if self.range.is_some() || self.waiting.len() >= N_RANGE { self.draw_waiting() } else { Ok(()) }
    }

    /// Moves the folder into place; gives the scores.
    ///
    /// # Errors
    /// [`Error::Report`], [`Error::Write`].
    pub fn finish(mut self) -> Result<Vec<Scored>, Error> {
        self.draw_waiting()?;
        let line = |scored: &Scored| {
            let Scored { name, image_score, overlay } = scored;
            format!("{}\n", json!({"image": name, "image_score": image_score, "overlay": overlay}))
        };
        let lines: String = self.scored.iter().map(line).collect();
        let path = self.folder.path().join("predictions.jsonl");
        fmam_files::write_atomic(&path, |file| file.write_all(lines.as_bytes()))
            .map_err(|source| Error::Write { path, source })?;
        self.folder.finish()?;
        Ok(self.scored)
    }

    fn draw_waiting(&mut self) -> Result<(), Error> {
        let range = *self.range.get_or_insert_with(|| map_range(self.waiting.iter().map(|(_, _, map)| map)));
        for (name, image, map) in self.waiting.drain(..) {
            let path = self.folder.path().join(OVERLAYS_DIR).join(name);
            write_png(&path, &overlay(&image, None, &map, range))?;
        }
        Ok(())
    }
}

/// The output folder in the making, beside its place. It is removed when it is dropped without
/// [`NewOut::finish`].
#[derive(Debug)]
struct NewOut {
    dir: NewDir,
    target: PathBuf,
    /// Dropped after `dir`, since the parent folders are removed only when they are empty.
    _made: MadeDirs,
}

impl NewOut {
    fn begin(out: &Path) -> Result<Self, Error> {
        let cannot_write = |source| Error::Write { path: out.to_owned(), source };
        let target = if out.exists() {
            if !out.is_dir() || std::fs::read_dir(out).map_err(cannot_write)?.next().is_some() {
                return Err(Error::NotEmpty { path: out.to_owned() });
            }
            // A link and `.` have no name of their own to put something beside.
            out.canonicalize().map_err(cannot_write)?
        } else {
            out.to_owned()
        };
        let made = check_writable(parent_of(&target))?;
        let dir = NewDir::beside(&target).map_err(cannot_write)?;
        Ok(Self { dir, target, _made: made })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn finish(self) -> Result<(), Error> {
        let Self { dir, target, _made } = self;
        dir.finish(&target).map_err(|source| Error::Write { path: target, source })
    }
}

/// Names of pictures that differ, `STEM.png`, with a number where two images have the same stem.
/// Compared without case, as some file systems do.
#[derive(Debug, Default)]
struct OverlayNames {
    taken: HashSet<String>,
}

impl OverlayNames {
    fn next(&mut self, image: &Path) -> String {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy();
        let names = std::iter::once(stem.to_string()).chain((2..).map(|n| format!("{stem}-{n}")));
        let mut free = names.filter(|name| self.taken.insert(name.to_lowercase()));
        format!("{}.png", free.next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_a_killed_process_left_is_in_nobodys_way() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("verdicts");
        // Left by a process of the same number that was killed: containers repeat the numbers.
        std::fs::create_dir(root.path().join(format!(".partial-verdicts-{}", std::process::id()))).unwrap();
        std::mem::forget(NewOut::begin(&out).unwrap());
        let folder = NewOut::begin(&out).unwrap();
        std::fs::write(folder.path().join("predictions.jsonl"), "x").unwrap();
        folder.finish().unwrap();
        assert!(out.join("predictions.jsonl").is_file());
    }

    #[test]
    fn an_unfinished_folder_leaves_nothing_and_a_full_one_is_refused() {
        let root = tempfile::tempdir().unwrap();
        drop(NewOut::begin(&root.path().join("new/er/verdicts")).unwrap());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        std::fs::write(root.path().join("kept"), "x").unwrap();
        assert!(NewOut::begin(root.path()).is_err() && NewOut::begin(&root.path().join("kept")).is_err());
    }

    #[test]
    fn every_overlay_has_its_own_name() {
        let mut names = OverlayNames::default();
        let images = ["a/1.png", "b/1.jpg", "c/1-2.png", "d/1.bmp", "A.png", "a.png"];
        assert_eq!(
            images.map(|image| names.next(Path::new(image))),
            ["1.png", "1-2.png", "1-2-2.png", "1-3.png", "A.png", "a-2.png"]
        );
    }
}
