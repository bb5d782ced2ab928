//! Options of every subcommand that computes.

use std::ops::RangeBounds;
use std::sync::Arc;

use anyhow::Result;
use clap::builder::RangedU64ValueParser;
use fmam::{DeviceChoice, Registry, Session, SessionBuilder};

use crate::interrupt;
use crate::progress::Console;

#[derive(clap::Args)]
pub(crate) struct ComputeArgs {
    /// The device: auto, cpu, cuda or cuda:INDEX
    ///
    /// `auto` takes CUDA where this build has it and a device opens, else the CPU [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceChoice>,
    /// Let convolutions on a GPU multiply in TF32: faster, with 10 of the 23 bits of a factor
    #[arg(long)]
    pub(crate) tf32: bool,
    /// Threads to compute and to load images with [default: one a core]; results do not depend on
    /// it
    #[arg(long, value_name = "N", value_parser = numbers(1..=1024))]
    pub(crate) threads: Option<usize>,
    /// No progress on stderr, only errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Whole numbers of `range`.
pub(crate) fn numbers(range: impl RangeBounds<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

impl ComputeArgs {
    /// A session on the device, and the console that follows it. From now on Ctrl-C is caught.
    pub(crate) fn session(&self, registry: &Registry) -> Result<(Session, Arc<Console>)> {
        self.on(registry, self.device.unwrap_or_default())
    }

    /// As [`ComputeArgs::session`], on `device`.
    pub(crate) fn on(&self, registry: &Registry, device: DeviceChoice) -> Result<(Session, Arc<Console>)> {
        interrupt::install()?;
        let console = Arc::new(Console::new(self.quiet, []));
        let builder =
            Session::builder().registry(registry.clone()).device(device).progress(Arc::clone(&console));
        let builder = builder.tf32(self.tf32);
        Ok((self.threads.into_iter().fold(builder, SessionBuilder::threads).build()?, console))
    }
}
