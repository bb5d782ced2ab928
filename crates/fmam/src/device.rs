use std::str::FromStr;

use candle_core::Device;
use fmam_experiment::{cuda_name, device_name};
use fmam_ops::cuda_device;

use crate::Error;

/// The choice of a device, which [`DeviceChoice::open`] opens. Its text is `auto`, `cpu`, `cuda` or
/// `cuda:INDEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// CUDA where this build has it and a device opens, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownDevice { name: text.to_owned() };
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
    pub fn name(self) -> String {
        match self {
            Self::Cpu => "cpu".to_owned(),
            Self::Cuda(index) => cuda_name(index),
            Self::Auto => self.open().map_or_else(|_| "cpu".to_owned(), |device| device_name(&device)),
        }
    }

    /// Opens the device. Where `auto` does not get the GPU of a build with CUDA, a warning says
    /// why.
    ///
    /// # Errors
    /// [`Error::NoCuda`] where this build has none, [`Error::CudaDevice`] for one that does not
    /// open.
    pub fn open(self) -> Result<Device, Error> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if cfg!(feature = "cuda") => Ok(cuda_device(0).unwrap_or_else(|error| {
                tracing::warn!("no CUDA device, so the CPU computes: {error}");
                Device::Cpu
            })),
            Self::Auto => Ok(Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(Error::NoCuda),
            Self::Cuda(index) => cuda_device(index).map_err(|source| Error::CudaDevice { index, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        let parse = DeviceChoice::from_str;
        assert_eq!(parse("auto").unwrap(), DeviceChoice::Auto);
        assert_eq!(parse("cpu").unwrap(), DeviceChoice::Cpu);
        assert_eq!(parse("cuda").unwrap(), DeviceChoice::Cuda(0));
        assert_eq!(parse("cuda:3").unwrap(), DeviceChoice::Cuda(3));
        for bad in ["", "gpu", "cuda:", "cuda:-1", "CPU"] {
            assert!(parse(bad).unwrap_err().to_string().contains("auto, cpu, cuda"), "{bad}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_cuda_auto_is_the_cpu_and_asking_for_cuda_is_an_error() {
        assert!(DeviceChoice::Auto.open().unwrap().is_cpu());
        let names = [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(1)].map(DeviceChoice::name);
        assert_eq!(names, ["cpu", "cpu", "cuda:1"]);
        assert!(matches!(DeviceChoice::Cuda(0).open(), Err(Error::NoCuda)));
    }
}
