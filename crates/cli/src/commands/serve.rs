use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use fmam::{Session, SessionBuilder};
use fmam_serve::{Access, Collecting, Limits, ModelFolder, Options, Server, Token};

use crate::compute::{ComputeArgs, numbers};
use crate::exit::usage;
use crate::interrupt;
use crate::logging::Log;

/// Bytes of a MiB, and pixels of a megapixel.
const MIB: usize = 1 << 20;
const MEGAPIXEL: usize = 1_000_000;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/serve.txt"))]
pub(crate) struct Args {
    /// Folder that `fmam fit` wrote, under the name of the folder or as NAME=DIR; several times for
    /// several models, of which the first is that of a request that names none
    #[arg(long = "model", value_name = "[NAME=]DIR", required = true)]
    models: Vec<PathBuf>,
    /// Address to listen on; another than that of this machine alone needs --token-file or
    /// --insecure
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Port to listen on; 0 takes a free one, which the log tells
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    collect: CollectArgs,
    /// Seconds between two looks at the folders of the models: a changed model is loaded, and takes
    /// the place of the one before; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    reload: u64,
    /// Images that are scored together, at most [default: 1 on a CPU, 8 or 32 on a GPU]
    #[arg(long, value_name = "N", value_parser = numbers(1..=1024))]
    batch: Option<usize>,
    /// Batches that are scored at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = numbers(1..=64))]
    workers: usize,
    /// Form of the log on stderr
    #[arg(long, value_name = "FORM", default_value = "text")]
    log: LogForm,
    #[command(flatten)]
    compute: ComputeArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogForm {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

#[derive(clap::Args)]
struct AccessArgs {
    /// File of tokens, one a line, 16 characters or more: a request needs one of them, as
    /// `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Serve everybody who reaches the address, without a token
    #[arg(long, conflicts_with = "token_file")]
    insecure: bool,
    /// Name by which browsers reach this server, beside its address; several times for several
    #[arg(long = "allow-host", value_name = "NAME")]
    hosts: Vec<String>,
}

#[derive(clap::Args)]
struct LimitArgs {
    /// MiB of the body of a request
    #[arg(long, value_name = "MIB", default_value = "32", value_parser = numbers(1..=4096))]
    max_body: usize,
    /// MiB of all bodies that are held at a time
    #[arg(long, value_name = "MIB", default_value = "256", value_parser = numbers(1..=65536))]
    max_bodies: usize,
    /// Megapixels of an image, by its header: a larger one is not decoded
    #[arg(long, value_name = "MEGAPIXELS", default_value = "50", value_parser = numbers(1..=1000))]
    max_pixels: usize,
    /// Images of a request
    #[arg(long, value_name = "N", default_value = "32", value_parser = numbers(1..=1024))]
    max_images: usize,
    /// Images that wait or are in work; a request beyond it gets 503
    #[arg(long, value_name = "N", default_value = "64", value_parser = numbers(1..=65536))]
    queue: usize,
    /// Open connections; a further one waits
    #[arg(long, value_name = "N", default_value = "256", value_parser = numbers(1..=65536))]
    max_connections: usize,
    /// Seconds for the body of a request, and again for its answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = numbers(1..=3600))]
    timeout: usize,
    /// Seconds to finish requests in after Ctrl-C or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = numbers(1..=3600))]
    grace: usize,
}

#[derive(clap::Args)]
struct CollectArgs {
    /// Keep the images that a person calls good or defective on the page, in `good` and `defective`
    /// of this folder, for `fmam calibrate`
    #[arg(long, value_name = "DIR")]
    collect: Option<PathBuf>,
    /// Images in the folder of --collect
    #[arg(long, value_name = "N", default_value = "1000", value_parser = numbers(1..=1_000_000))]
    collect_images: usize,
    /// MiB in the folder of --collect
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = numbers(1..=1_048_576))]
    collect_mib: usize,
}

impl Args {
    /// The log of the server.
    pub(crate) fn log(&self) -> Log {
        match self.log {
            LogForm::Text => Log::ServerText,
            LogForm::Json => Log::ServerJson,
        }
    }

    fn options(&self) -> Result<Options> {
        let limits = &self.limits;
        let tokens = self.access.token_file.as_deref().map(Token::read).transpose()?.unwrap_or_default();
        Ok(Options {
            limits: Limits {
                body: limits.max_body * MIB,
                bodies: limits.max_bodies.max(limits.max_body) * MIB,
                pixels: limits.max_pixels * MEGAPIXEL,
                images: limits.max_images.min(limits.queue),
                queue: limits.queue,
                connections: limits.max_connections,
                time: Duration::from_secs(limits.timeout as u64),
                grace: Duration::from_secs(limits.grace as u64),
            },
            access: Access { tokens, hosts: self.access.hosts.clone(), address: Some(self.address) },
            collecting: self.collect.collect.clone().map(|folder| Collecting {
                folder,
                images: self.collect.collect_images,
                bytes: (self.collect.collect_mib * MIB) as u64,
            }),
            reload: Some(Duration::from_secs(self.reload)).filter(|pause| !pause.is_zero()),
            batch: self.batch,
            workers: self.workers,
        })
    }
}

/// `NAME=DIR`, or a folder alone, under its own name.
fn model(given: &Path) -> Result<ModelFolder> {
    let named = given.to_str().and_then(|text| text.split_once('=')).filter(|_| !given.exists());
    Ok(match named {
        Some((name, folder)) => ModelFolder::new(Some(name), Path::new(folder))?,
        None => ModelFolder::new(None, given)?,
    })
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let is_open = !args.address.is_loopback() && args.access.token_file.is_none();
    if is_open && !args.access.insecure {
        return Err(usage(anyhow::anyhow!(
            "{} can be reached from other machines: give --token-file FILE, or --insecure to serve everybody",
            args.address
        )));
    }
    let models = args.models.iter().map(|given| model(given)).collect::<Result<Vec<_>>>()?;
    let options = args.options()?;
    interrupt::install_quietly()?;
    let device = args.compute.device.unwrap_or_default();
    let builder = Session::builder().registry(registry.clone()).device(device).tf32(args.compute.tf32);
    let session = args.compute.threads.into_iter().fold(builder, SessionBuilder::threads).build()?;
    // Taken before the models are loaded: a port in use is told at once.
    let address = SocketAddr::new(args.address, args.port);
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().with_context(|| format!("cannot listen on {address}"))?;
    let server = Server::open(session, models, options)?;
    if is_open {
        tracing::warn!(
            %address,
            "--insecure: everybody who reaches this address can use the models and send images to this machine"
        );
    }
    tracing::info!(address = %format!("http://{address}/"), "listening");
    server.run(listener, interrupt::requested)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_the_name_of_its_folder_or_one_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a=b");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(model(Path::new("models/screw")).unwrap().name, "screw");
        let named = model(Path::new("screw=models/1")).unwrap();
        assert_eq!((named.name.as_str(), named.folder.as_path()), ("screw", Path::new("models/1")));
        // A folder with such a name is there: it is no name of a model.
        assert!(model(&odd).is_err());
        assert!(model(Path::new("a/b=c")).is_err());
    }
}
