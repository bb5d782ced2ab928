//! CUDA devices with one order for the work of all host threads.

use std::path::{Path, PathBuf};

use candle_core::{Device, Result, Tensor};

use crate::error::OpsError;

/// Opens the CUDA device `index` and runs a first kernel on it.
///
/// candle's `Device::new_cuda` gives each host thread a stream of its own, and nothing orders the
/// upload of one thread before the kernel of another, which then reads unfinished memory. The
/// device given here has one stream for all threads: work runs in the order in which it was
/// submitted, so that tensors may be shared between threads as on a CPU. Freed memory stays with
/// the process for the next step.
///
/// # Errors
/// Fails where the build has no CUDA, where the device does not open, where its driver is too old
/// for the kernels of this build, and where a first sum is wrong.
pub fn cuda_device(index: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(index)?;
    prepare(&device)?;
    try_kernels(&device).map_err(|error| named(index, error))?;
    Ok(device)
}

/// A GPU as a record describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// The name that its maker gave it.
    pub name: String,
    /// The newest CUDA that its driver runs, as `13.0`.
    pub driver: String,
    /// Bytes of its memory.
    pub memory: u64,
}

/// The GPU behind `device`; `None` for the host, and where the driver does not say.
pub fn gpu(device: &Device) -> Option<Gpu> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(cuda) = device {
        let context = cuda.cuda_stream().context().clone();
        let version = driver_version()?;
        return Some(Gpu {
            name: context.name().ok()?,
            driver: format!("{}.{}", version / 1000, version % 1000 / 10),
            memory: context.total_mem().ok()? as u64,
        });
    }
    let _ = device;
    None
}

#[cfg(feature = "cuda")]
#[allow(unsafe_code, reason = "a call of the driver; see the safety argument below")]
fn driver_version() -> Option<i32> {
    let mut version = 0;
    // SAFETY: the driver writes one int to the address before the call returns.
    let result = unsafe { candle_core::cuda::cudarc::driver::sys::cuDriverGetVersion(&raw mut version) };
    result.result().ok().map(|()| version)
}

/// Bytes of memory that are free on a GPU, or that the host has available: on Linux, within the
/// limit of the process's control group. `None` where the driver or the system does not say.
pub fn free_memory(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(cuda) = device {
        let context = cuda.cuda_stream().context().clone();
        return context.mem_get_info().ok().map(|(free, _)| free as u64);
    }
    if !device.is_cpu() {
        return None;
    }
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let of_host = available(&read(Path::new("/proc/meminfo"))?)?;
    let number = |path: &Path| read(path)?.trim().parse::<u64>().ok();
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let left = group_files(&groups)
        .into_iter()
        .filter_map(|(most, used)| Some(number(&most)?.saturating_sub(number(&used)?)));
    Some(left.fold(of_host, u64::min))
}

/// The files with the limit and the use of memory of every control group above a process, whose
/// `/proc/self/cgroup` is given. Not every group has them.
fn group_files(groups: &str) -> Vec<(PathBuf, PathBuf)> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, most, used) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max", "memory.current")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            continue;
        };
        let group = Path::new(root).join(path.trim_start_matches('/'));
        let above = group.ancestors().take_while(|folder| folder.starts_with(root));
        files.extend(above.map(|folder| (folder.join(most), folder.join(used))));
    }
    files
}

/// The bytes that `/proc/meminfo` calls available.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Adds a few numbers up on `device`, so that a driver which cannot run the kernels is found before
/// any work is done.
fn try_kernels(device: &Device) -> Result<()> {
    let found = Tensor::new(&[1.0_f32, 2.0, 4.0], device)?.affine(2.0, 1.0)?.sum_all()?.to_scalar::<f32>()?;
    const EXPECTED: f32 = 17.0;
    if found == EXPECTED { Ok(()) } else { Err(OpsError::WrongSum { found, expected: EXPECTED }.into()) }
}

/// The error of the first kernel, with its reason where the driver is too old.
fn named(index: usize, error: candle_core::Error) -> candle_core::Error {
    let text = error.to_string();
    // The driver's own names of both cases: it cannot read the PTX, or the PTX is of a newer
    // version than it knows.
    let old = ["UNSUPPORTED_PTX_VERSION", "INVALID_PTX"].iter().any(|name| text.contains(name));
    if old { OpsError::OldDriver { index, reason: text }.into() } else { error }
}

#[cfg(not(feature = "cuda"))]
#[allow(clippy::unnecessary_wraps, reason = "with the feature `cuda` it can fail")]
fn prepare(_: &Device) -> Result<()> {
    Ok(())
}

#[cfg(feature = "cuda")]
#[allow(unsafe_code, reason = "calls of the driver; see the safety arguments below")]
fn prepare(device: &Device) -> Result<()> {
    use candle_core::cuda::WrapErr;
    use candle_core::cuda::cudarc::driver::result::{device as driver, mem_pool};
    use candle_core::cuda::cudarc::driver::sys::CUmemPool_attribute;

    let Device::Cuda(cuda) = device else { return Ok(()) };
    // SAFETY: events order work between streams. Every tensor of this device is made, used and
    // freed on its one stream, which orders them by itself.
    unsafe { cuda.disable_event_tracking() };
    let context = cuda.cuda_stream().context().clone();
    if context.has_async_alloc() {
        let mut kept = u64::MAX;
        // SAFETY: the context has opened this device, whose default pool lives as long as the
        // device. The attribute is a u64, which the driver reads before the call returns.
        unsafe {
            let pool = driver::get_default_mem_pool(context.cu_device()).w()?;
            let release = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            mem_pool::set_attribute(pool, release, (&raw mut kept).cast()).w()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_kernels_agree_with_the_sum() {
        try_kernels(&Device::Cpu).unwrap();
    }

    #[test]
    fn a_driver_that_is_too_old_is_named() {
        let driver = |name: &str| candle_core::Error::Msg(format!("DriverError({name}, \"...\")"));
        let old = named(1, driver("CUDA_ERROR_UNSUPPORTED_PTX_VERSION")).to_string();
        assert!(old.contains("CUDA device 1") && old.contains("driver"), "{old}");
        let other = named(1, driver("CUDA_ERROR_OUT_OF_MEMORY")).to_string();
        assert!(other.contains("OUT_OF_MEMORY") && !other.contains("older"), "{other}");
    }

    #[test]
    fn available_memory_is_read_in_kibibytes() {
        let text = "MemTotal:  24683128 kB\nMemFree:  100 kB\nMemAvailable:   22010 kB\nBuffers: 1 kB\n";
        assert_eq!(available(text), Some(22_010 * 1024));
        assert_eq!(available("MemTotal: 3 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn every_control_group_above_the_process_may_limit_its_memory() {
        let first = |groups| group_files(groups).into_iter().map(|(most, _)| most).collect::<Vec<_>>();
        let root = Path::new("/sys/fs/cgroup");
        assert_eq!(
            first("0::/job/step\n"),
            ["job/step/memory.max", "job/memory.max", "memory.max"].map(|file| root.join(file))
        );
        assert_eq!(
            first("5:cpu,cpuacct:/a\n4:memory:/a\n"),
            ["memory/a/memory.limit_in_bytes", "memory/memory.limit_in_bytes"].map(|file| root.join(file))
        );
        assert!(first("").is_empty() && first("nonsense").is_empty());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_opens_no_device() {
        assert!(cuda_device(0).is_err());
    }
}
