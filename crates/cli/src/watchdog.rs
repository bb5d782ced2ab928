//! The end of a program that was asked to stop and does not hear of it: it waits for a file of a
//! network that is gone, for a pipe, or for a list on stdin.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

static HEARD: AtomicBool = AtomicBool::new(false);

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// Looks at a process that does nothing, until it is ended: 3 s where nobody has asked for the
/// request, and 20 s for the end of work that was told of it, which may wait for a slow disk.
const UNHEARD_LOOKS: u32 = 12;
const HEARD_LOOKS: u32 = 80;

/// Ticks of processor time between two looks at a process that only waits.
const IDLE_TICKS: u64 = 1;

/// Notes that the work has asked whether to stop, and was told to.
pub(crate) fn heard() {
    HEARD.store(true, Ordering::SeqCst);
}

/// Ends the process with exit code 130 when it has waited for long. Call it at the request to stop.
pub(crate) fn begin() {
    // Without a thread the second Ctrl-C ends the process all the same.
    let _ = thread::Builder::new().name("watchdog".to_owned()).spawn(watch);
}

fn watch() {
    let (mut idle, mut before) = (0, processor_ticks());
    loop {
        thread::sleep(LOOK);
        let now = processor_ticks();
        let is_idle = match (before, now) {
            (Some(before), Some(now)) => now.saturating_sub(before) <= IDLE_TICKS,
            // A system that does not tell: the time alone counts.
            _ => true,
        };
        (idle, before) = (if is_idle { idle + 1 } else { 0 }, now);
        if is_over(idle, HEARD.load(Ordering::SeqCst), now.is_some()) {
            let _ = writeln!(std::io::stderr(), "stopped while waiting for a file, a pipe or a network");
            std::process::exit(130);
        }
    }
}

/// True after `idle` looks at a process that waits; one that may compute gets ten times as long.
fn is_over(idle: u32, is_heard: bool, is_known_to_wait: bool) -> bool {
    let looks = if is_heard { HEARD_LOOKS } else { UNHEARD_LOOKS };
    idle >= if is_known_to_wait { looks } else { 10 * looks }
}

/// The processor time of this process, of all its threads, in hundredths of a second; `None` where
/// the system does not tell it in a file.
fn processor_ticks() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold anything.
    let mut fields = status.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_hears_gets_longer_than_work_that_waits() {
        assert!(!is_over(11, false, true) && is_over(12, false, true));
        assert!(!is_over(79, true, true) && is_over(80, true, true));
        assert!(!is_over(119, false, false) && is_over(120, false, false));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_computes_is_seen() {
        let before = processor_ticks().unwrap();
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            std::hint::black_box(start);
        }
        assert!(processor_ticks().unwrap() > before + IDLE_TICKS);
    }
}
