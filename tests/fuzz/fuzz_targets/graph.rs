//! The target of this name in `fmam_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fmam_tests::fuzz::graph(data);
});
