use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Computes `work(0) .. work(n - 1)` on `threads` threads and hands the results to `consume` on the
/// calling thread in index order, while at most `window` results are in the making or waiting.
///
/// This is the loader behind training and evaluation: memory is bounded by `window`, and the order
/// does not depend on the number of threads. `consume` stops the whole by returning an error;
/// `work` should return a `Result` as its value where it can fail.
///
/// ```
/// let mut seen = Vec::new();
/// fmam_core::ordered_map(5, 2, 3, |i| i * i, |i, square| -> Result<(), ()> {
///     seen.push((i, square));
///     Ok(())
/// }).unwrap();
/// assert_eq!(seen, [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]);
/// ```
///
/// # Errors
/// The first error of `consume`; the work not yet begun is dropped.
///
/// # Panics
/// A panic of `work` is carried to the caller.
pub fn ordered_map<T: Send, E>(
    n: usize,
    threads: usize,
    window: usize,
    work: impl Fn(usize) -> T + Sync,
    mut consume: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.clamp(1, n.max(1));
    let window = window.max(1);
    let queue = Queue { state: Mutex::new(State::default()), changed: Condvar::new() };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| queue.produce(n, window, &stop, &work));
        }
        // Whatever way this closure is left, the workers must not wait for ever.
        let _release = Release { queue: &queue, stop: &stop };
        for index in 0..n {
            let Some(item) = queue.take(index) else {
                // A worker died: leave, and the scope carries its panic on.
                break;
            };
            consume(index, item)?;
        }
        Ok(())
    })
}

struct State<T> {
    next: usize,
    consumed: usize,
    ready: BTreeMap<usize, T>,
    worker_died: bool,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { next: 0, consumed: 0, ready: BTreeMap::new(), worker_died: false }
    }
}

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn produce(&self, n: usize, window: usize, stop: &AtomicBool, work: &(impl Fn(usize) -> T + Sync)) {
        let mut death = DeathNotice { queue: self, armed: true };
        loop {
            let index = {
                let mut state = self.lock();
                loop {
                    if stop.load(Ordering::Relaxed) || state.next >= n {
                        death.armed = false;
                        return;
                    }
                    if state.next < state.consumed + window {
                        break;
                    }
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                state.next += 1;
                state.next - 1
            };
            let item = work(index);
            self.lock().ready.insert(index, item);
            self.changed.notify_all();
        }
    }

    fn take(&self, index: usize) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.ready.remove(&index) {
                state.consumed = index + 1;
                drop(state);
                self.changed.notify_all();
                return Some(item);
            }
            if state.worker_died {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct DeathNotice<'a, T> {
    queue: &'a Queue<T>,
    armed: bool,
}

impl<T> Drop for DeathNotice<'_, T> {
    fn drop(&mut self) {
        if self.armed {
            self.queue.lock().worker_died = true;
            self.queue.changed.notify_all();
        }
    }
}

struct Release<'a, T> {
    queue: &'a Queue<T>,
    stop: &'a AtomicBool,
}

impl<T> Drop for Release<'_, T> {
    fn drop(&mut self) {
        // Under the lock, so that no worker checks the flag before and sleeps after this notice.
        let _state = self.queue.lock();
        self.stop.store(true, Ordering::Relaxed);
        self.queue.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn order_is_kept_for_any_thread_count() {
        for threads in [1, 2, 7] {
            for window in [1, 2, 16] {
                let mut out = Vec::new();
                let slow_first = |i: usize| {
                    std::thread::sleep(std::time::Duration::from_micros(((37 * i) % 11) as u64 * 50));
                    i * 3
                };
                ordered_map(40, threads, window, slow_first, |i, v| -> Result<(), ()> {
                    assert_eq!(v, i * 3);
                    out.push(i);
                    Ok(())
                })
                .unwrap();
                assert_eq!(out, (0..40).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn at_most_a_window_of_items_is_alive() {
        let (alive, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |_| {
            let now = alive.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
        };
        ordered_map(100, 4, 5, work, |_, ()| -> Result<(), ()> {
            alive.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
        .unwrap();
        // The item being consumed has left the window but is still counted as alive here.
        assert!(most.load(Ordering::SeqCst) <= 6);
    }

    #[test]
    fn an_error_of_the_consumer_stops_the_workers() {
        let started = AtomicUsize::new(0);
        let work = |i| {
            started.fetch_add(1, Ordering::SeqCst);
            i
        };
        let result = ordered_map(1000, 2, 4, work, |i, _| if i == 3 { Err("stop") } else { Ok(()) });
        assert_eq!(result, Err("stop"));
        assert!(started.load(Ordering::SeqCst) < 20);
    }

    #[test]
    fn a_panic_of_the_work_reaches_the_caller() {
        let run = || ordered_map(10, 2, 2, |i| assert!(i != 5), |_, ()| -> Result<(), ()> { Ok(()) });
        assert!(std::panic::catch_unwind(run).is_err());
    }

    #[test]
    fn nothing_to_do_is_done_at_once() {
        assert_eq!(ordered_map(0, 4, 4, |i| i, |_, _| Err::<(), ()>(())), Ok(()));
    }
}
