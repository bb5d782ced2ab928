//! A campaign: rounds of inputs, and what is kept of one that fails.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::dice::Dice;
use super::ground::Ground;
use super::tally::Tally;
use super::verdict::Fault;

/// Inputs of one kind.
pub(super) trait Campaign {
    /// The name in the table.
    fn name(&self) -> &'static str;

    /// The reason that it cannot be done here.
    fn obstacle(&self, _ground: &Ground) -> Option<String> {
        None
    }

    /// Tries some inputs, counts them, and gives the first that fails, made small.
    fn round(&self, ground: &Ground, dice: &mut Dice, tally: &mut Tally) -> Result<Option<Find>>;
}

/// An input that fails.
#[derive(Debug)]
pub(super) struct Find {
    pub(super) fault: Fault,
    /// The call that fails, with the paths that it had.
    pub(super) call: String,
    /// The files of the input.
    pub(super) files: Vec<(String, Vec<u8>)>,
}

impl Find {
    pub(super) fn new(fault: Fault, command: &Command) -> Self {
        Self { fault, call: call(command), files: Vec::new() }
    }

    pub(super) fn with_file(mut self, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        self.files.push((name.into(), bytes));
        self
    }

    /// Writes the input into the new folder `folder`, with the call and the fault beside it.
    pub(super) fn keep(&self, folder: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        let Fault { kind, text } = &self.fault;
        std::fs::write(folder.join("fault.txt"), format!("{kind:?}: {text}\n{}\n", self.call))?;
        for (name, bytes) in &self.files {
            std::fs::write(folder.join(name), bytes)?;
        }
        Ok(folder.to_owned())
    }
}

/// A command as a person would type it.
fn call(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}
