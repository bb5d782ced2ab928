//! A GPU in tests: the launches of operators on CPU tensors, run by the shim or only counted.

use std::cell::{Cell, RefCell};
use std::sync::PoisonError;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Device, Error, Result, Storage, Tensor, Var};
use half::bf16;

use super::array::Array;
use super::gpu::{Argument, Element, Gpu, Real};
use super::shim::{Memory, Shim};

/// The stand-in for a GPU on this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nothing,
    Shim,
    /// The shim, as after `set_tf32(true)`, which would change other threads' tests.
    ShimInTf32,
    Counter,
}

/// Launches and bytes, as if each kernel read and wrote each of its arrays once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) launches: usize,
    pub(super) bytes: usize,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode::Nothing) };
    static COUNTED: RefCell<Counted> = RefCell::new(Counted::default());
}

/// True where native kernels of CPU tensors are launches on this thread.
pub(crate) fn is_simulated() -> bool {
    MODE.get() != Mode::Nothing
}

/// Runs `test` with the shim as the GPU; `None` where it cannot be compiled.
pub(super) fn simulated<R>(test: impl FnOnce() -> R) -> Option<R> {
    for real in Real::ALL {
        Shim::of(real)?;
    }
    Some(within(Mode::Shim, test))
}

/// As [`simulated`], with f32 convolutions in TF32.
pub(super) fn simulated_in_tf32<R>(test: impl FnOnce() -> R) -> Option<R> {
    Shim::of(Real::Tf32).map(|_| within(Mode::ShimInTf32, test))
}

/// Runs `test` and counts its launches. Results are zeros.
pub(super) fn counted<R>(test: impl FnOnce() -> R) -> (R, Counted) {
    COUNTED.set(Counted::default());
    (within(Mode::Counter, test), COUNTED.take())
}

fn within<R>(mode: Mode, test: impl FnOnce() -> R) -> R {
    struct Restore(Mode);
    impl Drop for Restore {
        fn drop(&mut self) {
            MODE.set(self.0);
        }
    }
    let _restore = Restore(MODE.replace(mode));
    test()
}

/// The device of CPU tensors on which launches run.
pub(crate) struct Simulated {
    real: Real,
    /// `None` where launches are only counted.
    shim: Option<&'static Shim>,
}

impl Simulated {
    pub(super) fn of(real: Real) -> Result<Self> {
        let shim = match MODE.get() {
            Mode::Nothing => return Err(Error::NotCompiledWithCudaSupport.bt()),
            Mode::Counter => None,
            Mode::ShimInTf32 if real == Real::F32 => Shim::of(Real::Tf32),
            Mode::Shim | Mode::ShimInTf32 => Shim::of(real),
        };
        Ok(Self { real, shim })
    }

    /// An array that is NaN, or the largest number, until a kernel writes it.
    fn unset(&self, length: usize, element: Element) -> Array {
        let zeros = self.shim.is_none();
        let storage = match element {
            Element::U8 => CpuStorage::U8(vec![if zeros { 0 } else { u8::MAX }; length]),
            Element::U32 => CpuStorage::U32(vec![if zeros { 0 } else { u32::MAX }; length]),
            Element::F32 => CpuStorage::F32(vec![if zeros { 0.0 } else { f32::NAN }; length]),
        };
        Array::made(Storage::Cpu(storage))
    }
}

impl Gpu for Simulated {
    type Memory = Array;

    fn reals(&self, length: usize) -> Result<Array> {
        match self.real {
            Real::F32 | Real::Tf32 => Ok(self.unset(length, Element::F32)),
            Real::Bf16 => {
                let unset = if self.shim.is_none() { bf16::ZERO } else { bf16::NAN };
                Ok(Array::made(Storage::Cpu(CpuStorage::BF16(vec![unset; length]))))
            }
        }
    }

    fn array(&self, length: usize, element: Element) -> Result<Array> {
        Ok(self.unset(length, element))
    }

    fn table(&self, values: &[u32]) -> Result<Array> {
        Ok(Array::made(Storage::Cpu(CpuStorage::U32(values.to_vec()))))
    }

    fn upload(&self, bytes: &[u8]) -> Result<Array> {
        Ok(Array::made(Storage::Cpu(CpuStorage::U8(bytes.to_vec()))))
    }

    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: usize,
        arguments: &[Argument<'_, Array>],
    ) -> Result<()> {
        assert!(threads <= 1024 && grid.iter().all(|&blocks| blocks > 0) && grid[1].max(grid[2]) < 65536);
        let Some(shim) = self.shim else {
            let arrays = arguments.iter().flat_map(arrays);
            let bytes: usize = arrays.map(size).sum();
            COUNTED.with_borrow_mut(|counted| {
                counted.launches += 1;
                counted.bytes += bytes;
            });
            return Ok(());
        };
        // Each argument as memory of the shim.
        let memory = |array: &Array| {
            let (elements, bytes) = bytes(array);
            Memory::from_bytes(elements, &bytes)
        };
        let given: Vec<Vec<Memory>> =
            arguments.iter().map(|argument| arrays(argument).map(memory).collect()).collect();
        let lists: Vec<Vec<&Memory>> = given.iter().map(|arrays| arrays.iter().collect()).collect();
        let converted: Vec<Argument<'_, Memory>> = arguments
            .iter()
            .zip(given.iter().zip(&lists))
            .map(|(argument, (memory, list))| match argument {
                Argument::In(_) => Argument::In(&memory[0]),
                Argument::Out(_) => Argument::Out(&memory[0]),
                Argument::Ins(_) => Argument::Ins(list),
                Argument::Outs(_) => Argument::Outs(list),
                Argument::Int(value) => Argument::Int(*value),
                Argument::Float(value) => Argument::Float(*value),
                Argument::Double(value) => Argument::Double(*value),
                Argument::Sizes(sizes) => Argument::Sizes(*sizes),
            })
            .collect();
        shim.launch(kernel, grid, threads, &converted)?;
        for (argument, memory) in arguments.iter().zip(&given) {
            if matches!(argument, Argument::Out(_) | Argument::Outs(_)) {
                for (array, memory) in arrays(argument).zip(memory) {
                    write(array, &memory.bytes())?;
                }
            }
        }
        Ok(())
    }
}

/// The arrays of an argument.
fn arrays<'a>(argument: &Argument<'a, Array>) -> impl Iterator<Item = &'a Array> + use<'a> {
    let (one, several): (Option<&'a Array>, &'a [&'a Array]) = match *argument {
        Argument::In(array) | Argument::Out(array) => (Some(array), &[]),
        Argument::Ins(arrays) | Argument::Outs(arrays) => (None, arrays),
        _ => (None, &[]),
    };
    one.into_iter().chain(several.iter().copied())
}

/// Bytes of an array.
fn size(array: &Array) -> usize {
    match array {
        Array::Of(tensor) => tensor.elem_count() * tensor.dtype().size_in_bytes(),
        Array::Made(_) => array.with_storage(|storage, _| {
            let Storage::Cpu(storage) = storage else { panic!("a simulated device has CPU tensors") };
            storage.as_slice_len() * storage.dtype().size_in_bytes()
        }),
    }
}

/// The number of elements of an array, and their bytes.
fn bytes(array: &Array) -> (usize, Vec<u8>) {
    let length = match array {
        Array::Of(tensor) => Some(tensor.elem_count()),
        Array::Made(_) => None,
    };
    array.with_storage(|storage, first| {
        let Storage::Cpu(storage) = storage else { panic!("a simulated device has CPU tensors") };
        macro_rules! bytes {
            ($values:expr) => {{
                let last = length.map_or($values.len(), |length| first + length);
                let values = &$values[first..last];
                (values.len(), values.iter().flat_map(|value| value.to_ne_bytes()).collect())
            }};
        }
        match storage {
            CpuStorage::U8(values) => bytes!(values),
            CpuStorage::U32(values) => bytes!(values),
            CpuStorage::BF16(values) => bytes!(values),
            CpuStorage::F32(values) => bytes!(values),
            CpuStorage::F64(values) => bytes!(values),
            _ => panic!("an array of another type"),
        }
    })
}

/// Writes `bytes` to an array that is new or a variable.
fn write(array: &Array, bytes: &[u8]) -> Result<()> {
    let filled = |like: &CpuStorage, first: usize, length: usize| {
        macro_rules! values {
            ($variant:ident, $type:ty) => {{
                let size = size_of::<$type>();
                let chunks = bytes.chunks_exact(size).skip(first).take(length);
                CpuStorage::$variant(
                    chunks.map(|chunk| <$type>::from_ne_bytes(chunk.try_into().unwrap())).collect(),
                )
            }};
        }
        match like {
            CpuStorage::U8(_) => values!(U8, u8),
            CpuStorage::U32(_) => values!(U32, u32),
            CpuStorage::BF16(_) => values!(BF16, bf16),
            CpuStorage::F32(_) => values!(F32, f32),
            CpuStorage::F64(_) => values!(F64, f64),
            _ => panic!("an array of another type"),
        }
    };
    match array {
        Array::Made(storage) => {
            let mut storage = storage.write().unwrap_or_else(PoisonError::into_inner);
            let Storage::Cpu(old) = &*storage else { panic!("a simulated device has CPU tensors") };
            *storage = Storage::Cpu(filled(old, 0, old.as_slice_len()));
            Ok(())
        }
        Array::Of(tensor) => {
            assert!(tensor.is_variable(), "a kernel writes a tensor that others share");
            let new = {
                let (storage, _) = tensor.storage_and_layout();
                let Storage::Cpu(old) = &*storage else { panic!("a simulated device has CPU tensors") };
                filled(old, 0, tensor.elem_count())
            };
            let none = candle_core::op::BackpropOp::none();
            let new = Tensor::from_storage(Storage::Cpu(new), tensor.shape(), none, false);
            assert!(matches!(tensor.device(), Device::Cpu));
            Var::from_tensor(tensor)?.set(&new)
        }
    }
}

trait Length {
    fn as_slice_len(&self) -> usize;
}

impl Length for CpuStorage {
    fn as_slice_len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::BF16(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            _ => panic!("an array of another type"),
        }
    }
}
