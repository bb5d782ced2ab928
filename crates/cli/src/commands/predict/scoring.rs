use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use fmam::input::{Attempt, Inputs, Look, Notice, Watch};
use fmam::output::{Line, Predictions, Taken};
use fmam::{Calibration, Detector, Error, Outcome, Series, Session, Threshold, Trait, Verdict};

use super::view::View;
use super::watcher::Watcher;
use crate::progress::Console;
use crate::{interrupt, stdout};

/// Paths that are found ahead of the scoring.
const AHEAD: usize = 64;
/// Time to wait for another image before those that are there are scored: a program that writes one
/// path to the list and waits for its verdict gets it.
const PAUSE: Duration = Duration::from_millis(5);
/// Time between two questions whether the user asked to stop.
const HEARTBEAT: Duration = Duration::from_millis(50);
/// Time between two looks at a watched folder, at least.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// The longest pause after a look: a file server may have kept the look waiting for an hour.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Pictures that could not be written of which each has a warning.
const TOLD_PICTURES: usize = 5;

/// Images of a watch after which the series is looked at first; then after twice as many, and so
/// on: the fewer looks, the fewer false alarms.
const FIRST_SERIES: usize = 100;

/// The number of looks at the series that are due after `n_images` images.
fn n_series_looks(n_images: usize) -> u32 {
    (n_images / FIRST_SERIES).checked_ilog2().map_or(0, |doublings| doublings + 1)
}

/// The pause after a look that took `elapsed`: a look at a large folder takes a while, and should
/// take no more than a fifth of the time.
fn pause_after(elapsed: Duration) -> Duration {
    elapsed.saturating_mul(4).min(LONGEST_PAUSE)
}

/// Images on the way to their verdicts, on stdout and in the output folder.
pub(super) struct Scoring<'a> {
    session: &'a Session,
    detector: &'a Detector,
    threshold: Option<Threshold>,
    taken: Arc<Mutex<Taken>>,
    sink: RefCell<Sink<'a>>,
}

/// The places where a verdict goes, and an error in the place of one.
struct Sink<'a> {
    detector: &'a Detector,
    console: &'a Console,
    tally: Tally,
    out: Option<Predictions>,
    /// `None` after the reader of stdout has gone.
    view: Option<View>,
    /// The images as a whole, beside those that were learnt from.
    series: Option<Series<'a>>,
    /// Shifts of the series that the user knows of.
    told: Vec<(Trait, bool)>,
}

/// The numbers of images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Images with a score.
    pub(super) images: usize,
    /// Images whose verdict is a defect.
    pub(super) defects: usize,
    /// Images with a score and a warning.
    pub(super) warned: usize,
    /// Images that could not be scored.
    pub(super) errors: usize,
    /// Images that were scored before.
    pub(super) passed_over: usize,
    /// Pictures, maps and masks that could not be written.
    pub(super) omitted: usize,
    /// True if there is a threshold: without one no image is good or defective.
    pub(super) has_verdicts: bool,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, defects, warned, errors, passed_over, omitted, has_verdicts } = self;
        let counted = |n: &usize, one: &str, many: &str| format!("{n} {}", if *n == 1 { one } else { many });
        write!(
            f,
            "{}: {}, {warned} with warnings, {}",
            counted(images, "image", "images"),
            if *has_verdicts { counted(defects, "defect", "defects") } else { "no verdicts".to_owned() },
            counted(errors, "error", "errors")
        )?;
        if *passed_over > 0 {
            write!(f, "; {passed_over} passed over, scored before")?;
        }
        if *omitted > 0 { write!(f, "; {}", unwritten(*omitted)) } else { Ok(()) }
    }
}

/// The number of pictures that could not be written, in words.
pub(super) fn unwritten(n: usize) -> String {
    format!("{n} {} could not be written", if n == 1 { "picture" } else { "pictures" })
}

impl<'a> Scoring<'a> {
    pub(super) fn new(
        session: &'a Session,
        detector: &'a Detector,
        threshold: Option<Threshold>,
        console: &'a Console,
        out: Option<Predictions>,
        taken: Taken,
        view: View,
    ) -> Self {
        let series = detector.calibration().and_then(Calibration::images).map(Series::new);
        let tally = Tally { has_verdicts: threshold.is_some(), ..Tally::default() };
        let sink = Sink { detector, console, tally, out, view: Some(view), series, told: Vec::new() };
        Self { session, detector, threshold, taken: Arc::new(Mutex::new(taken)), sink: RefCell::new(sink) }
    }

    /// Closes the output folder; gives the numbers of images.
    pub(super) fn finish(self) -> Result<Tally> {
        let mut sink = self.sink.into_inner();
        sink.tell_shifts();
        if let Some(out) = sink.out.take() {
            out.finish()?;
        }
        Ok(sink.tally)
    }

    /// Scores all images of `inputs`. They are found on a thread of their own, so that a slow list
    /// keeps no finished verdict back.
    pub(super) fn images(&self, inputs: Inputs) -> Result<()> {
        let (sender, found) = mpsc::sync_channel(AHEAD);
        std::thread::spawn(move || {
            for image in inputs {
                if sender.send(image).is_err() {
                    break;
                }
            }
        });
        loop {
            if interrupt::requested() {
                return Err(Error::Cancelled.into());
            }
            let first = match found.recv_timeout(HEARTBEAT) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let mut next = Some(first);
            let mut closed = Ok(());
            let images = std::iter::from_fn(|| {
                while !interrupt::requested() {
                    let image = next.take().or_else(|| found.recv_timeout(PAUSE).ok())?;
                    let admitted = match &image {
                        Ok(image) => self.taken().admit(image),
                        Err(_) => Ok(true),
                    };
                    let mut sink = self.sink.borrow_mut();
                    match (image, admitted) {
                        (Ok(image), Ok(true)) => return Some(image),
                        (Ok(_), Ok(false)) => sink.tally.passed_over += 1,
                        (Err(error), _) | (_, Err(error)) => {
                            closed = sink.fail(error);
                            if closed.is_err() {
                                return None;
                            }
                        }
                    }
                }
                None
            });
            for verdict in self.verdicts(images) {
                let mut sink = self.sink.borrow_mut();
                match verdict {
                    Ok(verdict) => sink.add(&verdict)?,
                    // The others are scored all the same.
                    Err(error @ Error::Image { .. }) => sink.fail(error)?,
                    Err(error) => return Err(error.into()),
                }
            }
            closed?;
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Scores the images that come to a folder until the user asks to stop.
    pub(super) fn watch(&self, watcher: &Watcher) -> Result<()> {
        let console = self.sink.borrow().console;
        let mut has_told_change = false;
        while !interrupt::requested() {
            let start = Instant::now();
            let taken = Arc::clone(&self.taken);
            let is_known =
                move |image: &Path| taken.lock().unwrap_or_else(PoisonError::into_inner).knows(image);
            let Some(look) = watcher.ask(console, move |watch| watch.look(is_known)) else { break };
            let Look { ready, errors, notice } = look;
            for error in errors {
                self.sink.borrow_mut().fail(error)?;
            }
            let folder = watcher.folder().display();
            match notice {
                Some(Notice::Back) => console.warn(&format!("{folder} can be read again")),
                Some(Notice::Replaced) => console.warn(&format!(
                    "{folder} is another folder now: it was replaced, or a file system was mounted or unmounted"
                )),
                None => {}
            }
            for image in &ready {
                let mut taken = self.taken();
                if taken.knows(image) {
                    taken.release(image);
                    if !std::mem::replace(&mut has_told_change, true) {
                        console.warn(&format!(
                            "{} has changed since it was scored: it is scored again, as others will be",
                            image.display()
                        ));
                    }
                }
            }
            let rest = (start + BETWEEN_LOOKS).max(Instant::now() + pause_after(start.elapsed()));
            let before = self.sink.borrow().tally.images;
            self.score_ready(watcher, ready)?;
            let mut sink = self.sink.borrow_mut();
            // A watch may have no end at which it could be told.
            if n_series_looks(before) < n_series_looks(sink.tally.images) {
                sink.tell_shifts();
            }
            drop(sink);
            while Instant::now() < rest && !interrupt::requested() {
                std::thread::sleep(HEARTBEAT);
            }
        }
        Ok(())
    }

    fn score_ready(&self, watcher: &Watcher, ready: Vec<PathBuf>) -> Result<()> {
        let mut sink = self.sink.borrow_mut();
        let mut images = Vec::new();
        for image in ready {
            let admitted = self.taken().admit(&image);
            match admitted {
                Ok(true) => images.push(image),
                Ok(false) => {}
                Err(error) => sink.fail(error)?,
            }
        }
        drop(sink);
        if images.is_empty() {
            return Ok(());
        }
        let mut failed = Vec::new();
        for verdict in self.verdicts(&images) {
            let mut sink = self.sink.borrow_mut();
            match verdict {
                Ok(verdict) => sink.add(&verdict)?,
                Err(error @ Error::Image { index, .. }) => {
                    self.taken().release(&images[index]);
                    failed.push((images[index].clone(), error));
                }
                // The images under way have their verdicts.
                Err(Error::Cancelled) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        let broken = move |watch: &mut Watch| -> Vec<Error> {
            let broken = |(image, error): (PathBuf, Error)| {
                (watch.failed(&image, &error) == Attempt::Broken).then_some(error)
            };
            failed.into_iter().filter_map(broken).collect()
        };
        let mut sink = self.sink.borrow_mut();
        for error in watcher.ask(sink.console, broken).unwrap_or_default() {
            sink.fail(error)?;
        }
        Ok(())
    }

    /// The verdicts on images by the threshold, with the images as they were given where they are
    /// drawn.
    fn verdicts<I: IntoIterator<Item: Into<fmam::Image>>>(
        &self,
        images: I,
    ) -> fmam::Verdicts<'a, I::IntoIter> {
        let draws = self.sink.borrow().draws();
        let verdicts = self.session.predict(self.detector, images);
        let verdicts = if draws { verdicts.with_originals() } else { verdicts };
        match self.threshold {
            Some(threshold) => verdicts.at(threshold),
            None => verdicts,
        }
    }
}

/// The error of an image, which names the image once.
fn of_image(error: Error) -> anyhow::Error {
    match error {
        Error::Image { name, source, .. } if source.one_line().contains(&name) => anyhow::Error::new(*source),
        error => error.into(),
    }
}

impl Sink<'_> {
    /// True if images are drawn in their own size.
    fn draws(&self) -> bool {
        self.out.as_ref().is_some_and(Predictions::needs_originals)
    }

    fn add(&mut self, verdict: &Verdict) -> Result<()> {
        let added = match &mut self.out {
            Some(out) => out.add(verdict, self.detector.calibration())?,
            None => Default::default(),
        };
        for omitted in &added.omitted {
            self.tally.omitted += 1;
            // A full disk refuses every picture: the last line has their number.
            if self.tally.omitted <= TOLD_PICTURES {
                self.console.warn(&omitted.one_line());
            }
        }
        let line = Line::new(verdict, added.files).with_seconds(verdict.seconds);
        let tally = &mut self.tally;
        tally.images += 1;
        tally.defects += usize::from(line.verdict == Some(Outcome::Defect));
        tally.warned += usize::from(!line.warnings.is_empty());
        if let (Some(series), Some(look)) = (&mut self.series, &verdict.look) {
            series.add(look);
        }
        let Some(view) = &mut self.view else { return Ok(()) };
        let text = view.show(&line)?;
        self.print(&text)
    }

    /// Tells a person of an error, and the reader of JSON lines of an image that cannot be read.
    fn fail(&mut self, error: Error) -> Result<()> {
        self.tally.errors += 1;
        let text = match (&self.view, &error) {
            (Some(view), Error::Image { name, source, .. }) => view.show_error(name, &source.one_line()),
            _ => None,
        };
        self.console.error(&of_image(error));
        text.map_or(Ok(()), |text| self.print(&text))
    }

    fn print(&mut self, text: &str) -> Result<()> {
        match self.console.print(text) {
            // The output folder is to be complete all the same.
            Err(error) if error.is::<stdout::Closed>() && self.out.is_some() => {
                self.view = None;
                Ok(())
            }
            printed => printed,
        }
    }

    /// Warns of each trait in which the images as a whole differ from those learnt from, once.
    fn tell_shifts(&mut self) {
        for shift in self.series.iter().flat_map(Series::shifts) {
            let side = (shift.of, shift.is_above);
            if !self.told.contains(&side) {
                self.told.push(side);
                self.console.warn(&shift.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_a_server_kept_waiting_is_followed_by_a_short_pause() {
        assert_eq!(pause_after(Duration::from_millis(200)), Duration::from_millis(800));
        assert_eq!(pause_after(Duration::from_secs(3600)), LONGEST_PAUSE);
        assert_eq!(pause_after(Duration::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn a_tally_is_one_line() {
        let tally = Tally { images: 300, defects: 1, warned: 2, has_verdicts: true, ..Tally::default() };
        assert_eq!(tally.to_string(), "300 images: 1 defect, 2 with warnings, 0 errors");
        let again = Tally { images: 1, passed_over: 299, errors: 1, omitted: 1, ..Tally::default() };
        let text = "1 image: no verdicts, 0 with warnings, 1 error; 299 passed over, scored before; 1 picture \
                    could not be written";
        assert_eq!(again.to_string(), text);
    }
}
