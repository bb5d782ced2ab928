//! Results that are there already as operators of candle, with their gradients.

use std::sync::{Mutex, PoisonError};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Error, Layout, MetalStorage, Result, Shape,
    Storage, Tensor,
};

/// A result that is there before its operator is recorded: the operator hands it over. `backward`
/// gives the gradients of the `N` arguments from the arguments, the result and its gradient.
struct Recorded<B> {
    name: &'static str,
    result: Mutex<Option<(Storage, Shape)>>,
    backward: B,
}

/// Arguments, result and the result's gradient.
pub(crate) struct Pass<'a, const N: usize> {
    pub(crate) args: [&'a Tensor; N],
    pub(crate) result: &'a Tensor,
    pub(crate) grad: &'a Tensor,
}

impl<const N: usize> Pass<'_, N> {
    /// The result of `compute` as the gradient of argument `index`, if that is tracked.
    pub(crate) fn gradient(
        &self,
        index: usize,
        compute: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Option<Tensor>> {
        let of = self.args[index];
        of.track_op().then(|| compute()?.reshape(of.shape())?.to_dtype(of.dtype())).transpose()
    }
}

/// The elements of `tensor` as a result to record: a copy.
pub(crate) fn result_of(tensor: &Tensor) -> Result<(Storage, Shape)> {
    // A view may have a part of its storage: what is copied is the storage.
    let is_whole = tensor.is_contiguous() && tensor.layout().start_offset() == 0;
    let tensor = if is_whole { tensor.clone() } else { tensor.force_contiguous()? };
    let (storage, layout) = tensor.storage_and_layout();
    Ok((storage.try_clone(layout)?, tensor.shape().clone()))
}

type Gradients<const N: usize> = Result<[Option<Tensor>; N]>;

/// `result` as an operator on `x`.
pub(crate) fn record1(
    name: &'static str,
    x: &Tensor,
    result: (Storage, Shape),
    backward: impl Fn(&Pass<'_, 1>) -> Gradients<1> + Send + Sync + 'static,
) -> Result<Tensor> {
    x.apply_op1(Recorded::new(name, result, backward))
}

/// `result` as an operator on `x` and `y`.
pub(crate) fn record2(
    name: &'static str,
    [x, y]: [&Tensor; 2],
    result: (Storage, Shape),
    backward: impl Fn(&Pass<'_, 2>) -> Gradients<2> + Send + Sync + 'static,
) -> Result<Tensor> {
    x.apply_op2(y, Recorded::new(name, result, backward))
}

/// `result` as an operator on `x`, `y` and `z`.
pub(crate) fn record3(
    name: &'static str,
    [x, y, z]: [&Tensor; 3],
    result: (Storage, Shape),
    backward: impl Fn(&Pass<'_, 3>) -> Gradients<3> + Send + Sync + 'static,
) -> Result<Tensor> {
    x.apply_op3(y, z, Recorded::new(name, result, backward))
}

impl<B> Recorded<B> {
    fn new(name: &'static str, result: (Storage, Shape), backward: B) -> Self {
        Self { name, result: Mutex::new(Some(result)), backward }
    }

    fn take(&self) -> Result<(Storage, Shape)> {
        let taken = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| Error::Msg(format!("{}: the result is taken", self.name)).bt())
    }

    fn take_cpu(&self) -> Result<(CpuStorage, Shape)> {
        match self.take()? {
            (Storage::Cpu(storage), shape) => Ok((storage, shape)),
            _ => Err(self.elsewhere()),
        }
    }

    fn take_cuda(&self) -> Result<(CudaStorage, Shape)> {
        match self.take()? {
            (Storage::Cuda(storage), shape) => Ok((storage, shape)),
            _ => Err(self.elsewhere()),
        }
    }

    fn take_metal(&self) -> Result<(MetalStorage, Shape)> {
        match self.take()? {
            (Storage::Metal(storage), shape) => Ok((storage, shape)),
            _ => Err(self.elsewhere()),
        }
    }

    fn elsewhere(&self) -> Error {
        Error::Msg(format!("{}: arguments and result are on two devices", self.name)).bt()
    }
}

impl<B: Fn(&Pass<'_, 1>) -> Gradients<1>> CustomOp1 for Recorded<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.take_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.take_cuda()
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        self.take_metal()
    }

    fn bwd(&self, x: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [dx] = (self.backward)(&Pass { args: [x], result, grad })?;
        Ok(dx)
    }
}

impl<B: Fn(&Pass<'_, 2>) -> Gradients<2>> CustomOp2 for Recorded<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.take_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.take_cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.take_metal()
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dy] = (self.backward)(&Pass { args: [x, y], result, grad })?;
        Ok((dx, dy))
    }
}

impl<B: Fn(&Pass<'_, 3>) -> Gradients<3>> CustomOp3 for Recorded<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.take_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.take_cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.take_metal()
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        z: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dy, dz] = (self.backward)(&Pass { args: [x, y, z], result, grad })?;
        Ok((dx, dy, dz))
    }
}
