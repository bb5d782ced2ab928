//! Kernels for CUDA, of activations that lie channels last.
//!
//! [`source`] is the text that NVRTC compiles on the machine with the GPU. [`launch`] says which
//! kernels an operator runs, with which blocks and arguments, for any [`Gpu`](launch::Gpu). Tests
//! run the same launches on a CPU: `shim/shim.hpp` makes g++ compile the same text.
//!
//! The module is compiled for tests only, since no operator runs these kernels yet: on a device,
//! [`Kernels::Native`](crate::Kernels) still means the compositions of candle's operators.

mod agreement;
mod counted;
mod launch;
mod shim;
mod source;
