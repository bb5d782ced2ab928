//! The facts about the machine and the program that a record holds.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use candle_core::{Device, DeviceLocation};
use fmam_ops::{gpu, tf32};
use fmam_record::SOURCES_KEY;

use crate::program::THIS_SOURCES;

/// candle's version; a test holds it to the workspace's manifest.
const CANDLE_VERSION: &str = "0.11.1";

/// The device's name in records: `cpu`, `cuda:0`, or `cuda+tf32:0` where convolutions multiply in
/// TF32, which is another kind of device for whoever compares records.
pub fn device_name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => cuda_name(gpu_id),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

/// [`device_name`] of the CUDA device `index`.
pub fn cuda_name(index: usize) -> String {
    format!("cuda{}:{index}", if tf32() { "+tf32" } else { "" })
}

/// Largest resident memory of this process in bytes, since it began or since the last run of a grid
/// did; `None` where the system does not tell (Linux does).
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Begins a new [`peak_rss_bytes`], so that a run does not show what one before it took. Where the
/// system does not let a process do that, the peak stays that of all runs so far.
pub(crate) fn reset_peak_rss() {
    // Best effort: proc(5), `clear_refs`, value 5.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// [`versions`], and of a GPU its name, the newest CUDA that its driver runs, and the order of its
/// work.
pub(crate) fn versions_on(device: &Device) -> BTreeMap<String, String> {
    let mut versions = versions();
    if let Some(gpu) = gpu(device) {
        versions.insert("gpu".to_owned(), gpu.name);
        versions.insert("cuda-driver".to_owned(), gpu.driver);
        versions.insert("cuda-stream".to_owned(), "one for all threads".to_owned());
        versions.insert("tf32".to_owned(), if tf32() { "yes" } else { "no" }.to_owned());
    }
    versions
}

/// Versions of the program and of what it is built on, and the kind of processor, which decides the
/// kernels: `fmam`, `candle`, `target`, and where they are known `commit`, `sources` and `cpu`.
pub fn versions() -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([
        ("fmam".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("candle".to_owned(), CANDLE_VERSION.to_owned()),
        ("target".to_owned(), format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)),
    ]);
    // Set by whoever builds from a checkout: the program must also build without git.
    if let Some(commit) = option_env!("FMAM_COMMIT") {
        versions.insert("commit".to_owned(), commit.to_owned());
    }
    if let Some(sources) = THIS_SOURCES {
        versions.insert(SOURCES_KEY.to_owned(), sources.to_owned());
    }
    if let Some(features) = cpu_features() {
        versions.insert("cpu".to_owned(), features);
    }
    versions
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Option<String> {
    let features = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    let present: Vec<_> =
        features.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect();
    Some(present.join("+")).filter(|features| !features.is_empty())
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Option<String> {
    None
}

/// Seconds since the Unix epoch; 0 for a clock before it.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candle_version_is_the_one_of_the_manifest() {
        let manifest = include_str!("../../../Cargo.toml");
        assert!(manifest.contains(&format!("candle-core = \"{CANDLE_VERSION}\"")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_holds_what_was_touched() {
        let block = vec![1_u8; 64 << 20];
        assert!(peak_rss_bytes().unwrap() > block.iter().map(|&byte| u64::from(byte)).sum());
    }

    #[test]
    fn the_cpu_has_a_name() {
        assert_eq!(device_name(&Device::Cpu), "cpu");
        assert_eq!(versions_on(&Device::Cpu), versions());
        assert_eq!(cuda_name(2), "cuda:2");
    }
}
