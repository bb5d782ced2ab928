//! Edits of a file that keep most of it, so that a reader comes far.

use super::dice::Dice;

/// A change of a file. Places count modulo its length, so that an edit fits a file of any length,
/// and a list of edits any shorter list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Edit {
    Flip {
        place: usize,
        bit: u8,
    },
    Set {
        place: usize,
        value: u8,
    },
    /// A number of 2, 4 or 8 bytes in either order: a size or a place of a header.
    Number {
        place: usize,
        value: u64,
        bytes: usize,
        big_endian: bool,
    },
    Truncate {
        length: usize,
    },
    Remove {
        place: usize,
        length: usize,
    },
    Insert {
        place: usize,
        bytes: Vec<u8>,
    },
    /// The digits that come next in a text become another word.
    Word {
        place: usize,
        word: &'static str,
    },
    /// A line of a text comes twice, or is gone.
    Line {
        place: usize,
        twice: bool,
    },
}

const NUMBERS: [u64; 12] =
    [0, 1, 2, 0x7f, 0xff, 0x7fff, 0xffff, 0x0001_0000, 0x7fff_ffff, 0xffff_ffff, 1 << 40, u64::MAX];

const WORDS: [&str; 14] = [
    "nan",
    "inf",
    "-inf",
    "1e309",
    "-1",
    "0",
    "-0.0",
    "1e-320",
    "99999999999999999999",
    "1.5",
    "true",
    "''",
    "[]",
    "{}",
];

/// A few edits for `bytes`, of which a splice takes a part of `other`.
pub(super) fn edits(bytes: &[u8], other: &[u8], is_text: bool, dice: &mut Dice) -> Vec<Edit> {
    let count = 1 + dice.below(4) * dice.below(3);
    (0..count).map(|_| edit(bytes.len(), other, is_text, dice)).collect()
}

fn edit(length: usize, other: &[u8], is_text: bool, dice: &mut Dice) -> Edit {
    // Half of the edits are in the header.
    let place = if dice.below(2) == 0 { dice.below(length.min(96)) } else { dice.below(length) };
    match dice.below(if is_text { 12 } else { 8 }) {
        0 => Edit::Flip { place, bit: dice.below(8) as u8 },
        1 => Edit::Set { place, value: *dice.pick(&[0, 1, 0x20, 0x7f, 0x80, 0xff]) },
        2 | 3 => Edit::Number {
            place,
            value: *dice.pick(&NUMBERS),
            bytes: *dice.pick(&[2, 4, 8]),
            big_endian: dice.below(2) == 0,
        },
        4 => Edit::Truncate { length: dice.below(length) },
        5 => Edit::Remove { place, length: 1 + dice.below(64) },
        6 => Edit::Insert { place, bytes: vec![*dice.pick(&[0, 0xff, b'9', b'(']); 1 + dice.below(40)] },
        7 => {
            let from = dice.below(other.len());
            let end = (from + 1 + dice.below(64)).min(other.len());
            Edit::Insert { place, bytes: other[from..end].to_vec() }
        }
        8..=10 => {
            let word: &&str = dice.pick(&WORDS);
            Edit::Word { place: dice.below(length), word }
        }
        _ => Edit::Line { place: dice.below(length), twice: dice.below(2) == 0 },
    }
}

/// `bytes` after `edits`.
pub(super) fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    edits.iter().for_each(|edit| edit.apply(&mut bytes));
    bytes
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |place: &usize, bytes: &[u8]| place % bytes.len().max(1);
        match self {
            Self::Insert { place, bytes: new } => {
                let place = at(place, bytes);
                bytes.splice(place..place, new.iter().copied());
            }
            _ if bytes.is_empty() => {}
            Self::Flip { place, bit } => {
                let place = at(place, bytes);
                bytes[place] ^= 1_u8 << bit;
            }
            Self::Set { place, value } => {
                let place = at(place, bytes);
                bytes[place] = *value;
            }
            Self::Number { place, value, bytes: count, big_endian } => {
                let mut number = value.to_le_bytes()[..*count].to_vec();
                if *big_endian {
                    number.reverse();
                }
                let place = at(place, bytes);
                bytes[place..].iter_mut().zip(number).for_each(|(byte, new)| *byte = new);
            }
            Self::Truncate { length } => bytes.truncate(*length),
            Self::Remove { place, length } => {
                let place = at(place, bytes);
                bytes.drain(place..(place + length).min(bytes.len()));
            }
            Self::Word { place, word } => {
                let place = at(place, bytes);
                let is_digit = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
                let Some(start) = bytes[place..].iter().position(is_digit) else { return };
                let start = place + start;
                let length = bytes[start..].iter().take_while(|byte| is_digit(byte)).count();
                bytes.splice(start..start + length, word.bytes());
            }
            Self::Line { place, twice } => {
                let place = at(place, bytes);
                let start = bytes[..place].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                let end = bytes[place..].iter().position(|&byte| byte == b'\n');
                let end = end.map_or(bytes.len(), |at| place + at + 1);
                let line = bytes[start..end].to_vec();
                let kept = if *twice { [line.clone(), line].concat() } else { Vec::new() };
                bytes.splice(start..end, kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_those_of_the_seed_and_fit_a_file_of_any_length() {
        let file: Vec<u8> = (0..200).collect();
        let of = |seed| edits(&file, &file, true, &mut Dice::new(seed));
        assert_eq!(of(7), of(7));
        assert!((0..40).any(|seed| of(seed) != of(7)));
        let changed = (0..200).filter(|&seed| edited(&file, &of(seed)) != file).count();
        assert!(changed > 150, "{changed} of 200 lists of edits change the file");
        for seed in 0..500 {
            for length in [0, 1, 3, 200] {
                edited(&file[..length], &of(seed));
            }
        }
    }

    #[test]
    fn each_edit_does_what_it_says() {
        let after = |edit: Edit| String::from_utf8(edited(b"a = 12.5\nb = 3\n", &[edit])).unwrap();
        assert_eq!(after(Edit::Word { place: 0, word: "nan" }), "a = nan\nb = 3\n");
        assert_eq!(after(Edit::Line { place: 10, twice: false }), "a = 12.5\n");
        assert_eq!(after(Edit::Line { place: 10, twice: true }), "a = 12.5\nb = 3\nb = 3\n");
        assert_eq!(after(Edit::Truncate { length: 3 }), "a =");
        assert_eq!(after(Edit::Remove { place: 1, length: 7 }), "a\nb = 3\n");
        assert_eq!(after(Edit::Insert { place: 1, bytes: b"bc".to_vec() }), "abc = 12.5\nb = 3\n");
        assert_eq!(after(Edit::Flip { place: 0, bit: 1 }), "c = 12.5\nb = 3\n");
        assert_eq!(after(Edit::Set { place: 15, value: b'z' }), "z = 12.5\nb = 3\n");
        let number = Edit::Number { place: 0, value: 0x4142, bytes: 2, big_endian: true };
        assert_eq!(after(number), "AB= 12.5\nb = 3\n");
    }
}
