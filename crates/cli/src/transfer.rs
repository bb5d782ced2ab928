//! Bars of downloads and of archives that are unpacked.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt;

/// The bar of a transfer under way, on a terminal only.
#[derive(Default)]
pub(crate) struct TransferBar {
    bar: Option<(String, ProgressBar)>,
}

impl TransferBar {
    /// Shows how many bytes of `name` are done; false once the user asked to stop.
    pub(crate) fn tell(&mut self, name: &str, done: u64, total: Option<u64>) -> bool {
        if self.bar.as_ref().is_none_or(|(shown, _)| shown != name) {
            self.clear();
            self.bar = Some((name.to_owned(), bar(name.to_owned())));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_length(total.unwrap_or(done));
            bar.set_position(done);
        }
        !interrupt::requested()
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for TransferBar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A bar that counts bytes.
fn bar(message: String) -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{msg} [{bar:30.cyan}] {bytes}/{total_bytes}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(message)
}
