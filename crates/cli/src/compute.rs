//! Options of every subcommand that computes.

use anyhow::{Context, Result};
use candle_core::Device;
use fmam::{DeviceChoice, Precision, Progress, Session, SessionBuilder};

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

/// Sets the number of threads, or leaves it at one a core. Gives it.
pub(crate) fn use_threads(threads: Option<usize>) -> Result<usize> {
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .context("cannot start the threads")?;
    }
    Ok(rayon::current_num_threads())
}

pub(crate) fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err("a number from 1 to 1024".to_owned()),
    }
}

/// Says once where one of `precisions` has no use on `device`.
pub(crate) fn warn_of_emulation(precisions: impl IntoIterator<Item = Precision>, device: &Device) {
    if device.is_cpu() && precisions.into_iter().any(|precision| precision == Precision::Bf16) {
        tracing::warn!("bf16 is meant for a GPU: on a CPU it is emulated and slower than f32");
    }
}

impl ComputeArgs {
    /// Sets the number of threads and catches Ctrl-C. To be called once, before any work.
    pub(crate) fn prepare(&self) -> Result<()> {
        use_threads(self.threads)?;
        interrupt::install()
    }

    /// A session on the device, followed by `progress`. Like [`ComputeArgs::prepare`], to be called
    /// once.
    pub(crate) fn session(&self, progress: impl Progress + 'static) -> Result<Session> {
        self.prepare()?;
        let builder = Session::builder().device(self.device.unwrap_or_default()).progress(progress);
        Ok(self.threads.into_iter().fold(builder, SessionBuilder::threads).build()?)
    }
}
