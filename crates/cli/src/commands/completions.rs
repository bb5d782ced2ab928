use anyhow::Result;
use clap_complete::{Shell, generate};

use crate::stdout::print;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/completions.txt"))]
pub(crate) struct Args {
    /// The shell that reads the script
    shell: Shell,
}

/// Prints the completion script of `command`, the whole command line.
pub(crate) fn run(args: &Args, mut command: clap::Command) -> Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(args.shell, &mut command, name, &mut script);
    print(&String::from_utf8(script)?)
}
