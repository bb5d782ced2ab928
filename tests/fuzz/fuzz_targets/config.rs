//! The target of this name in `fmam_tests::fuzz`.

#![no_main]

use fmam_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::run_seeds("config"), |data: &[u8]| {
    fuzz::config(data);
});
