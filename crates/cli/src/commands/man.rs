use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use fmam_files::write_atomic;

use crate::stdout::print;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/man.txt"))]
pub(crate) struct Args {
    /// Folder for the pages: `fmam.1`, and `fmam-COMMAND.1` for each command
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes a page for `command`, the whole command line, and for every command in it.
pub(crate) fn run(args: &Args, command: Command) -> Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let n_pages = write_pages(&command, &args.out)?;
    print(&format!("{n_pages} pages: {}\n", args.out.display()))
}

/// Writes the pages of `command` and of the commands in it, and gives their number.
fn write_pages(command: &Command, folder: &Path) -> Result<usize> {
    let man = Man::new(command.clone()).source(concat!("fmam ", env!("CARGO_PKG_VERSION"))).manual("fmam");
    let file = folder.join(man.get_filename());
    let _claim = fmam::output::claim(&file)?;
    write_atomic(&file, |out| out.write_all(&page(command, &man)?))
        .with_context(|| format!("cannot write {}", file.display()))?;
    command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
        .try_fold(1, |n_pages, inner| Ok(n_pages + write_pages(inner, folder)?))
}

/// The page of `command`: the sections of clap_mangen, but the text behind the options of `--help`
/// with the lines that it has there.
fn page(command: &Command, man: &Man) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(notes) = command.get_after_help() {
        notes_section(&notes.to_string()).to_writer(&mut page)?;
    }
    Ok(page)
}

fn notes_section(notes: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]).control("nf", []);
    for line in notes.lines() {
        if line.is_empty() {
            roff.control("sp", []);
        } else {
            roff.text([roman(line)]);
        }
    }
    roff.control("fi", []);
    roff
}
