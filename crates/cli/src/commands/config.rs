use anyhow::Result;

use crate::commands::reproduce::OptionArgs;
use crate::compute::ComputeArgs;
use crate::stdout::print;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/config.txt"))]
pub(crate) struct Args {
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Prints the resolved configuration, each value with its layer.
pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let resolved = args.options.layer(&args.compute).resolve(registry)?;
    let mut text =
        format!("# device = \"{}\", out = \"{}\"\n", resolved.device()?.name(), resolved.out().display());
    for (k, part) in resolved.parts.iter().enumerate() {
        if resolved.parts.len() > 1 {
            text += &format!("\n# part {} of {}\n", k + 1, resolved.parts.len());
        }
        for value in part.values(registry.backbones())? {
            text += &format!("{} = {}  # {}\n", value.key, value.value, value.origin);
        }
    }
    print(&text)
}
