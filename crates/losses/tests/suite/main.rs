//! Losses against other implementations, and their gradients against finite differences.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

mod differences;
mod pytorch;
mod within;

use std::sync::OnceLock;

use candle_core::Device;

/// The device of the tests: see [`fmam_testkit::test_device`].
pub(crate) fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        fmam_testkit::test_device().map_or(Device::Cpu, |index| fmam_ops::cuda_device(index).unwrap())
    })
}
