//! Sorted runs of entries in a stream: the keys that a memory budget has no room for.
//!
//! An entry is a key and a payload of at least 1. A run has its entries by falling key, so that it
//! is read in the order of the cuts. An entry is written as the difference to the key before it,
//! seven bits a byte, and as its payload where that is not 1: dense keys take a byte each.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::radix::Key;

/// Bytes that a reader of one run holds, and bytes that are written at once.
const BUFFER: usize = 1 << 16;

/// The longest entry: 6 and nine times 7 bits of the difference, ten times 7 of the payload.
const LONGEST: usize = 20;

/// In the first byte of an entry: further bytes of the difference follow.
const MORE: u8 = 1 << 7;
/// In the first byte of an entry: a payload follows. In all other bytes it is a bit of the number.
const PAYLOAD: u8 = 1 << 6;

/// A place that runs are written to and read back from.
pub(crate) trait SpillStream: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> SpillStream for T {}

/// Opens a new, empty stream.
pub(crate) type OpenStream = Box<dyn FnMut() -> io::Result<Box<dyn SpillStream>> + Send>;

/// Sorted runs, one after the other in one stream.
pub(crate) struct Runs<K> {
    stream: Mutex<Box<dyn SpillStream>>,
    /// The bytes of each run.
    places: Vec<Range<u64>>,
    key: PhantomData<K>,
}

impl<K: Key> Runs<K> {
    pub(crate) fn new(stream: Box<dyn SpillStream>) -> Self {
        Self { stream: Mutex::new(stream), places: Vec::new(), key: PhantomData }
    }

    /// Number of runs.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// Writes a run of `entries`, whose keys do not rise.
    pub(crate) fn append(&mut self, entries: impl Iterator<Item = io::Result<(K, u64)>>) -> io::Result<()> {
        let start = self.places.last().map_or(0, |place| place.end);
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        stream.seek(SeekFrom::Start(start))?;
        let (mut buffer, mut end, mut before) = (Vec::with_capacity(BUFFER + LONGEST), start, u64::MAX);
        for entry in entries {
            let (key, payload) = entry?;
            let key = key.into();
            write_entry(&mut buffer, before - key, payload);
            before = key;
            if buffer.len() >= BUFFER {
                stream.write_all(&buffer)?;
                end += buffer.len() as u64;
                buffer.clear();
            }
        }
        stream.write_all(&buffer)?;
        stream.flush()?;
        self.places.push(start..end + buffer.len() as u64);
        Ok(())
    }

    /// A reader of each run, at its first entry.
    pub(crate) fn readers(&self) -> io::Result<Vec<RunReader<'_, K>>> {
        let reader = |place: &Range<u64>| {
            let mut reader = RunReader {
                stream: &self.stream,
                rest: place.clone(),
                buffer: Vec::new(),
                position: 0,
                before: u64::MAX,
                entry: None,
            };
            reader.advance()?;
            Ok(reader)
        };
        self.places.iter().map(reader).collect()
    }
}

fn write_entry(buffer: &mut Vec<u8>, difference: u64, payload: u64) {
    let (low, rest) = (difference as u8 & 63, difference >> 6);
    let flags = if rest > 0 { MORE } else { 0 } | if payload == 1 { 0 } else { PAYLOAD };
    buffer.push(low | flags);
    if rest > 0 {
        write_number(buffer, rest);
    }
    if payload != 1 {
        write_number(buffer, payload);
    }
}

/// Writes 7 bits a byte, the lowest first; [`MORE`] marks a byte that another one follows.
fn write_number(buffer: &mut Vec<u8>, mut rest: u64) {
    while rest > 127 {
        buffer.push(rest as u8 | MORE);
        rest >>= 7;
    }
    buffer.push(rest as u8);
}

/// Reads one run. Readers of the same stream take turns.
pub(crate) struct RunReader<'a, K> {
    stream: &'a Mutex<Box<dyn SpillStream>>,
    /// The bytes of the run that are not in the buffer yet.
    rest: Range<u64>,
    buffer: Vec<u8>,
    /// The next byte of the buffer.
    position: usize,
    before: u64,
    entry: Option<(K, u64)>,
}

impl<K: Key> RunReader<'_, K> {
    /// The entry that the reader is at; `None` at the end.
    pub(crate) fn entry(&self) -> Option<(K, u64)> {
        self.entry
    }

    /// Goes to the next entry.
    pub(crate) fn advance(&mut self) -> io::Result<()> {
        if self.buffer.len() - self.position < LONGEST && !self.rest.is_empty() {
            self.fill()?;
        }
        let bytes = &self.buffer[self.position..];
        let Some(&first) = bytes.first() else {
            self.entry = None;
            return Ok(());
        };
        let (mut difference, mut used) = (u64::from(first & 63), 1);
        if first & MORE != 0 {
            difference |= read_number(bytes, &mut used)? << 6;
        }
        let payload = if first & PAYLOAD == 0 { 1 } else { read_number(bytes, &mut used)? };
        self.position += used;
        self.before = self.before.checked_sub(difference).ok_or_else(damaged)?;
        self.entry = Some((K::from_u64(self.before), payload));
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.position);
        self.position = 0;
        let kept = self.buffer.len();
        let n = (self.rest.end - self.rest.start).min((BUFFER - kept) as u64) as usize;
        self.buffer.resize(kept + n, 0);
        let mut stream: MutexGuard<'_, _> = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.seek(SeekFrom::Start(self.rest.start))?;
        stream.read_exact(&mut self.buffer[kept..])?;
        self.rest.start += n as u64;
        Ok(())
    }
}

fn read_number(bytes: &[u8], used: &mut usize) -> io::Result<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = *bytes.get(*used).ok_or_else(damaged)?;
        *used += 1;
        value |= u64::from(byte & 127) << shift;
        shift += 7;
        if byte & MORE == 0 {
            return Ok(value);
        }
        if shift > 63 {
            return Err(damaged());
        }
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "sorted scores were changed after they were written")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn read(runs: &Runs<u64>) -> Vec<Vec<(u64, u64)>> {
        let all = |mut reader: RunReader<'_, u64>| {
            let mut entries = Vec::new();
            while let Some(entry) = reader.entry() {
                entries.push(entry);
                reader.advance().unwrap();
            }
            entries
        };
        runs.readers().unwrap().into_iter().map(all).collect()
    }

    proptest! {
        #[test]
        fn runs_are_read_as_they_were_written(
            runs in prop::collection::vec(
                prop::collection::vec((prop_oneof![any::<u64>(), 0_u64..200], prop_oneof![Just(1), 1..=u64::MAX]), 0..40),
                0..5,
            ),
        ) {
            let mut written = Runs::new(Box::new(Cursor::new(Vec::new())));
            let mut expected = Vec::new();
            for mut run in runs {
                run.sort_by_key(|entry| std::cmp::Reverse(entry.0));
                written.append(run.iter().copied().map(Ok)).unwrap();
                expected.push(run);
            }
            prop_assert_eq!(read(&written), expected);
        }
    }

    #[test]
    fn a_run_larger_than_the_buffer_takes_a_byte_a_dense_key() {
        let entries: Vec<(u64, u64)> =
            (0..200_000).rev().map(|key| (u64::MAX - 1000 + key / 200, 1)).collect();
        let mut runs = Runs::new(Box::new(Cursor::new(Vec::new())));
        runs.append(entries.iter().copied().map(Ok)).unwrap();
        assert_eq!((runs.places.len(), runs.places[0].end), (1, 200_000));
        assert_eq!(read(&runs), [entries]);
    }

    #[test]
    fn a_stream_that_lost_bytes_is_an_error() {
        let mut runs = Runs::<u32>::new(Box::new(Cursor::new(Vec::new())));
        runs.append([Ok((70_000, 3)), Ok((5, 1))].into_iter()).unwrap();
        runs.stream = Mutex::new(Box::new(Cursor::new(vec![0; 3])));
        assert_eq!(runs.readers().err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
        runs.stream = Mutex::new(Box::new(Cursor::new(vec![255; 100])));
        assert_eq!(runs.readers().err().unwrap().kind(), io::ErrorKind::InvalidData);
    }
}
