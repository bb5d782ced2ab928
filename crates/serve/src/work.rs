//! From uploads to verdicts: decoding on threads of its own, then the queue of the scorer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use fmam::{Image, Outcome, Verdict};
use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use crate::Limits;
use crate::metrics::{ImageLabels, Metrics};
use crate::models::Model;
use crate::pictures::Pictures;
use crate::query::PredictQuery;
use crate::refusal::{Code, Refusal};
use crate::scorer::{Job, Scorer};

/// The room for requests: how much may be held at a time.
#[derive(Debug)]
pub(crate) struct Room {
    /// Requests that are read or answered.
    requests: Arc<Semaphore>,
    /// Images from their upload to their verdict.
    images: Arc<Semaphore>,
    /// Bodies, in units of [`UNIT`] bytes.
    bodies: Arc<Semaphore>,
    /// Decoded images, in units of [`UNIT`] pixels.
    pixels: Arc<Semaphore>,
}

/// Bytes or pixels of a permit: a semaphore counts up to 2^29 or more of them.
const UNIT: usize = 1024;

fn units(amount: usize) -> u32 {
    u32::try_from(amount.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl Room {
    /// The room that `limits` give, with `threads` threads that decode.
    pub(crate) fn new(limits: &Limits, threads: usize) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self {
            requests: semaphore(limits.queue),
            images: semaphore(limits.queue),
            bodies: semaphore(limits.bodies.div_ceil(UNIT)),
            pixels: semaphore(limits.pixels.div_ceil(UNIT).saturating_mul(threads.max(1))),
        }
    }

    /// Takes a request with a body of `length` bytes.
    ///
    /// # Errors
    /// A refusal where there is no room.
    pub(crate) fn take_request(&self, length: usize) -> Result<[OwnedSemaphorePermit; 2], Refusal> {
        let request = now(&self.requests, 1)?;
        Ok([request, now(&self.bodies, units(length))?])
    }

    /// Takes `count` images into the queue.
    ///
    /// # Errors
    /// A refusal where there is no room.
    pub(crate) fn take_images(&self, count: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        now(&self.images, u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// Permits without waiting for them.
fn now(semaphore: &Arc<Semaphore>, permits: u32) -> Result<OwnedSemaphorePermit, Refusal> {
    Arc::clone(semaphore).try_acquire_many_owned(permits).map_err(|error| match error {
        TryAcquireError::NoPermits | TryAcquireError::Closed => Refusal::busy(),
    })
}

/// An image of a request with its verdict, or the reason that there is none.
pub(crate) type Judged = (Arc<Image>, Result<Verdict, Refusal>);

/// The parts of the server that verdicts need.
pub(crate) struct Work {
    pub(crate) scorer: Scorer,
    pub(crate) room: Room,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
}

impl Work {
    /// The verdicts on `images` by `model`, in their order.
    pub(crate) async fn judge(
        &self,
        model: &Arc<Model>,
        images: Vec<Image>,
        deadline: Instant,
    ) -> Vec<Judged> {
        let judged = images.into_iter().enumerate().map(|(index, image)| async move {
            let image = Arc::new(image);
            let verdict = self.judge_one(model, &image, index, deadline).await;
            self.count(model, &verdict);
            (image, verdict)
        });
        join_all(judged).await
    }

    fn count(&self, model: &Model, verdict: &Result<Verdict, Refusal>) {
        let outcome = match verdict {
            Err(_) => "refused",
            Ok(verdict) => match &verdict.inspection {
                None => "scored",
                Some(inspection) if inspection.outcome == Outcome::Ok => "ok",
                Some(_) => "defect",
            },
        };
        let labels = ImageLabels { model: model.name.clone(), outcome };
        self.metrics.images.get_or_create(&labels).inc();
    }

    async fn judge_one(
        &self,
        model: &Arc<Model>,
        image: &Arc<Image>,
        index: usize,
        deadline: Instant,
    ) -> Result<Verdict, Refusal> {
        let room = self.room_for(image, deadline).await?;
        let (of, model_of) = (Arc::clone(image), Arc::clone(model));
        let loaded = self.on_thread(deadline, move || Ok(model_of.loader.load(&of, index))).await?;
        if let Some(error) = loaded.error() {
            return Err(Refusal::of_image(error, false));
        }
        // A prepared image is small, unless it will be cut into tiles.
        let held = model.is_tiled().then_some(room);
        let (answer, verdict) = oneshot::channel();
        let (model, queued) = (Arc::clone(model), Instant::now());
        self.scorer.add(Job { image: loaded, model, deadline, queued, answer });
        let verdict = tokio::time::timeout_at(deadline.into(), verdict).await;
        drop(held);
        match verdict {
            Ok(Ok(verdict)) => verdict,
            // The queue lets go of what nobody waits for any longer.
            Ok(Err(_)) | Err(_) => Err(Refusal::timed_out(self.limits.time)),
        }
    }

    /// Room for the pixels of an image, as its header has them: nothing is decoded before.
    async fn room_for(&self, image: &Arc<Image>, deadline: Instant) -> Result<OwnedSemaphorePermit, Refusal> {
        let of = Arc::clone(image);
        let size =
            self.on_thread(deadline, move || of.size().map_err(|error| Refusal::of_image(&error, false)));
        let (size, limit) = (size.await?, self.limits.pixels);
        let pixels = size.height.saturating_mul(size.width);
        if pixels > limit {
            return Err(Refusal::new(
                Code::ImageTooLarge,
                format!("the image has {} by {} pixels; the server takes {limit}", size.height, size.width),
            ));
        }
        let room = Arc::clone(&self.room.pixels).acquire_many_owned(units(pixels));
        match tokio::time::timeout_at(deadline.into(), room).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => Err(Refusal::timed_out(self.limits.time)),
        }
    }

    /// Does `work`, on one image, on a thread that may wait. A panic there is a bug that the image
    /// has found.
    async fn on_thread<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let limit = self.limits.time;
        let task = tokio::task::spawn_blocking(move || {
            if Instant::now() >= deadline {
                return Err(Refusal::timed_out(limit));
            }
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                tracing::error!("the work on an image ended in a panic");
                Err(Refusal::new(Code::UnreadableImage, "the image cannot be read"))
            })
        });
        task.await.unwrap_or_else(|_| Err(Refusal::failed()))
    }

    /// The pictures of a verdict that a request asks for.
    pub(crate) async fn draw(
        &self,
        model: &Arc<Model>,
        image: &Arc<Image>,
        verdict: Verdict,
        asked: &PredictQuery,
        deadline: Instant,
    ) -> Result<(Verdict, Pictures), Refusal> {
        if !(asked.overlay || asked.map || asked.heat || asked.preview) {
            return Ok((verdict, Pictures::default()));
        }
        let room = self.room_for(image, deadline).await?;
        let (model, image, asked) = (Arc::clone(model), Arc::clone(image), asked.clone());
        let drawn = self.on_thread(deadline, move || {
            let pictures = Pictures::draw(&model, &verdict, &image, &asked);
            let pictures = pictures.map_err(|error| Refusal::of_image(&error, true))?;
            Ok((verdict, pictures))
        });
        let drawn = drawn.await;
        drop(room);
        drawn
    }

    /// Decodes an image, to see that it can be read.
    pub(crate) async fn check(
        &self,
        model: &Arc<Model>,
        image: &Arc<Image>,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let room = self.room_for(image, deadline).await?;
        let (model, image) = (Arc::clone(model), Arc::clone(image));
        let read = self.on_thread(deadline, move || {
            let original = model.loader.original(&image);
            original.map(drop).map_err(|error| Refusal::of_image(&error, false))
        });
        let read = read.await;
        drop(room);
        read
    }
}
