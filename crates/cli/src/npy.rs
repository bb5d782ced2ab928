//! Arrays from `.npy` files, made into what the metrics take.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use npyz::{DType, Deserialize, NpyFile, Order, TypeChar};

/// Numbers in C order and their shape.
pub(crate) struct Array<T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<T>,
}

/// Reads scores, f32 or f64, as f32 of the same order with the same ties.
///
/// Metrics use the order of the scores alone. Where rounding f64 to f32 would tie or swap scores,
/// their ranks stand in for them, so that every figure is that of the file.
pub(crate) fn read_scores(path: &Path) -> Result<Array<f32>> {
    read(path, |file, kind, size| match (kind, size) {
        (TypeChar::Float, 4) => collect(file, |value: f32| Ok(value)),
        (TypeChar::Float, 8) => Ok(order_preserving(collect(file, |value: f64| Ok(value))?)),
        _ => bail!("scores must be float32 or float64, not {}", file.dtype().descr()),
    })
}

/// Reads labels or masks, 0 (normal) or 1 (anomalous) in any type.
pub(crate) fn read_labels(path: &Path) -> Result<Array<u8>> {
    fn integer<T: TryInto<u64> + std::fmt::Display + Copy>(value: T) -> Result<u8> {
        match value.try_into() {
            Ok(label @ 0..=1) => Ok(label as u8),
            _ => bail!("labels are 0 or 1, but there is {value}"),
        }
    }
    fn float<T: Into<f64>>(value: T) -> Result<u8> {
        match value.into() {
            0.0 => Ok(0),
            1.0 => Ok(1),
            value => bail!("labels are 0 or 1, but there is {value}"),
        }
    }
    read(path, |file, kind, size| match (kind, size) {
        (TypeChar::Bool, _) => collect(file, |value: bool| Ok(u8::from(value))),
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
        _ => bail!("labels must be bool, integer or float, not {}", file.dtype().descr()),
    })
}

type Reader = NpyFile<BufReader<File>>;

fn read<T>(path: &Path, values: impl FnOnce(Reader, TypeChar, u64) -> Result<Vec<T>>) -> Result<Array<T>> {
    let read = || {
        let file = NpyFile::new(BufReader::new(File::open(path)?)).context("this is no .npy file")?;
        let DType::Plain(kind) = file.dtype() else { bail!("an array of records is no array of numbers") };
        ensure!(
            file.order() == Order::C,
            "the array is in Fortran order; save it with numpy.ascontiguousarray"
        );
        let shape = file.shape().iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>()?;
        let data = values(file, kind.type_char(), kind.size_field())?;
        Ok(Array { shape, data })
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

fn collect<T: Deserialize, U>(file: Reader, convert: impl Fn(T) -> Result<U>) -> Result<Vec<U>> {
    file.data::<T>()?
        .enumerate()
        .map(|(index, value)| convert(value?).with_context(|| format!("element {index}")))
        .collect()
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
