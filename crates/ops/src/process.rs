//! The process and its threads: settings that make training on a CPU faster, and work that is
//! handed to the workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use candle_core::Device;

/// Makes the process ready for training on a CPU; a program calls this first in `main`.
///
/// - candle's own elementwise operators stay on the calling thread: their pool of spinning workers
///   competes with rayon's for the same cores and cost a quarter of a training step on two cores.
///   The setting is made only while the process has a single thread, where that can be told
///   (Linux), and where the user has not set `CANDLE_NUM_THREADS`.
/// - glibc's allocator keeps freed blocks for the next step. Pages that it gave back to the system
///   would be cleared again at every step.
///
/// `docs/benchmarks.md` has the figures.
pub fn tune_process() {
    keep_candle_on_one_thread();
    keep_freed_memory();
}

/// Runs `work` on one of rayon's threads, and keeps the others awake meanwhile.
///
/// Each operator of this crate shares its work among rayon's threads. An operator called from
/// another thread hands its work over and sleeps until the work is done, hundreds of times in a
/// training step. Inside this function the handover happens once. A worker of rayon that finds
/// nothing to do sleeps within microseconds, and waking it takes as long as a small operator:
/// inside this function it looks for work until the first millisecond without any.
///
/// `work` must not wait for another thread that needs rayon itself.
pub fn on_workers<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| {
        let attention = Attention(Arc::new(AtomicBool::new(true)));
        for _ in 1..rayon::current_num_threads() {
            let is_wanted = Arc::clone(&attention.0);
            // Not of the scope: nothing waits for a worker that has found other work.
            rayon::spawn(move || look_for_work(is_wanted));
        }
        work()
    })
}

/// Lets the workers sleep when it is dropped.
struct Attention(Arc<AtomicBool>);

impl Drop for Attention {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

/// Takes work of this thread's pool as it comes, until it `is_wanted` no more or none has come for
/// some time.
fn look_for_work(is_wanted: Arc<AtomicBool>) {
    const PATIENCE: Duration = Duration::from_millis(1);
    /// The time after which a worker returns to what it may be waiting for, and looks again as a
    /// job of its own.
    const TURN: Duration = Duration::from_millis(5);
    const PAUSES: usize = 16;
    let begin = Instant::now();
    let mut idle_since = begin;
    while is_wanted.load(Relaxed) {
        if begin.elapsed() > TURN {
            rayon::spawn(move || look_for_work(is_wanted));
            return;
        }
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            idle_since = Instant::now();
            continue;
        }
        if idle_since.elapsed() > PATIENCE {
            return;
        }
        (0..PAUSES).for_each(|_| std::hint::spin_loop());
        // Another thread may need this core.
        std::thread::yield_now();
    }
}

/// Runs two pieces of work that do not depend on each other: at the same time where they compute on
/// the cores, and one after the other on another device, which has one stream for all threads. Two
/// networks side by side wait for each other once, and one after the other at each of their layers.
pub fn side_by_side<A: Send, B: Send>(
    device: &Device,
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    if device.is_cpu() { rayon::join(a, b) } else { (a(), b()) }
}

#[allow(unsafe_code, reason = "the environment is candle's only switch; see the safety argument below")]
fn keep_candle_on_one_thread() {
    const SWITCH: &str = "CANDLE_NUM_THREADS";
    let threads = std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count);
    if threads == 1 && std::env::var_os(SWITCH).is_none() {
        // SAFETY: setting a variable races with other threads that read the environment, and this
        // process has no other thread: its only one is here.
        unsafe { std::env::set_var(SWITCH, "1") }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "mallopt is a C function; see the safety argument below")]
fn keep_freed_memory() {
    // SAFETY: mallopt takes two integers, may be called at any time from any thread (it locks the
    // arena), and these parameters change when memory is requested and returned, never what has
    // been handed out.
    let set = |parameter, value| unsafe { libc::mallopt(parameter, value) != 0 };
    // Older versions of glibc refuse more than 32 MiB. Without a threshold the other parameters
    // would do harm: setting one of them ends glibc's own adaptation.
    if set(libc::M_MMAP_THRESHOLD, 1 << 30) || set(libc::M_MMAP_THRESHOLD, 32 << 20) {
        set(libc::M_TRIM_THRESHOLD, i32::MAX);
        set(libc::M_TOP_PAD, 1 << 26);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_freed_memory() {}

/// True where the process ignores `signal`, a number of the system. `nohup` starts a program that
/// ignores SIGHUP, and a shell without job control one in the background that ignores SIGINT.
#[cfg(unix)]
#[allow(unsafe_code, reason = "sigaction is a C function; see the safety argument below")]
pub fn ignores_signal(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call changes nothing; it writes the present action to a
    // place of that type, which is valid with all bytes zero.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn an_ignored_signal_is_told_from_others() {
        // The standard library ignores a broken pipe, and nothing here catches SIGUSR2.
        assert!(super::ignores_signal(libc::SIGPIPE) && !super::ignores_signal(libc::SIGUSR2));
        assert!(!super::ignores_signal(-1));
    }
}
