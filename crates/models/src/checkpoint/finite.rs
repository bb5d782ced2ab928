use std::collections::BTreeMap;

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

use crate::ModelError;

/// Refuses tensors with infinite or undefined values. `origin` is where they came from, for the
/// error message. Tensors of integers and booleans pass.
///
/// # Errors
/// [`ModelError::NotFinite`], naming the first such tensor in the order of names.
pub fn check_finite(tensors: &BTreeMap<String, Tensor>, origin: &str) -> Result<(), ModelError> {
    for (key, tensor) in tensors {
        if !is_finite(tensor)? {
            return Err(ModelError::NotFinite { origin: origin.to_owned(), key: key.clone() });
        }
    }
    Ok(())
}

/// True if every value of `tensor` is finite, as integers and booleans are.
///
/// # Errors
/// [`ModelError::Tensor`] from the device.
pub fn is_finite(tensor: &Tensor) -> Result<bool, ModelError> {
    let dtype = match tensor.dtype() {
        dtype if !dtype.is_float() => return Ok(true),
        dtype @ (DType::F64 | DType::F16 | DType::BF16) => dtype,
        _ => DType::F32,
    };
    // Nothing is copied of a contiguous tensor on the host, as one from a file is.
    let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(dtype)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let range = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
    let Storage::Cpu(storage) = &*storage else { return Ok(false) };
    Ok(match storage {
        CpuStorage::F32(values) => values[range].iter().all(|value| value.is_finite()),
        CpuStorage::F64(values) => values[range].iter().all(|value| value.is_finite()),
        CpuStorage::F16(values) => values[range].iter().all(|value| value.is_finite()),
        CpuStorage::BF16(values) => values[range].iter().all(|value| value.is_finite()),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_that_is_no_number_is_found_in_every_type() {
        let check = |tensor: &Tensor| {
            check_finite(&BTreeMap::from([("a.weight".to_owned(), tensor.clone())]), "w.safetensors")
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let tensor = Tensor::new(&[[1.0, bad], [2.0, 3.0]], &Device::Cpu).unwrap();
            for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
                let typed = tensor.to_dtype(dtype).unwrap();
                let error = check(&typed).unwrap_err();
                assert!(matches!(error, ModelError::NotFinite { .. }), "{error}");
                let message = error.to_string();
                assert!(message.contains("w.safetensors") && message.contains("`a.weight`"), "{message}");
                // A view is judged by the values that it shows.
                check(&typed.narrow(0, 1, 1).unwrap()).unwrap();
                check(&typed.narrow(1, 0, 1).unwrap()).unwrap();
                assert!(check(&typed.t().unwrap()).is_err());
            }
        }
        check(&Tensor::new(&[0_u8, 255], &Device::Cpu).unwrap()).unwrap();
        check(&Tensor::new(&[i64::MIN], &Device::Cpu).unwrap()).unwrap();
        check(&Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap()).unwrap();
    }
}
