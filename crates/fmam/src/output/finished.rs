//! The lines of an earlier call, from which the images that are finished are known.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use fmam_record::RecordedPath;
use serde::Deserialize;

use super::places::Taken;
use crate::Error;

/// The lines of all images within the folder.
pub(super) const LINES_FILE: &str = "predictions.jsonl";

/// Bytes of a line, and of `verdicts_by.json`, at most.
pub(super) const MAX_LINE: u64 = 16 << 20;

/// The part of a line that tells the image and its files.
#[derive(Deserialize)]
struct Finished {
    image: RecordedPath,
    overlay: Option<RecordedPath>,
    map: Option<RecordedPath>,
    mask: Option<RecordedPath>,
}

impl Finished {
    /// True if the process was killed between the line and its pictures, and the image can be
    /// scored again.
    fn is_torn(&self, folder: &Path) -> bool {
        let files = [&self.overlay, &self.map, &self.mask];
        files.into_iter().flatten().any(|file| !folder.join(&file.0).exists()) && self.image.0.exists()
    }
}

/// Adds the images of all whole lines of the folder `out` to `taken`; gives the number of bytes of
/// these lines. The last one does not count where its pictures are missing.
pub(super) fn read_lines(lines: &mut File, out: &Path, taken: &mut Taken) -> Result<u64, Error> {
    let path = out.join(LINES_FILE);
    let (mut reader, mut length, mut line) = (BufReader::new(lines), 0, Vec::new());
    let mut last: Option<(u64, Finished)> = None;
    // Two images of earlier calls may have shared a file; both are finished.
    let mut admit = |finished: Finished| _ = taken.admit(&finished.image.0);
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let read = read.map_err(|source| Error::Read { path: path.clone(), source })?;
        // A line of this length is damaged, wherever it ends.
        if line.last() != Some(&b'\n') && (read as u64) < MAX_LINE {
            break;
        }
        let damaged = |source| Error::DamagedLine { path: path.clone(), number, source };
        let finished: Finished = serde_json::from_slice(&line).map_err(damaged)?;
        if let Some((_, before)) = last.replace((length, finished)) {
            admit(before);
        }
        length += read as u64;
    }
    match last {
        Some((start, last)) if last.is_torn(out) => Ok(start),
        last => {
            if let Some((_, last)) = last {
                admit(last);
            }
            Ok(length)
        }
    }
}
