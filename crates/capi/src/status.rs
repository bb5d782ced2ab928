//! The codes that functions return, and the message behind them.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use fmam::{Error, ErrorKind, shown_line};

/// The outcome of a call.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FmamStatus {
    /// The call did its work.
    Success = 0,
    /// An argument is null, or a value is out of its range.
    Usage = 1,
    /// A model or an image is missing, damaged or does not fit.
    Data = 2,
    /// The machine: memory, disk, permissions, a GPU that does not open.
    Environment = 3,
    /// A fault of this library.
    Bug = 4,
}

/// The failure of a call: its code and its message.
#[derive(Debug)]
pub(crate) struct Failure {
    status: FmamStatus,
    message: String,
}

impl Failure {
    /// A wrong argument.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: FmamStatus::Usage, message: message.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Usage => FmamStatus::Usage,
            ErrorKind::Data => FmamStatus::Data,
            ErrorKind::Environment => FmamStatus::Environment,
            // Nobody asks the work of this library to stop.
            _ => FmamStatus::Bug,
        };
        Self { status, message: error.one_line() }
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

fn remember(message: &str) {
    // C's texts end at a zero byte, which is escaped as well.
    let text = CString::new(shown_line(message)).unwrap_or_default();
    LAST.with(|last| *last.borrow_mut() = text);
}

/// Does `work`; an error or a panic becomes a code, with its message for [`fmam_last_error`].
pub(crate) fn guarded(work: impl FnOnce() -> Result<(), Failure>) -> FmamStatus {
    // A broken invariant cannot be seen after a panic: what `work` borrows is not changed by it,
    // and results are written as the last step.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => FmamStatus::Success,
        Ok(Err(failure)) => {
            remember(&failure.message);
            failure.status
        }
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            remember(&format!("fault of fmam: {text}"));
            FmamStatus::Bug
        }
    }
}

/// The message of the last call on this thread that did not return `FMAM_STATUS_SUCCESS`; an empty
/// text before the first. Never null. It is valid until the next call that fails on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn fmam_last_error() -> *const c_char {
    LAST.with(|last| last.borrow().as_ptr())
}

/// The version of the library, `0.1.0` say. Never null; valid as long as the library is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn fmam_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> String {
        // SAFETY: `fmam_last_error` gives a text that lives until the next failure on this thread.
        unsafe { CStr::from_ptr(fmam_last_error()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn errors_and_panics_become_codes_with_messages() {
        assert_eq!(guarded(|| Ok(())), FmamStatus::Success);
        assert_eq!(guarded(|| Err(Failure::usage("a\0b"))), FmamStatus::Usage);
        assert_eq!(last(), "a\\u{0}b");
        assert_eq!(guarded(|| panic!("no {}", 7)), FmamStatus::Bug);
        assert_eq!(last(), "fault of fmam: no 7");
        assert_eq!(guarded(|| Err(Error::NoCuda.into())), FmamStatus::Environment);
        // Another thread has its own message.
        std::thread::spawn(|| assert_eq!(last(), "")).join().unwrap();
        assert_eq!(guarded(|| Ok(())), FmamStatus::Success);
        assert_eq!(last(), "this build of fmam has no CUDA");
    }

    #[test]
    fn the_version_is_that_of_the_package() {
        // SAFETY: the text is a constant.
        let version = unsafe { CStr::from_ptr(fmam_version()) };
        assert_eq!(version.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
    }
}
