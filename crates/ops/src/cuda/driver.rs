//! Kernels on a CUDA device.

use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::backend::BackendDevice;
use candle_core::cuda::WrapErr;
use candle_core::cuda::cudarc::driver::{
    CudaEvent, CudaSlice, DevicePtr, LaunchConfig, PinnedHostSlice, PushKernelArg,
};
use candle_core::cuda::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice};
use candle_core::{CudaStorage, DType, Error, Result, Shape, Storage};

use super::array::Array;
use super::gpu::{Argument, Element, Gpu, Real, int};
use super::source::program;

/// A CUDA device that runs the kernels for activations of one type.
pub(crate) struct Driver {
    device: CudaDevice,
    real: Real,
}

impl Driver {
    pub(super) fn new(device: &CudaDevice, real: Real) -> Self {
        Self { device: device.clone(), real }
    }

    #[allow(unsafe_code, reason = "memory is taken that nothing has written; see the safety argument below")]
    fn empty(&self, length: usize, dtype: DType) -> Result<Array> {
        // The driver gives no memory of no bytes.
        // SAFETY: any bits are a value of these types. A kernel that reads an element before one
        // has written it is a fault that the simulated device of the tests reports.
        let storage = unsafe { self.device.alloc_uninit(&Shape::from(length.max(1)), dtype) }?;
        Ok(Array::made(Storage::Cuda(storage)))
    }

    #[allow(unsafe_code, reason = "memory is taken that nothing has written; see the safety argument below")]
    fn empty_slice(&self, length: usize) -> Result<CudaSlice<u8>> {
        // SAFETY: any bits are bytes, and the caller overwrites all of them.
        unsafe { self.device.alloc(length) }
    }

    /// The address of an array, and the slice of addresses behind it where it is several.
    fn value(&self, argument: &Argument<'_, Array>) -> Result<Value> {
        Ok(match *argument {
            Argument::In(array) | Argument::Out(array) => Value::Address(self.address(array)?),
            Argument::Ins(arrays) | Argument::Outs(arrays) => {
                let addresses = arrays.iter().map(|array| self.address(array)).collect::<Result<Vec<_>>>()?;
                let table = self.device.clone_htod(&addresses)?;
                let address = table.device_ptr(&self.device.cuda_stream()).0;
                Value::Table { address, _memory: table }
            }
            Argument::Int(value) => Value::Int(value),
            Argument::Float(value) => Value::Float(value),
            Argument::Double(value) => Value::Double(value),
            Argument::Sizes(sizes) => Value::Sizes(sizes),
        })
    }

    fn address(&self, array: &Array) -> Result<u64> {
        let stream = self.device.cuda_stream();
        array.with_storage(|storage, first| {
            let Storage::Cuda(storage) = storage else {
                return Err(Error::Msg("an array of a kernel is not on the device".to_owned()).bt());
            };
            // The guard that comes with an address records an event; event tracking is off, see
            // `crate::device`.
            let (address, size) = match &storage.slice {
                CudaStorageSlice::U8(slice) => (slice.device_ptr(&stream).0, 1),
                CudaStorageSlice::BF16(slice) => (slice.device_ptr(&stream).0, 2),
                CudaStorageSlice::U32(slice) => (slice.device_ptr(&stream).0, 4),
                CudaStorageSlice::F32(slice) => (slice.device_ptr(&stream).0, 4),
                CudaStorageSlice::F64(slice) => (slice.device_ptr(&stream).0, 8),
                _ => return Err(Error::Msg("a kernel takes another type".to_owned()).bt()),
            };
            Ok(address + (first * size) as u64)
        })
    }
}

/// An argument as the driver takes it.
enum Value {
    Address(u64),
    /// The address of addresses, with their memory.
    Table {
        address: u64,
        _memory: CudaSlice<u64>,
    },
    Int(i32),
    Float(f32),
    Double(f64),
    Sizes([i32; 12]),
}

impl Gpu for Driver {
    type Memory = Array;

    fn reals(&self, length: usize) -> Result<Array> {
        let dtype = match self.real {
            Real::F32 | Real::Tf32 => DType::F32,
            Real::Bf16 => DType::BF16,
        };
        self.empty(length, dtype)
    }

    fn array(&self, length: usize, element: Element) -> Result<Array> {
        let dtype = match element {
            Element::U8 => DType::U8,
            Element::U32 => DType::U32,
            Element::F32 => DType::F32,
        };
        self.empty(length, dtype)
    }

    fn table(&self, values: &[u32]) -> Result<Array> {
        Ok(Array::made(Storage::Cuda(self.device.storage_from_slice(values)?)))
    }

    /// By way of memory that the driver copies from while the calling thread goes on.
    fn upload(&self, bytes: &[u8]) -> Result<Array> {
        let mut slice = self.empty_slice(bytes.len().max(1))?;
        if !bytes.is_empty() {
            let mut pinned = Pinned::take(&self.device, bytes.len())?;
            pinned.memory.as_mut_slice().w()?.copy_from_slice(bytes);
            let copied = self.device.memcpy_htod(&pinned.memory, &mut slice);
            // The event that cudarc keeps with the memory is not recorded, as event tracking is
            // off.
            pinned.copied = Some(self.device.cuda_stream().record_event(None).w()?);
            pinned.give_back()?;
            copied?;
        }
        Ok(Array::made(Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, self.device.clone()))))
    }

    #[allow(unsafe_code, reason = "a kernel is launched; see the safety argument below")]
    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: usize,
        arguments: &[Argument<'_, Array>],
    ) -> Result<()> {
        if grid.contains(&0) {
            // An empty result: the driver refuses a grid without blocks.
            return Ok(());
        }
        let function = self.device.get_or_load_custom_func(kernel, self.real.name(), ptx(self.real)?)?;
        let values = arguments.iter().map(|argument| self.value(argument)).collect::<Result<Vec<_>>>()?;
        let mut builder = function.builder();
        for value in &values {
            match value {
                Value::Address(address) | Value::Table { address, .. } => builder.arg(address),
                Value::Int(value) => builder.arg(value),
                Value::Float(value) => builder.arg(value),
                Value::Double(value) => builder.arg(value),
                Value::Sizes(sizes) => builder.arg(sizes),
            };
        }
        let [x, y, z] = [int(grid[0])?, int(grid[1])?, int(grid[2])?].map(i32::cast_unsigned);
        let block_dim = (int(threads)?.cast_unsigned(), 1, 1);
        let config = LaunchConfig { grid_dim: (x, y, z), block_dim, shared_mem_bytes: 0 };
        // SAFETY: number and types of the arguments are those of the kernel, and each index is
        // inside its array: tests run this very launch on a simulated device that checks both. The
        // arrays live until the launch is in the stream, and all memory of this device is written,
        // read and freed in the order of that one stream.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// Page-locked memory of the host that is used again: to lock pages takes milliseconds.
struct Pinned {
    memory: PinnedHostSlice<u8>,
    /// The end of the last copy from it.
    copied: Option<CudaEvent>,
}

static PINNED: Mutex<Vec<Pinned>> = Mutex::new(Vec::new());

impl Pinned {
    /// Buffers that are kept: one for each loader thread and a few more.
    const KEPT: usize = 16;

    /// Memory of `length` bytes from which no copy is under way.
    #[allow(unsafe_code, reason = "memory is taken that nothing has written; see the safety argument below")]
    fn take(device: &CudaDevice, length: usize) -> Result<Self> {
        let context = device.cuda_stream().context().clone();
        let mut kept = PINNED.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Self| {
            let is_free = buffer.copied.as_ref().is_none_or(CudaEvent::is_complete);
            buffer.memory.len() == length && *buffer.memory.context() == context && is_free
        };
        if let Some(at) = kept.iter().position(fits) {
            return Ok(kept.swap_remove(at));
        }
        drop(kept);
        // SAFETY: any bits are bytes, and the caller writes all of them before they are read.
        let memory = unsafe { context.alloc_pinned(length) }.w()?;
        Ok(Self { memory, copied: None })
    }

    /// Keeps the memory for a later upload, and frees the oldest of too many, once the copy from it
    /// is done.
    fn give_back(self) -> Result<()> {
        let mut kept = PINNED.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(self);
        let oldest = (kept.len() > Self::KEPT).then(|| kept.remove(0));
        drop(kept);
        match oldest.and_then(|oldest| oldest.copied.map(|copied| (oldest.memory, copied))) {
            Some((_memory, copied)) => copied.synchronize().w(),
            None => Ok(()),
        }
    }
}

/// The kernels compiled for the virtual architecture that has the tensor cores they use. The driver
/// compiles this for its device.
fn ptx(real: Real) -> Result<&'static str> {
    static COMPILED: [OnceLock<std::result::Result<String, String>>; 3] = [const { OnceLock::new() }; 3];
    let compiled = COMPILED[real as usize].get_or_init(|| {
        let options = CompileOptions {
            arch: Some("compute_80"),
            options: vec!["--std=c++17".to_owned()],
            name: Some(format!("{}.cu", real.name())),
            ..CompileOptions::default()
        };
        let ptx = compile_ptx_with_opts(program(real), options);
        ptx.map(|ptx| ptx.to_src()).map_err(|error| format!("{error:?}"))
    });
    compiled.as_deref().map_err(|error| Error::Msg(format!("NVRTC refuses the kernels: {error}")).bt())
}
