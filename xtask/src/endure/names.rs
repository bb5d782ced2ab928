//! Files with odd names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::campaign::{Campaign, Find};
use super::dice::Dice;
use super::ground::{Ground, SMALL};
use super::tally::Tally;
use super::tree::{contents, left_over};
use super::verdict::{Fault, fault};
use super::watch::run;

/// Every image has its line, whatever the names of the others are.
pub(super) struct Names;

/// Images of a call.
const BATCH: usize = 12;

/// Parts that names are made of. A name has no `/` and no zero byte.
const PARTS: [&[u8]; 22] = [
    b"a",
    b"-",
    b"--out",
    b" ",
    b"\n",
    b"\r",
    b"\t",
    b"\x1b[31m",
    b"\x07",
    b"\xff",
    b"\xc3",
    b"\xc3\xa9",
    b"..",
    b".",
    b"*",
    b"[",
    b"'",
    b"\"",
    b"=1+1",
    b",",
    b"\xe2\x80\xae",
    b"CON",
];

fn name(dice: &mut Dice) -> OsString {
    let mut name: Vec<u8> = (0..1 + dice.below(5)).flat_map(|_| dice.pick(&PARTS).to_vec()).collect();
    if dice.below(4) == 0 {
        name.resize(*dice.pick(&[100, 200, 245, 251]), b'p');
    }
    name.truncate(251);
    // A hidden file is not looked at.
    if name[0] == b'.' {
        name[0] = b'_';
    }
    name.extend(b".ppm");
    OsString::from_vec(name)
}

impl Campaign for Names {
    fn name(&self) -> &'static str {
        "names"
    }

    fn round(&self, ground: &Ground, dice: &mut Dice, tally: &mut Tally) -> Result<Option<Find>> {
        let folder = ground.folder()?;
        let images = folder.path().join("images");
        std::fs::create_dir(&images)?;
        let image = ground.base("parts/000.ppm")?.bytes;
        let names: std::collections::BTreeSet<OsString> = (0..BATCH).map(|_| name(dice)).collect();
        for name in &names {
            std::fs::write(images.join(name), &image)?;
        }
        tally.tried += names.len() as u64;
        let mut command = ground.line("predict -q --threads 1 --model models/padim --out");
        command.arg(folder.path().join("out")).arg(&images);
        let outcome = run(&mut command, SMALL)?;
        let found = |fault: Fault| {
            let listed: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            Ok(Some(Find::new(fault, &command).with_file("names.txt", listed.join("\n").into_bytes())))
        };
        if let Some(fault) = fault(&outcome, SMALL) {
            return found(fault);
        }
        let files = contents(&folder.path().join("out"))?;
        let lines = files.get(Path::new("predictions.jsonl")).map(Vec::as_slice).unwrap_or_default();
        let lines = String::from_utf8_lossy(lines);
        let scores = lines.lines().map(|line| serde_json::from_str::<Value>(line).ok()?["score"].as_f64());
        let Some(scores) = scores.collect::<Option<Vec<f64>>>() else {
            return found(Fault::wrong("a line of predictions.jsonl is no verdict"));
        };
        if scores.len() != names.len() {
            let text =
                format!("{} of {} images have a line: {}", scores.len(), names.len(), outcome.stderr.trim());
            return found(Fault::lost(text));
        }
        if scores.iter().any(|score| *score != scores[0]) {
            return found(Fault::wrong("the same image has two scores"));
        }
        if let Some(path) = left_over(folder.path())? {
            return found(Fault::lost(format!("left over: {}", path.display())));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_those_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut dice = Dice::new(3);
        for _ in 0..300 {
            std::fs::write(folder.path().join(name(&mut dice)), "").unwrap();
        }
    }
}
