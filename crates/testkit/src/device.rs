/// The environment variable that names the device of tests.
const TEST_DEVICE: &str = "FMAM_TEST_DEVICE";

/// The index of the CUDA device that tests run on: `FMAM_TEST_DEVICE=cuda` or `cuda:INDEX`. `None`,
/// for the CPU, where it is not set or `cpu`.
///
/// # Panics
/// Panics for another text.
pub fn test_device() -> Option<usize> {
    let text = std::env::var(TEST_DEVICE).unwrap_or_default();
    match text.as_str() {
        "" | "cpu" => None,
        "cuda" => Some(0),
        other => match other.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(index)) => Some(index),
            _ => panic!("{TEST_DEVICE}={other}: set it to cpu, cuda or cuda:INDEX"),
        },
    }
}
