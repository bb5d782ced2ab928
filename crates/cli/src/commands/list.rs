use anyhow::{Result, anyhow};
use clap::ValueEnum;
use fmam::{DeviceChoice, Kind, Session, Setting, catalogue};

use crate::exit::usage;
use crate::stdout::print;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// List the names of one kind only, one on a line, or the settings of a method
    what: Option<What>,
    /// With `settings`: the method whose settings are printed as TOML, defaults filled in
    #[arg(value_name = "METHOD", required_if_eq("what", "settings"))]
    method: Option<String>,
    /// With `settings`: a setting over the defaults, as often as needed; the value is TOML
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "method")]
    settings: Vec<Setting>,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Methods,
    Backbones,
    Datasets,
    Metrics,
    Settings,
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let kind = match (args.what, &args.method) {
        (Some(What::Settings), Some(method)) => {
            let session = Session::builder().device(DeviceChoice::Cpu).build()?;
            return print(&toml::to_string(&session.settings(method, &args.settings)?)?);
        }
        (_, Some(_)) => return Err(usage(anyhow!("a method goes with `fmam list settings` only"))),
        (None | Some(What::Settings), None) => return print(&catalogue(registry)),
        (Some(What::Methods), None) => Kind::Methods,
        (Some(What::Backbones), None) => Kind::Backbones,
        (Some(What::Datasets), None) => Kind::Datasets,
        (Some(What::Metrics), None) => Kind::Metrics,
    };
    print(&kind.names(registry))
}
