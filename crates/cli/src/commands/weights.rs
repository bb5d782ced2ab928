use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use candle_core::Device;
use clap::Subcommand;
use fmam_fetch::{ExpectedSha256, forget, record_digest, sha256_file};
use fmam_models::{BACKBONES, Weights, import_lite0, load_backbone, save_tensors};

use crate::exit::usage;
use crate::hub::HubFile;
use crate::interrupt;
use crate::stdout::print;
use crate::transfer::{PublishedWeights, bring, fetched_weights, find, published_weights, weights_dir};

/// No published checkpoint is larger.
const MAX_BYTES: u64 = 2 << 30;

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

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.action {
        Action::List => list(),
        Action::Fetch { names, from_file, offline, manifest } => {
            if from_file.is_some() && names.len() > 1 {
                return Err(usage(anyhow!("--from-file is for one backbone")));
            }
            interrupt::install()?;
            let published = published_weights(manifest.as_deref())?;
            for name in names {
                let entry = find(&published, name, |weights| &weights.name, "weights")?;
                let path = fetch(entry, from_file.as_deref(), *offline)?;
                print(&format!("{}\n", path.display()))?;
            }
            Ok(())
        }
        Action::Import { from, out } => {
            import_lite0(from, out)?;
            print(&format!("{}\n", out.display()))
        }
    }
}

/// Brings the published file into the cache and makes safetensors of what features need. A file of
/// another architecture does not stay. One of the Hugging Face hub is taken from where the hub's
/// own programs keep it, if they have it.
fn fetch(entry: &PublishedWeights, from_file: Option<&Path>, offline: bool) -> Result<PathBuf> {
    let name = &entry.name;
    let folder = weights_dir()?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let expected: ExpectedSha256 = entry.sha256.parse()?;
    let last = entry.url.rsplit('/').next().unwrap_or(name);
    let (file, url, shared) = match HubFile::at(&entry.url) {
        None => (folder.join(last), entry.url.clone(), None),
        Some(hub) => {
            let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|value| !value.is_empty());
            // The hub's names do not tell one model from another.
            (folder.join(format!("{name}-{last}")), hub.url(endpoint.as_deref()), hub.shared_copy())
        }
    };
    let given = match from_file {
        Some(from) => {
            let digest = sha256_file(from)?;
            if !expected.matches(&digest) {
                return Err(anyhow!(
                    "{} has SHA-256 {digest}, expected {expected}: it is not {}",
                    from.display(),
                    entry.architecture
                ));
            }
            Some((from.to_owned(), digest))
        }
        None => shared.filter(|_| !file.is_file()).and_then(|from| {
            let digest = sha256_file(&from).ok().filter(|digest| expected.matches(digest))?;
            Some((from, digest))
        }),
    };
    match given {
        Some((from, digest)) => {
            copy(&from, &file)?;
            record_digest(&file, &digest)?;
        }
        None => bring(&url, &file, Some(expected), MAX_BYTES, offline)?,
    }
    let target = folder.join(format!("{name}.safetensors"));
    let converted = load_backbone(name, Some(&file), &Device::Cpu)
        .and_then(|backbone| save_tensors(&target, backbone.tensors()));
    if let Err(error) = converted {
        forget(&file);
        return Err(error)
            .context(format!("the file of {} is not what it should be; it was removed", entry.architecture));
    }
    record_digest(&target, &sha256_file(&target)?)?;
    Ok(target)
}

/// Copies a file all or nothing.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = File::open(from)
        .and_then(|mut from| fmam_files::write_atomic(to, |to| std::io::copy(&mut from, to).map(drop)));
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn list() -> Result<()> {
    let published = published_weights(None)?;
    let width = BACKBONES.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    let lines: String = BACKBONES
        .iter()
        .map(|entry| {
            let origin = match entry.weights {
                Weights::Embedded(bytes) => format!("in the binary, {:.1} MB", bytes.len() as f64 / 1e6),
                Weights::Seeded(_) => "random, for smoke tests only".to_owned(),
                Weights::File(_) => {
                    match (fetched_weights(entry.name), published.iter().find(|w| w.name == entry.name)) {
                        (Some(path), _) => path.display().to_string(),
                        (None, Some(weights)) => format!(
                            "`fmam weights fetch {}`: {} ({}); or --weights FILE",
                            entry.name, weights.architecture, weights.licence
                        ),
                        (None, None) => "--weights FILE (.pth or .safetensors)".to_owned(),
                    }
                }
            };
            format!("{:width$}  {origin}\n", entry.name)
        })
        .collect();
    print(&lines)
}
