//! Elements of arrays as scores and as labels.

use half::f16;

use crate::array_error::ArrayError;

/// Values that the error about a label names, at most.
const NAMED: usize = 10;

/// The type of the elements of an array: a number of bytes in one of both byte orders.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    /// The type as NumPy writes it.
    descr: String,
    kind: Kind,
    size: usize,
    is_big_endian: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Bool,
    Unsigned,
    Signed,
    Float,
    Other,
}

impl Element {
    /// The type that NumPy writes as `descr`, such as `<f4`.
    pub(crate) fn new(descr: &str) -> Result<Self, ArrayError> {
        let descr = descr.to_owned();
        let other = || ArrayError::LabelType { found: descr.clone() };
        let mut characters = descr.chars();
        let order = characters.next().filter(|order| "<>|=".contains(*order)).ok_or_else(other)?;
        let kind = match characters.next() {
            Some('b') => Kind::Bool,
            Some('u') => Kind::Unsigned,
            Some('i') => Kind::Signed,
            Some('f') => Kind::Float,
            Some('O') => return Err(ArrayError::Records),
            Some(_) => Kind::Other,
            None => return Err(other()),
        };
        let size = characters.as_str().parse().ok().filter(|size| (1..=1024).contains(size));
        let size = size.ok_or_else(other)?;
        Ok(Self { descr, kind, size, is_big_endian: order == '>' })
    }

    /// Bytes of an element.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// True for f64, whose scores f32 does not hold.
    pub(crate) fn is_f64(&self) -> bool {
        matches!((self.kind, self.size), (Kind::Float, 8))
    }

    /// Scores of float16 or float32.
    pub(crate) fn scores(&self, bytes: &[u8]) -> Result<Vec<f32>, ArrayError> {
        match (self.kind, self.size) {
            (Kind::Float, 2) => Ok(self.map(bytes, |bytes| f16::from_le_bytes(bytes).to_f32())),
            (Kind::Float, 4) => Ok(self.map(bytes, f32::from_le_bytes)),
            _ => Err(ArrayError::ScoreType { found: self.descr.clone() }),
        }
    }

    /// Scores of float64.
    pub(crate) fn scores_f64(&self, bytes: &[u8]) -> Result<Vec<f64>, ArrayError> {
        if self.is_f64() {
            Ok(self.map(bytes, f64::from_le_bytes))
        } else {
            Err(ArrayError::ScoreType { found: self.descr.clone() })
        }
    }

    /// The numbers of an array of labels; an integer beyond 2^53 is rounded, and is no label.
    fn numbers(&self, bytes: &[u8]) -> Result<Vec<f64>, ArrayError> {
        Ok(match (self.kind, self.size) {
            (Kind::Bool | Kind::Unsigned, 1) => self.map(bytes, |[byte]| f64::from(byte)),
            (Kind::Unsigned, 2) => self.map(bytes, |bytes| f64::from(u16::from_le_bytes(bytes))),
            (Kind::Unsigned, 4) => self.map(bytes, |bytes| f64::from(u32::from_le_bytes(bytes))),
            (Kind::Unsigned, 8) => self.map(bytes, |bytes| u64::from_le_bytes(bytes) as f64),
            (Kind::Signed, 1) => self.map(bytes, |bytes| f64::from(i8::from_le_bytes(bytes))),
            (Kind::Signed, 2) => self.map(bytes, |bytes| f64::from(i16::from_le_bytes(bytes))),
            (Kind::Signed, 4) => self.map(bytes, |bytes| f64::from(i32::from_le_bytes(bytes))),
            (Kind::Signed, 8) => self.map(bytes, |bytes| i64::from_le_bytes(bytes) as f64),
            (Kind::Float, 2) => self.map(bytes, |bytes| f16::from_le_bytes(bytes).to_f64()),
            (Kind::Float, 4) => self.map(bytes, |bytes| f64::from(f32::from_le_bytes(bytes))),
            (Kind::Float, 8) => self.map(bytes, f64::from_le_bytes),
            _ => return Err(ArrayError::LabelType { found: self.descr.clone() }),
        })
    }

    fn map<const N: usize, T>(&self, bytes: &[u8], from_le: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (elements, _) = bytes.as_chunks::<N>();
        let convert = |&element: &[u8; N]| {
            let mut element = element;
            if self.is_big_endian {
                element.reverse();
            }
            from_le(element)
        };
        elements.iter().map(convert).collect()
    }
}

/// Reads the labels of an array part by part: 0 (normal) and 1, or 0 and 255 (anomalous).
#[derive(Debug, Default)]
pub(crate) struct Labels {
    /// The label of anomalous elements, once there was one.
    anomalous: Option<f64>,
    has_normal: bool,
    /// Elements that were read.
    n_read: u64,
}

impl Labels {
    /// The labels of the next elements, 0 or 1.
    pub(crate) fn read(&mut self, element: &Element, bytes: &[u8]) -> Result<Vec<u8>, ArrayError> {
        let numbers = element.numbers(bytes)?;
        let mut labels = Vec::with_capacity(numbers.len());
        for (index, &number) in numbers.iter().enumerate() {
            let is_anomalous = match self.anomalous {
                _ if number == 0.0 => {
                    self.has_normal = true;
                    false
                }
                Some(anomalous) if number == anomalous => true,
                None if number == 1.0 || number == 255.0 => {
                    self.anomalous = Some(number);
                    true
                }
                _ => return Err(self.fault(index, &numbers)),
            };
            labels.push(u8::from(is_anomalous));
        }
        self.n_read += numbers.len() as u64;
        Ok(labels)
    }

    fn fault(&self, index: usize, numbers: &[f64]) -> ArrayError {
        let mut values: Vec<f64> = self.has_normal.then_some(0.0).into_iter().chain(self.anomalous).collect();
        for &number in &numbers[index..] {
            if values.len() < NAMED && !values.iter().any(|known| known.total_cmp(&number).is_eq()) {
                values.push(number);
            }
        }
        values.sort_by(f64::total_cmp);
        ArrayError::Label { index: self.n_read + index as u64, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_every_float_are_read_in_both_byte_orders() {
        let scores = |descr: &str, bytes: &[u8]| Element::new(descr).unwrap().scores(bytes).unwrap();
        assert_eq!(scores("<f4", &[0.5_f32.to_le_bytes(), 3.0_f32.to_le_bytes()].concat()), [0.5, 3.0]);
        assert_eq!(scores(">f4", &0.1_f32.to_be_bytes()), [0.1]);
        assert_eq!(scores("<f2", &f16::from_f32(0.25).to_le_bytes()), [0.25]);
        assert_eq!(scores(">f2", &f16::from_f32(-2.0).to_be_bytes()), [-2.0]);
        let double = Element::new(">f8").unwrap();
        assert_eq!(double.scores_f64(&0.1_f64.to_be_bytes()).unwrap(), [0.1]);
        for other in ["<i4", "|b1", "<f16", "<c8", "<U4"] {
            let found = Element::new(other).unwrap().scores(&[0; 64]);
            assert!(matches!(found, Err(ArrayError::ScoreType { .. })), "{other}");
        }
        assert!(matches!(Element::new("|O"), Err(ArrayError::Records)));
        for damaged in ["", "f4", "<f", "<fx", "<f0", "<f99999999999999999999"] {
            assert!(matches!(Element::new(damaged), Err(ArrayError::LabelType { .. })), "{damaged}");
        }
    }

    #[test]
    fn labels_are_0_and_1_or_0_and_255_in_any_type() {
        let read = |descr: &str, bytes: &[u8]| Labels::default().read(&Element::new(descr).unwrap(), bytes);
        assert_eq!(read("|b1", &[0, 1]).unwrap(), [0, 1]);
        assert_eq!(read("|u1", &[0, 255, 255]).unwrap(), [0, 1, 1]);
        assert_eq!(read("|i1", &[1, 0]).unwrap(), [1, 0]);
        assert_eq!(read(">i2", &[0, 255, 0, 0]).unwrap(), [1, 0]);
        assert_eq!(read("<i8", &255_i64.to_le_bytes()).unwrap(), [1]);
        assert_eq!(read("<f2", &f16::from_f32(255.0).to_le_bytes()).unwrap(), [1]);
        assert_eq!(read("<f8", &1.0_f64.to_le_bytes()).unwrap(), [1]);
        assert!(matches!(read("<c8", &[0; 8]), Err(ArrayError::LabelType { .. })));
        // -1 is not 255.
        assert!(matches!(read("|i1", &[255]), Err(ArrayError::Label { index: 0, .. })));
    }

    #[test]
    fn other_values_are_refused_by_name_across_parts() {
        let element = Element::new("|u1").unwrap();
        let mut labels = Labels::default();
        assert_eq!(labels.read(&element, &[0, 255, 0]).unwrap(), [0, 1, 0]);
        let error = labels.read(&element, &[0, 255, 1, 60, 200, 60]).unwrap_err();
        let text = "element 5: labels are 0 and 1, or 0 and 255, but there are 0, 1, 60, 200, 255";
        assert_eq!(error.to_string(), text);
        let nan = Labels::default().read(&Element::new("<f4").unwrap(), &f32::NAN.to_le_bytes());
        assert!(nan.unwrap_err().to_string().ends_with("there are NaN"));
    }
}
