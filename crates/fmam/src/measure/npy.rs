//! Arrays from `.npy` files, read item by item along their first axis.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::element::Element;
use super::npy_header::Header;
use crate::Error;
use crate::array_error::ArrayError;

/// Bytes of the items that are read at once from a file in Fortran order, where an item is spread
/// over the file.
const GATHERED: usize = 128 << 20;

/// An open array: N items of equal shape.
pub(crate) struct ArrayFile {
    path: PathBuf,
    reader: BufReader<File>,
    element: Element,
    is_fortran: bool,
    shape: Vec<usize>,
    /// Bytes before the first element.
    start: u64,
    /// Bytes of an item.
    item_bytes: usize,
    /// Items that were read, or gathered.
    n_read: usize,
    /// In Fortran order, the bytes of the items that were gathered, and those that were given.
    gathered: Vec<u8>,
    n_given: usize,
    gathered_at_once: usize,
}

impl ArrayFile {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let open = || {
            let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
            let header = Header::read(&mut reader)?;
            let element = Element::new(&header.descr)?;
            let product =
                |sizes: &[usize]| sizes.iter().try_fold(element.size(), |n, &size| n.checked_mul(size));
            let bytes = product(&header.shape).ok_or(ArrayError::TooLarge)?;
            let item_bytes =
                product(header.shape.get(1..).unwrap_or_default()).ok_or(ArrayError::TooLarge)?;
            let metadata = reader.get_ref().metadata()?;
            let actual = metadata.len().saturating_sub(header.length);
            // A pipe has no length; it is read as far as it goes.
            if metadata.is_file() && actual < bytes as u64 {
                return Err(ArrayError::Cut { expected: bytes as u64, actual });
            }
            Ok(Self {
                path: path.to_owned(),
                reader,
                element,
                is_fortran: header.is_fortran,
                shape: header.shape,
                start: header.length,
                item_bytes,
                n_read: 0,
                gathered: Vec::new(),
                n_given: 0,
                gathered_at_once: GATHERED,
            })
        };
        open().map_err(|source| Error::Array { path: path.to_owned(), source })
    }

    /// The number of items and the sizes of an item.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Rows and columns of each item of an array of shape [N, H, W] or [N, 1, H, W].
    pub(crate) fn map_size(&self) -> Option<(usize, usize)> {
        match self.shape[..] {
            [_, height, width] | [_, 1, height, width] => Some((height, width)),
            _ => None,
        }
    }

    pub(crate) fn element(&self) -> &Element {
        &self.element
    }

    /// The bytes of all items of an array of one axis.
    pub(crate) fn numbers(&mut self) -> Result<Vec<u8>, Error> {
        let mut numbers = Vec::new();
        let n_bytes = self.item_bytes * self.shape.first().copied().unwrap_or(0);
        self.read(n_bytes, &mut numbers).map_err(|source| self.fault(source))?;
        Ok(numbers)
    }

    /// Reads the next item in C order into `item`.
    pub(crate) fn next_item(&mut self, item: &mut Vec<u8>) -> Result<(), Error> {
        let result = match self.map_size() {
            Some((height, width)) if self.is_fortran => self.next_gathered(height, width, item),
            _ => self.read(self.item_bytes, item),
        };
        result.map_err(|source| self.fault(source))
    }

    /// The fault of this file.
    pub(crate) fn fault(&self, source: ArrayError) -> Error {
        Error::Array { path: self.path.clone(), source }
    }

    fn read(&mut self, n_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), ArrayError> {
        bytes.clear();
        // Memory grows with the bytes that are there, not with those that a header announces.
        let n = (&mut self.reader).take(n_bytes as u64).read_to_end(bytes)?;
        if n < n_bytes {
            return Err(ArrayError::Cut { expected: n_bytes as u64, actual: n as u64 });
        }
        Ok(())
    }

    fn next_gathered(&mut self, height: usize, width: usize, item: &mut Vec<u8>) -> Result<(), ArrayError> {
        if self.n_given * self.item_bytes == self.gathered.len() {
            self.gather(height, width)?;
            self.n_given = 0;
        }
        item.clear();
        item.extend(&self.gathered[self.n_given * self.item_bytes..][..self.item_bytes]);
        self.n_given += 1;
        Ok(())
    }

    /// Reads items of a file in Fortran order, where the elements of all items at one position lie
    /// together. Items that take too much memory are gathered in several passes over the file.
    fn gather(&mut self, height: usize, width: usize) -> Result<(), ArrayError> {
        let (n_all, size) = (self.shape[0], self.element.size());
        let n_items = (self.gathered_at_once / self.item_bytes).clamp(1, n_all - self.n_read);
        self.gathered.resize(n_items * self.item_bytes, 0);
        let mut elements = vec![0; n_items * size];
        for x in 0..width {
            for y in 0..height {
                if n_items == n_all {
                    self.reader.read_exact(&mut elements)?;
                } else {
                    let element = self.n_read + n_all * (y + height * x);
                    // Without the reader's buffer, which would be filled for a few bytes of it.
                    let file = self.reader.get_mut();
                    file.seek(SeekFrom::Start(self.start + (element * size) as u64))?;
                    file.read_exact(&mut elements)?;
                }
                let at = size * (y * width + x);
                for (item, bytes) in elements.chunks_exact(size).enumerate() {
                    self.gathered[item * self.item_bytes + at..][..size].copy_from_slice(bytes);
                }
            }
        }
        self.n_read += n_items;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in Fortran order: `element * item` counted up in C order.
    fn fortran(shape: [usize; 3]) -> Vec<u8> {
        let [n, height, width] = shape;
        let text = format!("{{'descr': '<u2', 'fortran_order': True, 'shape': ({n}, 1, {height}, {width})}}");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.as_bytes());
        for x in 0..width {
            for y in 0..height {
                for item in 0..n {
                    file.extend((((item * height + y) * width + x) as u16).to_le_bytes());
                }
            }
        }
        file
    }

    #[test]
    fn items_of_a_file_in_fortran_order_are_gathered_in_any_number_of_passes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.npy");
        std::fs::write(&path, fortran([5, 3, 4])).unwrap();
        for items_at_once in [1, 2, 3, 5, 100] {
            let mut array = ArrayFile::open(&path).unwrap();
            array.gathered_at_once = items_at_once * 24;
            let (mut all, mut item) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                array.next_item(&mut item).unwrap();
                all.extend(item.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]])));
            }
            assert_eq!(all, (0..60).collect::<Vec<u16>>(), "{items_at_once} at once");
        }
    }
}
