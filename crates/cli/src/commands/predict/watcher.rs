use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use fmam::input::Watch;

use crate::interrupt;
use crate::progress::Console;

/// Time between two questions whether the user asked to stop.
const HEARTBEAT: Duration = Duration::from_millis(50);
/// Time after which the user hears that the folder does not answer.
const SILENCE: Duration = Duration::from_secs(10);

type Question = Box<dyn FnOnce(&mut Watch) + Send>;

/// A watched folder, asked on a thread of its own: a folder on a network that is gone may never
/// answer, and the program is to stop all the same.
pub(super) struct Watcher {
    folder: PathBuf,
    questions: Sender<Question>,
}

impl Watcher {
    pub(super) fn new(folder: &Path, mut watch: Watch) -> Self {
        let (questions, asked) = mpsc::channel::<Question>();
        std::thread::spawn(move || {
            for question in asked {
                question(&mut watch);
            }
        });
        Self { folder: folder.to_owned(), questions }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The answer to `question`; `None` if the user asked to stop before it came. A silence is
    /// told once, and its end.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        console: &Console,
        question: impl FnOnce(&mut Watch) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, answer) = mpsc::sync_channel(1);
        let start = Instant::now();
        let asked = self.questions.send(Box::new(move |watch: &mut Watch| {
            // Nobody hears the answer after the end.
            let _ = sender.send(question(watch));
        }));
        asked.ok()?;
        let mut is_silent = false;
        loop {
            match answer.recv_timeout(HEARTBEAT) {
                Ok(answer) => {
                    if is_silent {
                        console.warn(&format!("{} answers again", self.folder.display()));
                    }
                    return Some(answer);
                }
                Err(RecvTimeoutError::Timeout) if interrupt::requested() => return None,
                Err(RecvTimeoutError::Timeout) => {
                    if !is_silent && start.elapsed() >= SILENCE {
                        is_silent = true;
                        console.warn(&format!("{} does not answer; waiting for it", self.folder.display()));
                    }
                }
                // A panic there has been told.
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}
