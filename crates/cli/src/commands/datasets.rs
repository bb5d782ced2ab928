use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Subcommand;
use fmam::fetch::{count_images, fetch_dataset, published_datasets};
use fmam::{DeviceChoice, Session};

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
    /// Say of every data set what it is and how to get it
    List,
    /// Bring a data set under --data-root: fetched where its licence lets a program do that, else
    /// from an archive
    Fetch {
        /// Data set; `fmam datasets list` names them
        name: String,
        /// Folder that holds the data sets
        #[arg(long, value_name = "DIR")]
        data_root: PathBuf,
        /// The archive, downloaded before (.zip, .tar, .tar.gz, .tar.xz)
        #[arg(long, value_name = "FILE")]
        from_archive: Option<PathBuf>,
        /// Another manifest than data/datasets.toml
        #[arg(long, value_name = "FILE", hide = true)]
        manifest: Option<PathBuf>,
    },
    /// Count the images of each category and compare with what is published
    Verify {
        /// Data set; `fmam list datasets` names them
        name: String,
        /// Folder that holds the data set
        #[arg(long, value_name = "DIR")]
        data_root: PathBuf,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.action {
        Action::List => list(),
        Action::Fetch { name, data_root, from_archive, manifest } => {
            interrupt::install()?;
            let published = published_datasets(manifest.as_deref())?;
            let bar = TransferBar::new();
            let mut tell = |name: &str, done, total| bar.tell(name, done, total);
            let folder = fetch_dataset(&published, name, data_root, from_archive.as_deref(), &mut tell)?;
            drop(bar);
            print(&format!("{}\n", folder.display()))
        }
        Action::Verify { name, data_root } => verify(name, data_root),
    }
}

fn list() -> Result<()> {
    let lines: String = published_datasets(None)?
        .iter()
        .map(|entry| {
            let how = match &entry.url {
                Some(_) => format!("fmam datasets fetch {} --data-root DIR", entry.name),
                None => format!("fmam datasets fetch {} --data-root DIR --from-archive FILE", entry.name),
            };
            format!("{}\n  {}\n  {}\n  {how}\n", entry.name, entry.page, entry.licence)
        })
        .collect();
    print(&lines)
}

fn verify(name: &str, data_root: &Path) -> Result<()> {
    let session = Session::builder().device(DeviceChoice::Cpu).build()?;
    let dataset = session.dataset(name, Some(data_root.to_owned()))?;
    let counts = count_images(name, dataset.as_ref())?;
    print(&counts.to_string())?;
    match counts.n_wrong() {
        0 => Ok(()),
        wrong => bail!("{wrong} categories have other images than published"),
    }
}
