//! The header of a `.npy` file. npyz is not used for it: a few bytes of nested brackets keep its
//! parser busy for hours, and a product of dimensions may overflow.
//!
//! # Source
//! NumPy Enhancement Proposal 1, *A Simple File Format for NumPy Arrays*, versions 1.0 to 3.0.

use std::io::{self, Read};

use crate::array_error::ArrayError;

/// Bytes of the longest header that is read; NumPy itself reads 10,000.
const LONGEST: usize = 1 << 16;

/// Bytes of the name of a type, at most; that of a type of numbers has three or four.
const LONGEST_DESCR: usize = 64;

/// The type, order and shape of an array.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The type of an element, such as `<f4`.
    pub(crate) descr: String,
    pub(crate) is_fortran: bool,
    pub(crate) shape: Vec<usize>,
    /// Bytes before the first element.
    pub(crate) length: u64,
}

impl Header {
    /// Reads a header, which leaves the reader at the first element.
    pub(crate) fn read(reader: &mut impl Read) -> Result<Self, ArrayError> {
        let mut start = [0; 8];
        fill(reader, &mut start)?;
        let mut size = [0; 4];
        let in_size = match start {
            [0x93, b'N', b'U', b'M', b'P', b'Y', 1, 0] => 2,
            [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, 0] => 4,
            _ => return Err(ArrayError::NotNpy),
        };
        fill(reader, &mut size[..in_size])?;
        let size = u32::from_le_bytes(size) as usize;
        if size > LONGEST {
            return Err(ArrayError::Header { at: LONGEST });
        }
        let mut text = vec![0; size];
        fill(reader, &mut text)?;
        let length = (start.len() + in_size + size) as u64;
        Parser { text: &text, at: 0 }.header(length)
    }
}

fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> Result<(), ArrayError> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ArrayError::NotNpy,
        _ => ArrayError::Io(error),
    })
}

/// Reads the text of a header: a Python dictionary of three entries.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn header(&mut self, length: u64) -> Result<Header, ArrayError> {
        let (mut descr, mut is_fortran, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.takes(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            match key.as_str() {
                "descr" if self.peek() == Some(b'[') => return Err(ArrayError::Records),
                // Of two values of a key one would be passed over, and readers differ in which.
                "descr" if descr.is_none() => descr = Some(self.descr()?),
                "fortran_order" if is_fortran.is_none() => is_fortran = Some(self.boolean()?),
                "shape" if shape.is_none() => shape = Some(self.shape()?),
                _ => return Err(self.damaged()),
            }
            if !self.takes(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        if self.peek().is_some() {
            return Err(self.damaged());
        }
        match (descr, is_fortran, shape) {
            (Some(descr), Some(is_fortran), Some(shape)) => Ok(Header { descr, is_fortran, shape, length }),
            _ => Err(self.damaged()),
        }
    }

    fn damaged(&self) -> ArrayError {
        ArrayError::Header { at: self.at }
    }

    /// The next character that is no blank.
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// True if the next character is this one, which is then read.
    fn takes(&mut self, character: u8) -> bool {
        let is_there = self.peek() == Some(character);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, character: u8) -> Result<(), ArrayError> {
        if self.takes(character) { Ok(()) } else { Err(self.damaged()) }
    }

    fn string(&mut self) -> Result<String, ArrayError> {
        let quote = self.peek().filter(|quote| b"'\"".contains(quote)).ok_or_else(|| self.damaged())?;
        let rest = &self.text[self.at + 1..];
        let end = rest.iter().position(|&byte| byte == quote).ok_or_else(|| self.damaged())?;
        let text = str::from_utf8(&rest[..end]).map_err(|_| self.damaged())?;
        self.at += end + 2;
        Ok(text.to_owned())
    }

    fn descr(&mut self) -> Result<String, ArrayError> {
        let descr = self.string()?;
        if descr.len() <= LONGEST_DESCR { Ok(descr) } else { Err(self.damaged()) }
    }

    fn boolean(&mut self) -> Result<bool, ArrayError> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    fn shape(&mut self) -> Result<Vec<usize>, ArrayError> {
        let mut shape = Vec::new();
        self.expect(b'(')?;
        while !self.takes(b')') {
            let mut size = None;
            self.peek();
            while let Some(digit) = self.text.get(self.at).filter(|byte| byte.is_ascii_digit()) {
                let digit = usize::from(digit - b'0');
                let longer = size.unwrap_or(0_usize).checked_mul(10).and_then(|size| size.checked_add(digit));
                size = Some(longer.ok_or(ArrayError::TooLarge)?);
                self.at += 1;
            }
            shape.push(size.ok_or_else(|| self.damaged())?);
            // Python 2 wrote long numbers with a letter.
            self.takes(b'L');
            if !self.takes(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, text: &str) -> Vec<u8> {
        let mut file = [&b"\x93NUMPY"[..], &[version, 0]].concat();
        match version {
            1 => file.extend((text.len() as u16).to_le_bytes()),
            _ => file.extend((text.len() as u32).to_le_bytes()),
        }
        file.extend(text.as_bytes());
        file
    }

    fn read(version: u8, text: &str) -> Result<Header, ArrayError> {
        Header::read(&mut &file(version, text)[..])
    }

    #[test]
    fn headers_of_all_versions_are_read() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), }          \n";
        for (version, before) in [(1, 10), (2, 12), (3, 12)] {
            let header = read(version, text).unwrap();
            assert_eq!((header.descr.as_str(), header.is_fortran), ("<f4", false));
            assert_eq!((header.shape, header.length), (vec![2, 3, 4], before + text.len() as u64));
        }
        let header = read(1, "{\"shape\":(7L,),\"fortran_order\":True,\"descr\":\">f8\"}").unwrap();
        assert_eq!((header.shape, header.is_fortran), (vec![7], true));
        let header = read(1, "{'descr': '|b1', 'fortran_order': False, 'shape': ()}").unwrap();
        assert!(header.shape.is_empty());
    }

    #[test]
    fn damaged_headers_end_at_once_and_take_no_memory() {
        let damaged = |text: &str| read(1, text).unwrap_err();
        assert!(matches!(damaged("((((((((((((((((((((((((((((((((("), ArrayError::Header { at: 0 }));
        assert!(matches!(damaged("{'shape': (((((((((((((((((((((((("), ArrayError::Header { .. }));
        assert!(matches!(damaged("{'descr': [('a', '<f4')]"), ArrayError::Records));
        for text in
            ["", "{}", "{'descr'", "{'descr': '<f4", "{'descr': '<f4'}", "{'shape': (-1,)}", "{'x': 1}"]
        {
            assert!(matches!(damaged(text), ArrayError::Header { .. }), "{text}");
        }
        let twice = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), ";
        for again in ["'descr': '<f8'}", "'fortran_order': True}", "'shape': (2,)}", "'shape': (1,)}"] {
            assert!(matches!(damaged(&format!("{twice}{again}")), ArrayError::Header { .. }), "{again}");
        }
        let long = format!("{{'descr': '{}', 'fortran_order': False, 'shape': (1,)}}", "<f4".repeat(20_000));
        assert!(matches!(damaged(&long), ArrayError::Header { .. }));
        let trailing = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x";
        assert!(matches!(damaged(trailing), ArrayError::Header { at: 56 }));
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}";
        assert!(matches!(damaged(huge), ArrayError::TooLarge));
        // Four gigabytes of header are announced.
        let announced = b"\x93NUMPY\x02\x00\xff\xff\xff\xff";
        assert!(matches!(Header::read(&mut &announced[..]), Err(ArrayError::Header { .. })));
        for cut in [0, 5, 9, 20] {
            let whole = file(1, trailing);
            assert!(matches!(Header::read(&mut &whole[..cut]), Err(ArrayError::NotNpy)), "{cut}");
        }
        assert!(matches!(Header::read(&mut &b"\x93NUMPY\x09\x00..."[..]), Err(ArrayError::NotNpy)));
    }
}
