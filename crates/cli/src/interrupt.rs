//! Ctrl-C: the first asks the running work to end cleanly, the second ends at once.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::watchdog;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Catches Ctrl-C, and the request to terminate, from now on.
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

fn catch(told: impl Fn() + Send + 'static) -> Result<()> {
    ctrlc::set_handler(move || {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        told();
    })
    .context("cannot catch Ctrl-C")
}

/// True if the user asked to stop.
pub(crate) fn requested() -> bool {
    let is_requested = INTERRUPTED.load(Ordering::SeqCst);
    if is_requested {
        watchdog::heard();
    }
    is_requested
}
