//! Arrays from `.npy` files, in the types that the metrics take.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use npyz::{DType, Deserialize, NpyFile, Order, TypeChar};

use crate::Error;
use crate::array_error::ArrayError;

/// Numbers in C order and their shape.
pub(crate) struct Array<T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<T>,
}

/// Reads scores, f32 or f64, as f32 of the same order with the same ties.
///
/// Metrics use the order of the scores alone. Where rounding f64 to f32 would tie or swap scores,
/// their ranks stand in for them, so that every figure is that of the file.
pub(crate) fn read_scores(path: &Path) -> Result<Array<f32>, Error> {
    read(path, |file, kind, size| match (kind, size) {
        (TypeChar::Float, 4) => collect(file, |_, value: f32| Ok(value)),
        (TypeChar::Float, 8) => Ok(order_preserving(collect(file, |_, value: f64| Ok(value))?)),
        _ => Err(ArrayError::ScoreType { found: file.dtype().descr() }),
    })
}

/// Reads labels or masks, 0 (normal) or 1 (anomalous) in any type.
pub(crate) fn read_labels(path: &Path) -> Result<Array<u8>, Error> {
    fn integer<T: TryInto<u64> + std::fmt::Display + Copy>(index: usize, value: T) -> Result<u8, ArrayError> {
        match value.try_into() {
            Ok(label @ 0..=1) => Ok(label as u8),
            _ => Err(ArrayError::Label { index, value: value.to_string() }),
        }
    }
    fn float<T: Into<f64>>(index: usize, value: T) -> Result<u8, ArrayError> {
        match value.into() {
            0.0 => Ok(0),
            1.0 => Ok(1),
            value => Err(ArrayError::Label { index, value: value.to_string() }),
        }
    }
    read(path, |file, kind, size| match (kind, size) {
        (TypeChar::Bool, _) => collect(file, |_, value: bool| Ok(u8::from(value))),
        (TypeChar::Uint, 1) => collect(file, integer::<u8>),
        (TypeChar::Uint, 2) => collect(file, integer::<u16>),
        (TypeChar::Uint, 4) => collect(file, integer::<u32>),
        (TypeChar::Uint, 8) => collect(file, integer::<u64>),
        (TypeChar::Int, 1) => collect(file, integer::<i8>),
        (TypeChar::Int, 2) => collect(file, integer::<i16>),
        (TypeChar::Int, 4) => collect(file, integer::<i32>),
        (TypeChar::Int, 8) => collect(file, integer::<i64>),
        (TypeChar::Float, 4) => collect(file, float::<f32>),
        (TypeChar::Float, 8) => collect(file, float::<f64>),
        _ => Err(ArrayError::LabelType { found: file.dtype().descr() }),
    })
}

type Reader = NpyFile<BufReader<File>>;

fn read<T>(
    path: &Path,
    values: impl FnOnce(Reader, TypeChar, u64) -> Result<Vec<T>, ArrayError>,
) -> Result<Array<T>, Error> {
    let read = || {
        let file = NpyFile::new(BufReader::new(File::open(path)?)).map_err(ArrayError::NotNpy)?;
        let DType::Plain(kind) = file.dtype() else { return Err(ArrayError::Records) };
        if file.order() != Order::C {
            return Err(ArrayError::FortranOrder);
        }
        let shape = file.shape().iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| ArrayError::TooLarge)?;
        let data = values(file, kind.type_char(), kind.size_field())?;
        Ok(Array { shape, data })
    };
    read().map_err(|source| Error::Array { path: path.to_owned(), source })
}

fn collect<T: Deserialize, U>(
    file: Reader,
    convert: impl Fn(usize, T) -> Result<U, ArrayError>,
) -> Result<Vec<U>, ArrayError> {
    let found = file.dtype().descr();
    let values = file.data::<T>().map_err(|_| ArrayError::LabelType { found })?.enumerate();
    let value = |(index, value): (usize, std::io::Result<T>)| {
        convert(index, value.map_err(|source| ArrayError::Element { index, source })?)
    };
    values.map(value).collect()
}

/// f32 that compare as `values` do.
fn order_preserving(values: Vec<f64>) -> Vec<f32> {
    let exact = |value: f64| f64::from(value as f32) == value || value.is_nan();
    if values.iter().all(|&value| exact(value)) {
        return values.into_iter().map(|value| value as f32).collect();
    }
    let mut distinct: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    distinct.sort_unstable_by(f64::total_cmp);
    // -0.0 and 0.0 are equal here, and stand next to each other.
    distinct.dedup_by(|a, b| a == b);
    values
        .into_iter()
        .map(|value| match distinct.partition_point(|&other| other < value) {
            _ if value.is_nan() => f32::NAN,
            // The bits of positive floats grow as the floats do: two thousand million ranks fit.
            rank => f32::from_bits(rank as u32),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_f64_survives() {
        assert_eq!(order_preserving(vec![0.5, -2.0, 0.5]), [0.5, -2.0, 0.5]);
        let close = [1.0 + 1e-12, -1e300, 1.0, 1.0 + 1e-12, 0.0, -0.0, f64::INFINITY];
        let ranks = order_preserving(close.to_vec());
        for (a, x) in close.iter().zip(&ranks) {
            for (b, y) in close.iter().zip(&ranks) {
                assert_eq!(a.partial_cmp(b), x.partial_cmp(y), "{a} against {b}");
            }
        }
        assert!(order_preserving(vec![f64::NAN, 0.1])[0].is_nan());
    }
}
