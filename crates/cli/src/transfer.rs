//! The bar of downloads and of archives that are unpacked.

use std::io::IsTerminal;

use fmam_core::shown;
use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt;

/// A bar that counts bytes, on a terminal only.
pub(crate) struct TransferBar(ProgressBar);

impl TransferBar {
    pub(crate) fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{msg} [{bar:30.cyan}] {bytes}/{total_bytes}, {eta} left");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// Shows how many bytes of `name` are done; false once the user asked to stop.
    pub(crate) fn tell(&self, name: &str, done: u64, total: Option<u64>) -> bool {
        self.0.set_message(shown(name).into_owned());
        self.0.set_length(total.unwrap_or(done));
        self.0.set_position(done);
        !interrupt::requested()
    }
}

impl Drop for TransferBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
