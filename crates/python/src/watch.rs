//! Work that Python can follow and interrupt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fmam::{Error, GridObserver, Progress, StageId};
use fmam_experiment::{ExperimentError, RunPlan};
use fmam_record::RunRecord;
use pyo3::prelude::*;

use crate::raise::raise;

/// The longest time between two looks at Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);

/// A message of the work.
enum Event {
    Start { stage: String, total: u64 },
    Update { done: u64, detail: String },
    Finish,
    Over,
}

/// The receiver of the progress of one call; it also says when to stop.
pub(crate) struct Watch {
    is_cancelled: AtomicBool,
    /// `None` where nobody listens.
    events: Option<Sender<Event>>,
    /// The run of a study that the stages belong to.
    run: Mutex<Option<String>>,
}

impl Watch {
    fn send(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = &self.events {
            // A listener that is gone has stopped the work already.
            let _ = events.send(event());
        }
    }
}

impl Progress for Watch {
    fn start(&self, stage: &StageId, total: u64) {
        self.send(|| {
            let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
            let stage = run.as_ref().map_or_else(|| stage.to_string(), |run| format!("{run}: {stage}"));
            Event::Start { stage, total }
        });
    }

    fn update(&self, done: u64, detail: &str) {
        self.send(|| Event::Update { done, detail: detail.to_owned() });
    }

    fn finish(&self) {
        self.send(|| Event::Finish);
    }

    fn cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}

impl GridObserver for Watch {
    fn run_started(&self, plan: &RunPlan) {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan.key.to_string());
    }

    fn run_finished(&self, _plan: &RunPlan, _result: Result<&RunRecord, &ExperimentError>) {}
}

/// Tells that the work is over, also when it panics.
struct Over(Sender<Event>);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Over);
    }
}

/// The stage under way, as the listener is told of it.
#[derive(Default)]
struct Told {
    stage: String,
    total: u64,
    done: u64,
}

/// Does `work` on a thread of its own, without the interpreter. This thread waits, tells `listener`
/// of the progress, as `listener(stage, done, total, detail)`, and lets Python handle its signals.
///
/// Python handles signals, and so Ctrl-C, on its main thread only: the thread of the call has to
/// look, not one of the work.
///
/// # Errors
/// `KeyboardInterrupt` after Ctrl-C, the exception of `listener`, and the error of `work`. In the
/// first two cases the work is asked to stop, and has ended.
pub(crate) fn watched<R: Send>(
    py: Python<'_>,
    listener: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Arc<Watch>) -> Result<R, Error> + Send,
) -> PyResult<R> {
    let (sender, mut receiver) = channel();
    let events = listener.map(|_| sender.clone());
    let watch = Arc::new(Watch { is_cancelled: AtomicBool::new(false), events, run: Mutex::default() });
    let (result, raised) = std::thread::scope(|scope| {
        let (over, own) = (Over(sender), Arc::clone(&watch));
        let running = scope.spawn(move || {
            let _over = over;
            work(own)
        });
        let (mut raised, mut told): (Option<PyErr>, _) = (None, Told::default());
        loop {
            let events;
            (receiver, events) = py.detach(move || next_events(receiver));
            let is_over = matches!(events.last(), Some(Event::Over));
            if raised.is_none()
                && let Err(error) = py.check_signals().and_then(|()| tell(listener, &mut told, events))
            {
                watch.is_cancelled.store(true, Ordering::Relaxed);
                raised = Some(error);
            }
            if is_over {
                break;
            }
        }
        (py.detach(|| running.join()), raised)
    });
    match (result, raised) {
        (_, Some(error)) => Err(error),
        (Ok(result), None) => result.map_err(|error| raise(&error)),
        // PyO3 makes an exception of it.
        (Err(panic), None) => std::panic::resume_unwind(panic),
    }
}

/// The events that came since the last look; none where nothing happened for a while.
fn next_events(receiver: Receiver<Event>) -> (Receiver<Event>, Vec<Event>) {
    let mut events = Vec::new();
    match receiver.recv_timeout(LOOK) {
        Ok(event) => events.push(event),
        Err(RecvTimeoutError::Timeout) => return (receiver, events),
        Err(RecvTimeoutError::Disconnected) => events.push(Event::Over),
    }
    events.extend(receiver.try_iter());
    (receiver, events)
}

/// Tells the listener of `events`; of several updates in a row only the last one.
fn tell(listener: Option<&Bound<'_, PyAny>>, told: &mut Told, events: Vec<Event>) -> PyResult<()> {
    let Some(listener) = listener else { return Ok(()) };
    let call = |told: &Told, detail: &str| -> PyResult<()> {
        listener.call1((&told.stage, told.done, told.total, detail))?;
        Ok(())
    };
    let mut pending: Option<String> = None;
    for event in events {
        match event {
            Event::Update { done, detail } => {
                told.done = done;
                pending = Some(detail);
            }
            Event::Start { stage, total } => {
                if let Some(detail) = pending.take() {
                    call(told, &detail)?;
                }
                *told = Told { stage, total, done: 0 };
                call(told, "")?;
            }
            Event::Finish => {
                told.total = told.total.max(told.done);
                told.done = told.total;
                call(told, pending.take().as_deref().unwrap_or_default())?;
            }
            Event::Over => {}
        }
    }
    pending.map_or(Ok(()), |detail| call(told, &detail))
}
