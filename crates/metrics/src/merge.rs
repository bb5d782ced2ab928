//! The entries of sorted runs in one order, from the highest key down.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;

use crate::radix::Key;
use crate::runs::{RunReader, Runs};

/// Keys that are counted together: 2 MiB of counts, which a processor's cache holds.
const WINDOW: usize = 1 << 18;

/// Entries in order, or the fault that ended them.
pub(crate) type Entries<'a, K> = Box<dyn Iterator<Item = io::Result<(K, u64)>> + 'a>;

/// All entries of `runs`, keys falling. Of equal keys those of earlier runs come first, and those
/// of one run in its order.
pub(crate) fn in_order<K: Key>(runs: &Runs<K>) -> io::Result<Entries<'_, K>> {
    Ok(Box::new(HeapMerge::new(runs.readers()?)))
}

/// The keys of `runs`, falling, each with the sum of its payloads.
pub(crate) fn counted<K: Key>(runs: &Runs<K>) -> io::Result<Entries<'_, K>> {
    if K::IS_SHORT {
        return Ok(Box::new(WindowMerge::new(runs.readers()?)));
    }
    let mut entries = HeapMerge::new(runs.readers()?);
    let mut next = entries.next();
    Ok(Box::new(std::iter::from_fn(move || {
        let (key, mut count) = match next.take()? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        next = entries.next();
        while let Some(Ok((other, more))) = next
            && other == key
        {
            count += more;
            next = entries.next();
        }
        Some(Ok((key, count)))
    })))
}

struct HeapMerge<'a, K> {
    readers: Vec<RunReader<'a, K>>,
    /// The current key of every run that has one.
    heap: BinaryHeap<(K, Reverse<usize>)>,
}

impl<'a, K: Key> HeapMerge<'a, K> {
    fn new(readers: Vec<RunReader<'a, K>>) -> Self {
        let keys = readers.iter().enumerate();
        let heap = keys.filter_map(|(run, reader)| Some((reader.entry()?.0, Reverse(run)))).collect();
        Self { readers, heap }
    }
}

impl<K: Key> Iterator for HeapMerge<'_, K> {
    type Item = io::Result<(K, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut top = self.heap.peek_mut()?;
        let reader = &mut self.readers[top.1.0];
        let entry = reader.entry()?;
        if let Err(error) = reader.advance() {
            return Some(Err(error));
        }
        match reader.entry() {
            Some((key, _)) => top.0 = key,
            None => drop(PeekMut::pop(top)),
        }
        Some(Ok(entry))
    }
}

/// Adds up the payloads key by key in windows of neighbouring keys. This needs no comparison: a run
/// is read on as far as the window reaches.
struct WindowMerge<'a, K> {
    readers: Vec<RunReader<'a, K>>,
    /// The sum of payloads of each key of the window; 0 above `next`.
    counts: Vec<u64>,
    /// The first key of the window.
    base: u64,
    /// Keys of the window that were not given yet.
    next: usize,
}

impl<'a, K: Key> WindowMerge<'a, K> {
    fn new(readers: Vec<RunReader<'a, K>>) -> Self {
        Self { readers, counts: vec![0; WINDOW], base: 0, next: 0 }
    }

    /// Fills the window that ends with the highest key; false where there is none.
    fn fill(&mut self) -> io::Result<bool> {
        let highest = self.readers.iter().filter_map(|reader| reader.entry()).map(|entry| entry.0).max();
        let Some(highest) = highest.map(Into::<u64>::into) else { return Ok(false) };
        self.base = (highest + 1).saturating_sub(WINDOW as u64);
        self.next = (highest - self.base) as usize + 1;
        for reader in &mut self.readers {
            while let Some((key, payload)) = reader.entry() {
                let key: u64 = key.into();
                if key < self.base {
                    break;
                }
                self.counts[(key - self.base) as usize] += payload;
                reader.advance()?;
            }
        }
        Ok(true)
    }
}

impl<K: Key> Iterator for WindowMerge<'_, K> {
    type Item = io::Result<(K, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while self.next > 0 {
                self.next -= 1;
                let count = std::mem::take(&mut self.counts[self.next]);
                if count > 0 {
                    return Some(Ok((K::from_u64(self.base + self.next as u64), count)));
                }
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn runs<K: Key>(entries: &[Vec<(K, u64)>]) -> Runs<K> {
        let mut runs = Runs::new(Box::new(Cursor::new(Vec::new())));
        for run in entries {
            runs.append(run.iter().copied().map(Ok)).unwrap();
        }
        runs
    }

    fn collect<K: Key>(entries: Entries<'_, K>) -> Vec<(K, u64)> {
        entries.collect::<io::Result<_>>().unwrap()
    }

    proptest! {
        #[test]
        fn runs_merge_as_one_stable_sort_and_both_counts_agree(
            entries in prop::collection::vec(
                prop::collection::vec((prop_oneof![any::<u32>(), 0_u32..9, Just(u32::MAX)], 1_u64..500), 0..30),
                0..7,
            ),
        ) {
            let mut short = entries;
            for run in &mut short {
                run.sort_by_key(|entry| std::cmp::Reverse(entry.0));
            }
            let mut expected: Vec<(u32, u64)> = short.concat();
            expected.sort_by_key(|entry| std::cmp::Reverse(entry.0));
            let with_short = runs(&short);
            prop_assert_eq!(&collect(in_order(&with_short).unwrap()), &expected);

            let mut counts: Vec<(u32, u64)> = Vec::new();
            for (key, payload) in expected {
                match counts.last_mut() {
                    Some(last) if last.0 == key => last.1 += payload,
                    _ => counts.push((key, payload)),
                }
            }
            prop_assert_eq!(&collect(counted(&with_short).unwrap()), &counts);
            let long: Vec<Vec<(u64, u64)>> =
                short.iter().map(|run| run.iter().map(|&(key, n)| (u64::from(key), n)).collect()).collect();
            let counts: Vec<(u64, u64)> = counts.into_iter().map(|(key, n)| (u64::from(key), n)).collect();
            prop_assert_eq!(&collect(counted(&runs(&long)).unwrap()), &counts);
        }
    }
}
