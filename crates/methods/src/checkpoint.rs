//! Named tensors of one network together with their origin.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use fmam_models::{ModelError, Params};

use crate::MethodError;

/// Named tensors of one network.
pub type Tensors = BTreeMap<String, Tensor>;

/// Tensors of one network with the place that they came from, which errors name.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The tensors by name.
    pub tensors: Tensors,
    origin: String,
}

impl Checkpoint {
    /// `origin` is a file, or a short description of a network in memory.
    pub(crate) fn new(tensors: Tensors, origin: impl Into<String>) -> Self {
        Self { tensors, origin: origin.into() }
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// [`ModelError::Read`] for a missing or damaged file, [`ModelError::NotFinite`] for tensors
    /// with infinite or undefined values.
    pub(crate) fn read(path: &Path) -> Result<Self, MethodError> {
        Self::of_file(fmam_models::load_tensors(path)?, path)
    }

    /// The `tensors` of the file `path`.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] for tensors with infinite or undefined values.
    pub(crate) fn of_file(tensors: Tensors, path: &Path) -> Result<Self, MethodError> {
        let origin = path.display().to_string();
        fmam_models::check_finite(&tensors, &origin)?;
        Ok(Self::new(tensors, origin))
    }

    /// The file or the network that errors name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The tensor `key`, of the sizes that `shape` names; `None` stands for any size.
    ///
    /// # Errors
    /// [`ModelError::MissingKey`], [`ModelError::MisshapenKey`].
    pub fn tensor(&self, key: &str, shape: &[Option<usize>]) -> Result<&Tensor, MethodError> {
        let Some(tensor) = self.tensors.get(key) else {
            let (origin, key) = (self.origin.clone(), key.to_owned());
            return Err(ModelError::MissingKey { origin, key, others: Vec::new() }.into());
        };
        let actual = tensor.dims();
        let fits = |(size, wanted): (&usize, &Option<usize>)| wanted.is_none_or(|wanted| wanted == *size);
        if actual.len() == shape.len() && actual.iter().zip(shape).all(fits) {
            return Ok(tensor);
        }
        // An axis of any size shows the size found, or 0 where the tensor has no such axis.
        let found = |axis| actual.get(axis).copied().unwrap_or(0);
        let expected = shape.iter().enumerate().map(|(axis, size)| size.unwrap_or_else(|| found(axis)));
        Err(self.misshapen(key, expected.collect(), actual.to_vec()))
    }

    /// The error for a tensor `key` that is not `expected`.
    pub(crate) fn misshapen(&self, key: &str, expected: Vec<usize>, actual: Vec<usize>) -> MethodError {
        ModelError::MisshapenKey { origin: self.origin.clone(), key: key.to_owned(), expected, actual }.into()
    }

    /// The frozen network that `network` makes of the tensors, all of which it must use.
    ///
    /// # Errors
    /// The errors of `network`, and [`ModelError::SurplusKeys`].
    pub fn build<N>(
        &self,
        device: &Device,
        network: impl FnOnce(&Params) -> Result<N, MethodError>,
    ) -> Result<N, MethodError> {
        let params = Params::frozen(self.tensors.clone(), &self.origin, device);
        let network = network(&params)?;
        params.finish(|_| false)?;
        Ok(network)
    }
}
