//! Detectors as C holds them.

use std::ffi::{CStr, c_char};

use fmam::{DeviceChoice, Error, Session};

use crate::pixels::FmamPixels;
use crate::status::{Failure, FmamStatus, guarded};
use crate::verdict::{FmamVerdict, Kept};

/// A detector with its threads. It does not change: several threads may use it at a time.
pub struct FmamDetector {
    session: Session,
    detector: fmam::Detector,
}

/// Loads the detector in the folder `path`, which `fmam fit` or `Detector.save` of Python wrote,
/// onto the CPU.
///
/// `path` is a text in UTF-8 that ends with a zero byte. `threads` compute; 0 is one a core. On
/// success `*detector` is the detector, which `fmam_detector_free` frees; on failure it is null.
///
/// # Safety
/// `path` is null or such a text; `detector` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fmam_detector_load(
    path: *const c_char,
    threads: usize,
    detector: *mut *mut FmamDetector,
) -> FmamStatus {
    guarded(|| {
        if detector.is_null() {
            return Err(Failure::usage("the place for the detector is a null pointer"));
        }
        // SAFETY: `detector` is not null, and the caller promises that it can be written to.
        unsafe { detector.write(std::ptr::null_mut()) };
        if path.is_null() {
            return Err(Failure::usage("the path is a null pointer"));
        }
        // SAFETY: `path` is not null, and the caller promises a text that ends with a zero byte.
        let path = unsafe { CStr::from_ptr(path) };
        let path = path.to_str().map_err(|_| Failure::usage("the path is not UTF-8"))?;
        let builder = Session::builder().device(DeviceChoice::Cpu);
        let builder = if threads == 0 { builder } else { builder.threads(threads) };
        let session = builder.build()?;
        let loaded = session.load(path)?;
        let loaded = Box::new(FmamDetector { session, detector: loaded });
        // SAFETY: as above.
        unsafe { detector.write(Box::into_raw(loaded)) };
        Ok(())
    })
}

/// Scores an image of any size. The pixels are copied; they are not looked at after the call.
///
/// On success `*verdict` is the verdict, which `fmam_verdict_free` frees; on failure it is null.
///
/// # Safety
/// `detector` is null or came from `fmam_detector_load`; `pixels` is null or describes bytes that
/// can be read; `verdict` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fmam_detector_predict(
    detector: *const FmamDetector,
    pixels: *const FmamPixels,
    verdict: *mut *mut FmamVerdict,
) -> FmamStatus {
    guarded(|| {
        if verdict.is_null() {
            return Err(Failure::usage("the place for the verdict is a null pointer"));
        }
        // SAFETY: `verdict` is not null, and the caller promises that it can be written to.
        unsafe { verdict.write(std::ptr::null_mut()) };
        // SAFETY: the pointer is null, or of a detector that was not freed; it is only read.
        let detector = unsafe { detector.as_ref() };
        let detector = detector.ok_or_else(|| Failure::usage("the detector is a null pointer"))?;
        // SAFETY: the pointer is null, or of a value that the caller does not change during the
        // call.
        let pixels = unsafe { pixels.as_ref() };
        let pixels = pixels.ok_or_else(|| Failure::usage("the pixels are a null pointer"))?;
        // SAFETY: the caller promises that the bytes can be read.
        let image = unsafe { pixels.image() }?;
        let FmamDetector { session, detector } = detector;
        let predicted = session.predict(detector, [image]).next().transpose()?;
        // One image has one verdict.
        let kept = Kept::new(&predicted.ok_or(Error::Cancelled)?)?;
        // SAFETY: as above.
        unsafe { verdict.write(kept.into_raw()) };
        Ok(())
    })
}

/// Frees a detector. A null pointer is nothing to free.
///
/// # Safety
/// `detector` is null, or came from `fmam_detector_load` and was not freed before; no other thread
/// uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fmam_detector_free(detector: *mut FmamDetector) {
    if !detector.is_null() {
        // SAFETY: the pointer came from `Box::into_raw`, and the caller gives it up.
        drop(unsafe { Box::from_raw(detector) });
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::{null, null_mut};

    use super::*;
    use crate::pixels::FMAM_GREY;
    use crate::status::fmam_last_error;
    use crate::verdict::fmam_verdict_free;

    fn last() -> String {
        // SAFETY: the text lives until the next failure on this thread.
        unsafe { CStr::from_ptr(fmam_last_error()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn null_pointers_are_errors_and_results_are_null_then() {
        let byte = 7_u8;
        let pixels = FmamPixels { data: &raw const byte, height: 1, width: 1, stride: 0, format: FMAM_GREY };
        let mut detector = std::ptr::dangling_mut();
        let mut verdict = std::ptr::dangling_mut();
        // SAFETY: every pointer is null or of a variable of this test.
        unsafe {
            assert_eq!(fmam_detector_load(c"absent".as_ptr(), 1, null_mut()), FmamStatus::Usage);
            assert_eq!(fmam_detector_load(null(), 1, &raw mut detector), FmamStatus::Usage);
            assert!(detector.is_null() && last() == "the path is a null pointer");
            assert_eq!(fmam_detector_load(c"\xff".as_ptr(), 1, &raw mut detector), FmamStatus::Usage);
            assert_eq!(fmam_detector_load(c"absent".as_ptr(), 1, &raw mut detector), FmamStatus::Data);
            assert!(detector.is_null() && last().contains("absent"), "{}", last());
            assert_eq!(fmam_detector_predict(null(), &raw const pixels, &raw mut verdict), FmamStatus::Usage);
            assert!(verdict.is_null() && last() == "the detector is a null pointer");
            assert_eq!(fmam_detector_predict(null(), null(), null_mut()), FmamStatus::Usage);
            fmam_detector_free(null_mut());
            fmam_verdict_free(null_mut());
        }
    }
}
