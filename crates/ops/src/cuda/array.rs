//! Arrays of kernels that are tensors of candle, or become some.

use std::sync::{PoisonError, RwLock};

use candle_core::op::BackpropOp;
use candle_core::{DType, Result, Shape, Storage, StorageRef, Tensor};

use crate::recorded::result_of;

/// The elements of a tensor, or new ones.
#[derive(Debug)]
pub(crate) enum Array {
    Of(Tensor),
    Made(RwLock<Storage>),
}

impl Array {
    /// The elements of `tensor`, copied where they do not lie side by side.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        Ok(Self::Of(tensor.contiguous()?))
    }

    /// The elements of `tensor` in f32, as kernels take parameters.
    pub(crate) fn parameter(tensor: &Tensor) -> Result<Self> {
        Self::of(&tensor.detach().to_dtype(DType::F32)?)
    }

    pub(super) fn made(storage: Storage) -> Self {
        Self::Made(RwLock::new(storage))
    }

    /// The elements as a tensor without a graph.
    pub(crate) fn into_tensor(self, shape: impl Into<Shape>) -> Result<Tensor> {
        match self {
            Self::Of(tensor) => tensor.detach().reshape(shape.into()),
            Self::Made(storage) => {
                let storage = storage.into_inner().unwrap_or_else(PoisonError::into_inner);
                Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
            }
        }
    }

    /// The new elements as a result to record; those of a tensor are copied.
    pub(super) fn result(self, shape: impl Into<Shape>) -> Result<(Storage, Shape)> {
        match self {
            Self::Of(tensor) => result_of(&tensor.reshape(shape.into())?),
            Self::Made(storage) => {
                Ok((storage.into_inner().unwrap_or_else(PoisonError::into_inner), shape.into()))
            }
        }
    }

    /// Calls `see` with the storage and the place of the first element in it.
    pub(super) fn with_storage<R>(&self, see: impl FnOnce(&Storage, usize) -> R) -> R {
        match self {
            Self::Of(tensor) => {
                let (storage, layout): (StorageRef<'_>, _) = tensor.storage_and_layout();
                see(&storage, layout.start_offset())
            }
            Self::Made(storage) => see(&storage.read().unwrap_or_else(PoisonError::into_inner), 0),
        }
    }
}
