//! The kernels compiled by g++, as a [`Gpu`].

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use candle_core::{Error, Result};
use libloading::{Library, Symbol};

use super::gpu::{Argument, Element, Gpu, Real};
use super::source::{kernels, program};

/// The shim runs one launch at a time.
static ONE_LAUNCH: Mutex<()> = Mutex::new(());

/// A GPU that g++ compiled.
pub(super) struct Shim {
    library: Library,
    pub(super) real: Real,
}

/// Memory of the shim, unset until a kernel writes it: every bit is 1, which is NaN as a float.
pub(super) struct Memory {
    words: RefCell<Vec<u64>>,
    elements: usize,
}

impl Memory {
    fn unset(elements: usize, bytes: usize) -> Self {
        Self { words: RefCell::new(vec![u64::MAX; (elements * bytes).div_ceil(8)]), elements }
    }

    /// `elements` elements, or one number and its bytes.
    pub(super) fn from_bytes(elements: usize, bytes: &[u8]) -> Self {
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        });
        Self { words: RefCell::new(words.collect()), elements }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.words.borrow().iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    pub(super) fn floats(&self) -> Vec<f32> {
        let bytes = self.bytes();
        let values = bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        values.take(self.elements).collect()
    }
}

#[repr(C)]
struct RawArgument {
    data: *mut c_void,
    length: i64,
}

impl Shim {
    /// The kernels of one type, compiled once; `None`, with a line that says so, where they cannot
    /// be compiled.
    pub(super) fn of(real: Real) -> Option<&'static Self> {
        static COMPILED: [OnceLock<Option<Shim>>; 3] = [const { OnceLock::new() }; 3];
        let compiled = &COMPILED[real as usize];
        compiled.get_or_init(|| Self::compile_with(real, "", &[])).as_ref()
    }

    /// As [`Shim::of`], compiled anew with the kernels `names` of the text `more`.
    pub(super) fn compile_with(real: Real, more: &str, names: &[&'static str]) -> Option<Self> {
        if !cfg!(target_os = "linux") || Command::new("g++").arg("--version").output().is_err() {
            eprintln!("skipped: the CUDA kernels were not tested, which needs Linux and g++");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (text, library) = (folder.path().join("kernels.cpp"), folder.path().join("kernels.so"));
        let all = names.iter().copied().chain(kernels());
        let entries = all.map(|name| {
            format!("static shim::Registered registered_{name}(\"{name}\", shim::entry({name}));\n")
        });
        let source = format!("#define FMAM_SHIM\n{}\n{more}\n{}", program(real), entries.collect::<String>());
        std::fs::write(&text, source).unwrap();
        let shim = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cuda/shim");
        // Symbols of one library must not stand for those of another that is loaded as well.
        let apart = "-fno-gnu-unique";
        let flags = ["-std=c++17", apart, "-O1", "-fPIC", "-shared", "-I", shim, "-o"];
        let output = Command::new("g++").args(flags).arg(&library).arg(&text).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        #[allow(unsafe_code, reason = "a library is loaded; see the safety argument below")]
        // SAFETY: the library is the one compiled above. Its initialisers fill a map of its own.
        let library = unsafe { Library::new(library) }.unwrap();
        Some(Self { library, real })
    }

    /// Activations, rounded where they are bf16.
    pub(super) fn upload(&self, values: &[f32]) -> Memory {
        match self.real {
            Real::F32 | Real::Tf32 => self.parameters(values),
            Real::Bf16 => {
                let bytes = values.iter().flat_map(|&v| half::bf16::from_f32(v).to_ne_bytes());
                Memory::from_bytes(values.len(), &bytes.collect::<Vec<_>>())
            }
        }
    }

    /// Parameters, which are f32.
    #[allow(clippy::unused_self, reason = "beside `upload`")]
    pub(super) fn parameters(&self, values: &[f32]) -> Memory {
        let bytes = values.iter().flat_map(|v| v.to_ne_bytes());
        Memory::from_bytes(values.len(), &bytes.collect::<Vec<_>>())
    }

    pub(super) fn download(&self, memory: &Memory) -> Vec<f32> {
        match self.real {
            Real::F32 | Real::Tf32 => memory.floats(),
            Real::Bf16 => {
                let bytes = memory.bytes();
                let values = bytes.chunks_exact(2).map(|b| half::bf16::from_ne_bytes([b[0], b[1]]).to_f32());
                values.take(memory.elements).collect()
            }
        }
    }
}

impl Gpu for Shim {
    type Memory = Memory;

    fn reals(&self, length: usize) -> Result<Memory> {
        Ok(Memory::unset(length, if self.real == Real::Bf16 { 2 } else { 4 }))
    }

    fn array(&self, length: usize, element: Element) -> Result<Memory> {
        let bytes = match element {
            Element::U8 => 1,
            Element::U32 | Element::F32 => 4,
        };
        Ok(Memory::unset(length, bytes))
    }

    fn table(&self, values: &[u32]) -> Result<Memory> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        Ok(Memory::from_bytes(values.len(), &bytes))
    }

    fn upload(&self, bytes: &[u8]) -> Result<Memory> {
        Ok(Memory::from_bytes(bytes.len(), bytes))
    }

    #[allow(unsafe_code, reason = "functions of the shim are called; see the safety argument below")]
    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: usize,
        arguments: &[Argument<'_, Memory>],
    ) -> Result<()> {
        // Numbers live as memory of their own for the time of the call.
        let number = |bytes: &[u8]| Some(Memory::from_bytes(bytes.len(), bytes));
        let numbers: Vec<Option<Memory>> = arguments
            .iter()
            .map(|argument| match argument {
                Argument::In(_) | Argument::Out(_) | Argument::Ins(_) | Argument::Outs(_) => None,
                Argument::Int(value) => number(&value.to_ne_bytes()),
                Argument::Float(value) => number(&value.to_ne_bytes()),
                Argument::Double(value) => number(&value.to_ne_bytes()),
                Argument::Sizes(sizes) => number(&sizes.map(i32::to_ne_bytes).concat()),
            })
            .collect();
        let of_memory = |memory: &Memory| RawArgument {
            data: memory.words.borrow_mut().as_mut_ptr().cast(),
            length: memory.elements as i64,
        };
        // Several arrays are an array of arguments.
        let lists: Vec<Vec<RawArgument>> = arguments
            .iter()
            .map(|argument| match argument {
                Argument::Ins(arrays) | Argument::Outs(arrays) => {
                    arrays.iter().map(|memory| of_memory(memory)).collect()
                }
                _ => Vec::new(),
            })
            .collect();
        let raw: Vec<RawArgument> = arguments
            .iter()
            .zip(numbers.iter().zip(&lists))
            .filter_map(|(argument, (number, list))| match argument {
                Argument::In(memory) | Argument::Out(memory) => Some(of_memory(memory)),
                Argument::Ins(_) | Argument::Outs(_) => {
                    Some(RawArgument { data: list.as_ptr().cast_mut().cast(), length: list.len() as i64 })
                }
                _ => number.as_ref().map(of_memory),
            })
            .collect();
        let name = CString::new(kernel).unwrap();
        let grid = grid.map(|blocks| c_uint::try_from(blocks).unwrap());
        let one = ONE_LAUNCH.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: both functions have these types in shim.hpp. Arrays and numbers outlive the call,
        // the shim checks each index against the length given here, and nobody else borrows the
        // words meanwhile. An argument of another type than the kernel's would be a fault of
        // launch.rs that the values show.
        let fault = unsafe {
            type Launch =
                unsafe extern "C" fn(*const c_char, *const c_uint, c_uint, *const RawArgument) -> c_int;
            let launch: Symbol<'_, Launch> = self.library.get(b"fmam_shim_launch").unwrap();
            let text: Symbol<'_, unsafe extern "C" fn() -> *const c_char> =
                self.library.get(b"fmam_shim_fault").unwrap();
            let failed = launch(name.as_ptr(), grid.as_ptr(), threads as c_uint, raw.as_ptr()) != 0;
            failed.then(|| CStr::from_ptr(text()).to_string_lossy().into_owned())
        };
        drop(one);
        fault.map_or(Ok(()), |fault| Err(Error::Msg(format!("{kernel}: {fault}"))))
    }
}
