//! The queue of images that wait for their scores, and the threads that score them in batches.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use fmam::{LoadedImage, Session, Verdict};
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::models::Model;
use crate::refusal::Refusal;

/// An image that waits for its score.
pub(crate) struct Job {
    pub(crate) image: LoadedImage,
    pub(crate) model: Arc<Model>,
    /// Nobody waits for the verdict after it.
    pub(crate) deadline: Instant,
    pub(crate) queued: Instant,
    pub(crate) answer: oneshot::Sender<Result<Verdict, Refusal>>,
}

/// Threads that score the images that wait. While a batch is scored, others come; the next batch is
/// those that wait then, up to an upper bound, so that nobody waits for a batch to fill.
pub(crate) struct Scorer {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Queue {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

struct Waiting {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

/// The surroundings of a thread.
struct Worker {
    session: Session,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    /// Images of a batch, at most; `None` for the number of the detector.
    batch: Option<usize>,
}

/// Images of a batch on a CPU, where nothing else was asked for: one image occupies all cores, and
/// a batch seldom makes its images sooner (`docs/benchmarks.md`, section *Serving*).
const BATCH_OF_CPU: usize = 1;

impl Scorer {
    /// Starts `workers` threads.
    ///
    /// # Errors
    /// The error of the system.
    pub(crate) fn start(
        session: &Session,
        metrics: &Arc<Metrics>,
        workers: usize,
        batch: Option<usize>,
    ) -> std::io::Result<Self> {
        let batch = batch.or(session.device().is_cpu().then_some(BATCH_OF_CPU));
        let waiting = Mutex::new(Waiting { jobs: VecDeque::new(), is_closed: false });
        let queue = Arc::new(Queue { waiting, came: Condvar::new() });
        let mut threads = Vec::with_capacity(workers);
        for number in 0..workers.max(1) {
            let worker = Worker {
                session: session.clone(),
                queue: Arc::clone(&queue),
                metrics: Arc::clone(metrics),
                batch,
            };
            let name = format!("scorer {number}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || worker.run())?);
        }
        Ok(Self { queue, threads: Mutex::new(threads) })
    }

    /// Adds an image to the queue. Its length is bounded by the caller.
    pub(crate) fn add(&self, job: Job) {
        let mut waiting = self.queue.lock();
        // After the end nobody would take it; its sender is dropped, which the receiver sees.
        if !waiting.is_closed {
            waiting.jobs.push_back(job);
            self.queue.came.notify_one();
        }
    }

    /// Images that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().jobs.len()
    }

    /// Scores what waits, and ends the threads.
    pub(crate) fn finish(&self) {
        self.queue.lock().is_closed = true;
        self.queue.came.notify_all();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // A panic has been answered and logged where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Scorer {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch: the first that waits, and those behind it of the same model. `None` at the
    /// end.
    fn next(&self, most: Option<usize>) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            waiting.jobs.retain(|job| !job.answer.is_closed() && job.deadline > now);
            if let Some(first) = waiting.jobs.pop_front() {
                let most = most.unwrap_or_else(|| first.model.detector.batch_size()).max(1);
                let mut batch = vec![first];
                let mut at = 0;
                while batch.len() < most && at < waiting.jobs.len() {
                    if Arc::ptr_eq(&waiting.jobs[at].model, &batch[0].model) {
                        batch.extend(waiting.jobs.remove(at));
                    } else {
                        at += 1;
                    }
                }
                return Some(batch);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Worker {
    fn run(&self) {
        while let Some(batch) = self.queue.next(self.batch) {
            self.score(batch);
        }
    }

    fn score(&self, batch: Vec<Job>) {
        let Some(model) = batch.first().map(|job| Arc::clone(&job.model)) else { return };
        let start = Instant::now();
        let (mut images, mut answers) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for Job { image, queued, answer, .. } in batch {
            self.metrics.queued.observe(start.duration_since(queued).as_secs_f64());
            images.push(image);
            answers.push(answer);
        }
        self.metrics.batches.observe(images.len() as f64);
        // A panic is a bug; it costs this batch and not the server.
        let scored =
            catch_unwind(AssertUnwindSafe(|| self.session.score(&model.detector, model.threshold, images)));
        self.metrics.scored.observe(start.elapsed().as_secs_f64());
        let Ok(verdicts) = scored else {
            tracing::error!(model = model.name, images = answers.len(), "a batch ended in a panic");
            for answer in answers {
                let _ = answer.send(Err(Refusal::failed()));
            }
            return;
        };
        for (answer, verdict) in answers.into_iter().zip(verdicts) {
            // A client that went away needs no verdict.
            let _ = answer.send(verdict.map_err(|error| Refusal::of_image(&error, true)));
        }
    }
}
