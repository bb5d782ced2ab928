//! Images between NumPy and the library.

use std::path::PathBuf;

use fmam::{AnomalyMap, Image, ImageSize, Mask, RgbImage};
use numpy::{PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// An image as Python gives it: (H, W, 3) pixels of 8 bits, or the path of a file.
#[derive(FromPyObject)]
pub(crate) enum Given<'py> {
    /// Pixels.
    Pixels(PyReadonlyArray3<'py, u8>),
    /// An image file.
    File(PathBuf),
}

impl Given<'_> {
    /// The image for the library. Pixels are copied once: another thread of Python may change the
    /// array while the library works.
    pub(crate) fn image(self) -> PyResult<Image> {
        match self {
            Self::File(path) => Ok(Image::from(path)),
            Self::Pixels(pixels) => Ok(Image::from(rgb_image(&pixels)?)),
        }
    }
}

/// The pixels of an array.
pub(crate) fn rgb_image(pixels: &PyReadonlyArray3<'_, u8>) -> PyResult<RgbImage> {
    let &[height, width, channels] = pixels.shape() else { return Err(not_rgb(pixels.shape())) };
    if channels != 3 || height == 0 || width == 0 {
        return Err(not_rgb(pixels.shape()));
    }
    // `as_slice` is there for columns first, too. An array of another order than rows first is
    // copied element by element.
    let rows_first = if pixels.is_c_contiguous() { pixels.as_slice().ok() } else { None };
    let data = rows_first.map_or_else(|| pixels.as_array().iter().copied().collect(), <[u8]>::to_vec);
    RgbImage::new(ImageSize::new(height, width), data).map_err(|_| not_rgb(pixels.shape()))
}

fn not_rgb(shape: &[usize]) -> PyErr {
    pyo3::exceptions::PyValueError::new_err(format!(
        "an image has shape (H, W, 3) with at least one pixel, not {shape:?}"
    ))
}

/// (H, W, 3) of uint8, which takes over the memory of `image`.
pub(crate) fn image_array(py: Python<'_>, image: RgbImage) -> PyResult<Bound<'_, PyArray3<u8>>> {
    let ImageSize { height, width } = image.size();
    PyArray1::from_vec(py, image.into_data()).reshape([height, width, 3])
}

/// (H, W) of float32, which takes over the memory of `map`.
pub(crate) fn map_array(py: Python<'_>, map: AnomalyMap) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let ImageSize { height, width } = map.size();
    PyArray1::from_vec(py, map.into_data()).reshape([height, width])
}

/// (H, W) of bool.
pub(crate) fn mask_array<'py>(py: Python<'py>, mask: &Mask) -> PyResult<Bound<'py, PyArray2<bool>>> {
    let ImageSize { height, width } = mask.size();
    let values: Vec<bool> = mask.data().iter().map(|value| *value != 0).collect();
    PyArray1::from_vec(py, values).reshape([height, width])
}
