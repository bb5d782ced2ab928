//! Options of every subcommand that computes.

use anyhow::Result;
use fmam::{DeviceChoice, Progress, Registry, Session, SessionBuilder};

use crate::interrupt;

#[derive(clap::Args)]
pub(crate) struct ComputeArgs {
    /// Where to compute: auto, cpu, cuda or cuda:INDEX
    ///
    /// `auto` takes CUDA where this build has it and a device opens, else the CPU [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceChoice>,
    /// Threads to compute and to load images with [default: one a core]; results do not depend on
    /// it
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub(crate) threads: Option<usize>,
    /// No progress on stderr, only errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

pub(crate) fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err("a number from 1 to 1024".to_owned()),
    }
}

impl ComputeArgs {
    /// A session on the device, followed by `progress`. From now on Ctrl-C is caught.
    pub(crate) fn session(&self, registry: &Registry, progress: impl Progress + 'static) -> Result<Session> {
        self.on(registry, self.device.unwrap_or_default(), progress)
    }

    /// As [`ComputeArgs::session`], on `device`.
    pub(crate) fn on(
        &self,
        registry: &Registry,
        device: DeviceChoice,
        progress: impl Progress + 'static,
    ) -> Result<Session> {
        interrupt::install()?;
        let builder = Session::builder().registry(registry.clone()).device(device).progress(progress);
        Ok(self.threads.into_iter().fold(builder, SessionBuilder::threads).build()?)
    }
}
