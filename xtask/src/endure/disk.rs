//! Full disks and folders that cannot be written.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::campaign::{Campaign, Find};
use super::dice::Dice;
use super::ground::Ground;
use super::kill::Results;
use super::tally::Tally;
use super::tree::left_over;
use super::verdict::{Fault, fault};
use super::watch::{End, run};
use super::work::{LIMITS, WORK, difference};

/// Work on a disk that is too small fails with a word about it, and is finished by the same command
/// once there is room.
#[derive(Default)]
pub(super) struct Disk {
    known: Results,
}

/// A small disk in memory at a folder, until it is dropped.
struct Mount<'a>(&'a Path);

fn mount(options: &str, folder: &Path) -> bool {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).stderr(Stdio::null()).status();
    }
}

impl Campaign for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn obstacle(&self, ground: &Ground) -> Option<String> {
        let folder = ground.folder().ok()?;
        let is_there = mount("size=64k", folder.path());
        drop(Mount(folder.path()));
        (!is_there).then(|| "a small disk can be mounted by root only".to_owned())
    }

    fn round(&self, ground: &Ground, dice: &mut Dice, tally: &mut Tally) -> Result<Option<Find>> {
        let work = dice.pick(WORK);
        let known = self.known.of(work, ground)?;
        let bytes: usize = known.files.values().map(Vec::len).sum();
        // A quarter of the disks cannot be written, the others have room for a part of the result.
        let is_read_only = dice.below(4) == 0;
        let kib = 8 + (bytes as f64 * 2.0 * dice.share() / 1024.0) as u64;
        tally.tried += 1;
        let folder = ground.folder()?;
        if !mount("size=64m", folder.path()) {
            return Ok(None);
        }
        let disk = Mount(folder.path());
        work.prepare(ground, folder.path())?;
        let prepared = pages_of(folder.path())?;
        let size =
            if is_read_only { "ro".to_owned() } else { format!("size={}k", kib + prepared.div_ceil(1024)) };
        mount(&format!("remount,{size}"), folder.path());
        let args = work.args(ground, folder.path());
        let found = |fault: Fault| {
            let text = format!("{} on a disk with {size}: {}", work.name, fault.text);
            Ok(Some(Find::new(Fault { text, ..fault }, &ground.fmam(&args))))
        };
        let outcome = run(&mut ground.fmam(&args), LIMITS)?;
        if let Some(fault) = fault(&outcome, LIMITS) {
            return found(fault);
        }
        let has_succeeded = outcome.end == End::Code(0);
        if has_succeeded && let Some(what) = difference(&work.files(folder.path())?, &known.files) {
            return found(Fault::lost(format!("success, and {what}")));
        }
        mount("remount,rw,size=64m", folder.path());
        let is_done = difference(&work.files(folder.path())?, &known.files).is_none();
        if !(is_done && work.is_done_once) {
            let again = run(&mut ground.fmam(&args), LIMITS)?;
            if again.end != End::Code(0) {
                let text = format!("with room, the same command fails: {}", again.stderr.trim());
                return found(Fault::lost(text));
            }
            if let Some(what) = difference(&work.files(folder.path())?, &known.files) {
                return found(Fault::wrong(format!("with room, {what}")));
            }
        }
        if let Some(path) = left_over(folder.path())? {
            return found(Fault::lost(format!("left over: {}", path.display())));
        }
        drop(disk);
        Ok(None)
    }
}

/// Bytes of all files below `folder`, in pages.
fn pages_of(folder: &Path) -> Result<u64> {
    let files = super::tree::contents(folder)?;
    Ok(files.values().map(|bytes| 4096 + bytes.len().next_multiple_of(4096) as u64).sum())
}
