//! Ctrl-C: the first asks the running work to end cleanly, the second ends at once.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::watchdog;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Catches Ctrl-C, and the requests to terminate and of a terminal that closes, from now on. A
/// signal that the process was started to ignore stays ignored: `nohup` and a job in the background
/// ask for that.
pub(crate) fn install() -> Result<()> {
    catch(|| {
        watchdog::begin();
        let _ = writeln!(std::io::stderr(), "\nstopping; press Ctrl-C again to end at once");
    })
}

/// As [`install`], for a program that says by itself that it stops.
pub(crate) fn install_quietly() -> Result<()> {
    catch(|| {})
}

/// Calls `told` at the first signal, and ends the process at the second.
fn catch(told: impl Fn() + Send + 'static) -> Result<()> {
    on_signals(move || {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        told();
    })
    .context("cannot catch Ctrl-C")
}

#[cfg(unix)]
fn on_signals(act: impl Fn() + Send + 'static) -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let wanted = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !fmam_ops::ignores_signal(*signal));
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    let wait = move || signals.forever().for_each(|_| act());
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}

#[cfg(not(unix))]
fn on_signals(act: impl Fn() + Send + 'static) -> Result<()> {
    Ok(ctrlc::set_handler(act)?)
}

/// True if the user asked to stop.
pub(crate) fn requested() -> bool {
    let is_requested = INTERRUPTED.load(Ordering::SeqCst);
    if is_requested {
        watchdog::heard();
    }
    is_requested
}
