//! `--device`: parsed and opened here and nowhere else.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use fmam_experiment::device_name;

/// What `--device` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DeviceChoice {
    /// CUDA where this build has it and a device opens, else the CPU.
    #[default]
    Auto,
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is not a device; use auto, cpu, cuda or cuda:INDEX");
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                index.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl DeviceChoice {
    /// The name that records have it by. Only `auto` looks at what there is.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Cpu => "cpu".to_owned(),
            Self::Cuda(index) => format!("cuda:{index}"),
            Self::Auto => self.open().map_or_else(|_| "cpu".to_owned(), |device| device_name(&device)),
        }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// When CUDA is asked for and this build has none, or the device does not open.
    pub(crate) fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if cfg!(feature = "cuda") => Ok(Device::new_cuda(0).unwrap_or(Device::Cpu)),
            Self::Auto => Ok(Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => bail!(
                "this build of fmam has no CUDA; build it with `cargo build --release --package fmam --features cuda`, \
                 or use --device cpu"
            ),
            Self::Cuda(index) => {
                Device::new_cuda(index).with_context(|| format!("cannot open CUDA device {index}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        let parse = DeviceChoice::from_str;
        assert_eq!(parse("auto"), Ok(DeviceChoice::Auto));
        assert_eq!(parse("cpu"), Ok(DeviceChoice::Cpu));
        assert_eq!(parse("cuda"), Ok(DeviceChoice::Cuda(0)));
        assert_eq!(parse("cuda:3"), Ok(DeviceChoice::Cuda(3)));
        for bad in ["", "gpu", "cuda:", "cuda:-1", "CPU"] {
            assert!(parse(bad).unwrap_err().contains("auto, cpu, cuda"), "{bad}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_cuda_auto_is_the_cpu_and_asking_for_cuda_says_how_to_build() {
        assert!(DeviceChoice::Auto.open().unwrap().is_cpu());
        let names = [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(1)].map(DeviceChoice::name);
        assert_eq!(names, ["cpu", "cpu", "cuda:1"]);
        assert!(DeviceChoice::Cuda(0).open().unwrap_err().to_string().contains("--features cuda"));
    }
}
