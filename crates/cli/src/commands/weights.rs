use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use fmam_models::{BACKBONES, Weights, import_lite0};

use crate::stdout::print;

#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Say for every backbone where its weights come from
    List,
    /// Make the embedded EfficientNet-Lite0 weights from the published checkpoint
    Import {
        /// The PyTorch state dict efficientnet-lite0-57934424.pth
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The safetensors file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.action {
        Action::List => list(),
        Action::Import { from, out } => {
            import_lite0(from, out)?;
            print(&format!("{}\n", out.display()))
        }
    }
}

fn list() -> Result<()> {
    let width = BACKBONES.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    let lines: String = BACKBONES
        .iter()
        .map(|entry| {
            let origin = match entry.weights {
                Weights::Embedded(bytes) => format!("in the binary, {:.1} MB", bytes.len() as f64 / 1e6),
                Weights::Seeded(_) => "random, for smoke tests only".to_owned(),
                Weights::File => "torchvision state dict, --weights FILE (.pth or .safetensors)".to_owned(),
            };
            format!("{:width$}  {origin}\n", entry.name)
        })
        .collect();
    print(&lines)
}
