use anyhow::Result;

use crate::commands::reproduce::OptionArgs;
use crate::compute::ComputeArgs;
use crate::stdout::print;

const EXAMPLES: &str = "\
Examples:
  fmam config --preset ablation --seeds 0
  fmam config --data-root data --dataset mvtec --set rkd.epochs=5

The output is TOML; behind each value stands where it comes from: an option, the preset or file, or a default.
`fmam list settings METHOD` prints the settings that a method has besides.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Prints the resolved configuration, each value with its layer.
pub(crate) fn run(args: &Args) -> Result<()> {
    let resolved = args.options.layer(&args.compute).resolve()?;
    let mut text =
        format!("# device = \"{}\", out = \"{}\"\n", resolved.device()?.name(), resolved.out().display());
    for (k, part) in resolved.parts.iter().enumerate() {
        if resolved.parts.len() > 1 {
            text += &format!("\n# part {} of {}\n", k + 1, resolved.parts.len());
        }
        for value in part.values()? {
            text += &format!("{} = {}  # {}\n", value.key, value.value, value.origin);
        }
    }
    print(&text)
}
