use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Subcommand;
use fmam::fetch::{WeightsOrigin, fetch_weights, published_weights, weights_origin};
use fmam_models::import_lite0;

use crate::exit::usage;
use crate::interrupt;
use crate::stdout::print;
use crate::transfer::TransferBar;

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
    /// Fetch published weights into the cache folder, where `--backbone NAME` finds them
    ///
    /// The folder is what FMAM_CACHE says, or `fmam` in the system's cache folder. An interrupted
    /// download goes on where it was; HTTPS_PROXY and SSL_CERT_FILE and their like are honoured.
    Fetch {
        /// Backbones; `fmam weights list` names them
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Take the file from here instead, of one backbone
        #[arg(long, value_name = "FILE", conflicts_with = "offline")]
        from_file: Option<PathBuf>,
        /// Fetch nothing: check what is there
        #[arg(long)]
        offline: bool,
        /// A manifest (TOML) in place of the published weights that backbones tell
        #[arg(long, value_name = "FILE", hide = true)]
        manifest: Option<PathBuf>,
    },
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

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    match &args.action {
        Action::List => list(registry),
        Action::Fetch { names, from_file, offline, manifest } => {
            if from_file.is_some() && names.len() > 1 {
                return Err(usage(anyhow!("--from-file is for one backbone")));
            }
            interrupt::install()?;
            let published = published_weights(manifest.as_deref(), registry.backbones())?;
            for name in names {
                let bar = TransferBar::new();
                let mut tell = |name: &str, done, total| bar.tell(name, done, total);
                let path = fetch_weights(
                    registry.backbones(),
                    &published,
                    name,
                    from_file.as_deref(),
                    *offline,
                    &mut tell,
                )?;
                drop(bar);
                print(&format!("{}\n", path.display()))?;
            }
            Ok(())
        }
        Action::Import { from, out } => {
            let _claim = fmam::output::claim(out)?;
            import_lite0(from, out)?;
            print(&format!("{}\n", out.display()))
        }
    }
}

fn list(registry: &fmam::Registry) -> Result<()> {
    let width = registry.backbones().iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for entry in registry.backbones() {
        let origin = match weights_origin(entry) {
            WeightsOrigin::BuiltIn(bytes) => format!("in the binary, {:.1} MB", bytes as f64 / 1e6),
            WeightsOrigin::Random => "random, for smoke tests only".to_owned(),
            WeightsOrigin::Fetched(path) => path.display().to_string(),
            WeightsOrigin::Published { title, licence } => {
                format!("`fmam weights fetch {}`: {title} ({licence}); or --weights FILE", entry.name)
            }
            _ => "--weights FILE (.pth or .safetensors)".to_owned(),
        };
        lines += &format!("{:width$}  {origin}\n", entry.name);
    }
    print(&lines)
}
