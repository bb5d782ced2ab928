//! Running the program under a watch of its time and its memory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Upper bounds of a run of the program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) time: Duration,
    /// Bytes of resident memory.
    pub(super) memory: u64,
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Code(i32),
    Signal(i32),
    /// It ran past the limit of its time and was killed.
    Hang,
}

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) end: End,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// The most resident memory that was seen, in bytes.
    pub(super) peak: u64,
}

/// A run that may not have ended. A child that is dropped is killed.
pub(super) struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    start: Instant,
    peak: u64,
}

const PAUSE: Duration = Duration::from_millis(2);

impl Running {
    /// Starts `command`, whose output goes to temporary files: a pipe that nobody reads would stop
    /// it.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let child =
            command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
        Ok(Self { child, stdout, stderr, start: Instant::now(), peak: 0 })
    }

    /// Waits for `time`, or for the end of the run if that is sooner; true where it has ended.
    pub(super) fn wait_for(&mut self, time: Duration) -> Result<bool> {
        let until = Instant::now() + time;
        loop {
            if self.child.try_wait()?.is_some() {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            std::thread::sleep(PAUSE.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// Sends the signal of this name, `TERM` say.
    pub(super) fn signal(&self, name: &str) -> Result<()> {
        let kill = format!("kill -s {name} {}", self.child.id());
        // A run that has ended takes no signal, which is no fault.
        Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status()?;
        Ok(())
    }

    /// Gives what the program wrote to stderr so far.
    pub(super) fn stderr(&self) -> Result<String> {
        text(&self.stderr)
    }

    /// Waits for the end, or makes it at a limit.
    pub(super) fn finish(mut self, limits: Limits) -> Result<Outcome> {
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break Some(status);
            }
            self.peak = self.peak.max(resident(self.child.id()));
            if self.start.elapsed() > limits.time || self.peak > limits.memory {
                self.child.kill()?;
                let status = self.child.wait()?;
                break (self.peak > limits.memory).then_some(status);
            }
            std::thread::sleep(PAUSE);
        };
        let end = match status {
            None => End::Hang,
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => End::Code(code),
                (None, signal) => End::Signal(signal.unwrap_or(0)),
            },
        };
        let (stdout, stderr) = (text(&self.stdout)?, text(&self.stderr)?);
        Ok(Outcome { end, stdout, stderr, peak: self.peak })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end.
pub(super) fn run(command: &mut Command, limits: Limits) -> Result<Outcome> {
    Running::start(command)?.finish(limits)
}

/// The largest resident memory of a process so far, in bytes; 0 where the system does not say.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// The text of a file that the program writes to. The place at which it writes is left as it is.
fn text(file: &File) -> Result<String> {
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
