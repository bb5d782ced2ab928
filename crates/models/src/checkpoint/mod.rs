//! Reading and writing of weights: safetensors and the two formats of `torch.save`.
//!
//! Modules in reading order: `tensor_file` (safetensors), `state_dict` (the formats told apart by
//! content), `wrapping` (what training programs put around a state dict), `pickle` and
//! `pickle_value` (the part of Python's pickle that a checkpoint needs), `budget` (their memory),
//! `finite` (the check for damaged values).

mod budget;
mod finite;
mod pickle;
mod pickle_value;
mod state_dict;
pub(crate) mod tensor_file;
mod wrapping;

pub use finite::{check_finite, is_finite};
pub use state_dict::read_state_dict;
pub(crate) use state_dict::read_with_digest;
pub use tensor_file::{MAX_BYTES, load_tensors, save_tensors, tensors_digest, tensors_in};
