//! The pixels of all maps by their scores, in memory or, beyond a memory budget, in sorted runs.
//! Both give the same steps to the last bit.

use std::fmt::Debug;
use std::io;

use crate::MetricError;
use crate::merge::{Entries, counted, in_order};
use crate::radix::Key;
use crate::runs::{OpenStream, Runs};

/// The pixels of one distinct score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) score: f64,
    /// Normal pixels of this score.
    pub(crate) normal: usize,
    /// Anomalous pixels of this score.
    pub(crate) anomalous: usize,
    /// Sum of the shares that the anomalous pixels have in their regions, in the order in which the
    /// pixels were added.
    pub(crate) shares: f64,
}

/// Steps by falling score, or the fault that ended them.
pub(crate) type Steps<'a> = Box<dyn Iterator<Item = Result<Step, MetricError>> + 'a>;

/// A source of steps, which can be walked more than once.
pub(crate) trait Ranked: Debug + Send + Sync {
    fn steps(&self) -> Steps<'_>;
}

/// Keys of normal pixels, and of anomalous pixels with the area of their region.
#[derive(Debug)]
pub(crate) struct Keys<K> {
    pub(crate) normal: Vec<K>,
    pub(crate) anomalous: Vec<(K, u32)>,
}

impl<K: Key> Keys<K> {
    /// Bytes of a normal pixel and of an anomalous one.
    pub(crate) const BYTES: [usize; 2] = [size_of::<K>(), size_of::<(K, u32)>()];

    pub(crate) fn new() -> Self {
        Self { normal: Vec::new(), anomalous: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.normal.is_empty() && self.anomalous.is_empty()
    }

    /// Bytes of the keys, without the buffer of the sort, which is as large at most.
    pub(crate) fn bytes(&self) -> usize {
        self.normal.len() * Self::BYTES[0] + self.anomalous.len() * Self::BYTES[1]
    }
}

/// Keys in memory, rising.
#[derive(Debug)]
pub(crate) struct InMemory<K>(Keys<K>);

impl<K: Key> InMemory<K> {
    pub(crate) fn new(mut keys: Keys<K>) -> Self {
        K::sort(&mut keys.normal, |&key| key);
        K::sort(&mut keys.anomalous, |&(key, _)| key);
        Self(keys)
    }
}

impl<K: Key> Ranked for InMemory<K> {
    fn steps(&self) -> Steps<'_> {
        let (mut normal, mut anomalous) = (&self.0.normal[..], &self.0.anomalous[..]);
        Box::new(std::iter::from_fn(move || {
            let key = normal.last().copied().max(anomalous.last().map(|&(key, _)| key))?;
            let n_normal = normal.iter().rev().take_while(|&&other| other == key).count();
            let n_anomalous = anomalous.iter().rev().take_while(|&&(other, _)| other == key).count();
            normal = &normal[..normal.len() - n_normal];
            let (rest, found) = anomalous.split_at(anomalous.len() - n_anomalous);
            anomalous = rest;
            let shares = found.iter().fold(0.0, |sum, &(_, area)| sum + share(area));
            Some(Ok(Step { score: key.score(), normal: n_normal, anomalous: n_anomalous, shares }))
        }))
    }
}

/// The share of a pixel in its region.
fn share(area: u32) -> f64 {
    1.0 / f64::from(area)
}

/// Sorted runs of both classes. The payload of a normal key is the number of its pixels, that of an
/// anomalous key the area of the pixel's region.
pub(crate) struct Spilled<K> {
    normal: Runs<K>,
    anomalous: Runs<K>,
}

impl<K: Key> Spilled<K> {
    pub(crate) fn new(open: &mut OpenStream) -> io::Result<Self> {
        Ok(Self { normal: Runs::new(open()?), anomalous: Runs::new(open()?) })
    }

    /// Sorts `keys`, writes them as a run of each class, and empties them. The runs of a class that
    /// has `max_runs` of them are merged into one, in a new stream: so the memory of the readers is
    /// bounded.
    pub(crate) fn append(
        &mut self,
        keys: &mut Keys<K>,
        open: &mut OpenStream,
        max_runs: usize,
    ) -> io::Result<()> {
        if !keys.normal.is_empty() {
            K::sort(&mut keys.normal, |&key| key);
            let groups = keys.normal.chunk_by(|a, b| a == b).rev();
            self.normal.append(groups.map(|group| Ok((group[0], group.len() as u64))))?;
            keys.normal.clear();
        }
        if !keys.anomalous.is_empty() {
            // By falling key; the sort is stable, so that equal keys stay as they were added.
            K::sort(&mut keys.anomalous, |&(key, _)| K::from_u64(!key.into()));
            self.anomalous.append(keys.anomalous.iter().map(|&(key, area)| Ok((key, u64::from(area)))))?;
            keys.anomalous.clear();
        }
        if self.normal.count() >= max_runs {
            let mut merged = Runs::new(open()?);
            merged.append(counted(&self.normal)?)?;
            self.normal = merged;
        }
        if self.anomalous.count() >= max_runs {
            let mut merged = Runs::new(open()?);
            merged.append(in_order(&self.anomalous)?)?;
            self.anomalous = merged;
        }
        Ok(())
    }
}

impl<K> Debug for Spilled<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spilled").finish_non_exhaustive()
    }
}

impl<K: Key> Ranked for Spilled<K> {
    fn steps(&self) -> Steps<'_> {
        let walks = counted(&self.normal).and_then(|normal| Ok((normal, in_order(&self.anomalous)?)));
        match walks {
            Ok((normal, anomalous)) => Box::new(SpilledSteps {
                normal: Walk::new(normal),
                anomalous: Walk::new(anomalous),
                is_over: false,
            }),
            Err(error) => Box::new(std::iter::once(Err(MetricError::spill(error)))),
        }
    }
}

struct SpilledSteps<'a, K> {
    normal: Walk<'a, K>,
    anomalous: Walk<'a, K>,
    is_over: bool,
}

impl<K: Key> SpilledSteps<'_, K> {
    fn step(&mut self) -> io::Result<Option<Step>> {
        let Some(key) = self.normal.key()?.max(self.anomalous.key()?) else { return Ok(None) };
        let mut step = Step { score: key.score(), normal: 0, anomalous: 0, shares: 0.0 };
        while let Some(count) = self.normal.take(key)? {
            step.normal += count as usize;
        }
        while let Some(area) = self.anomalous.take(key)? {
            step.anomalous += 1;
            step.shares += share(area as u32);
        }
        Ok(Some(step))
    }
}

impl<K: Key> Iterator for SpilledSteps<'_, K> {
    type Item = Result<Step, MetricError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let step = self.step().map_err(MetricError::spill).transpose();
        self.is_over = !matches!(step, Some(Ok(_)));
        step
    }
}

/// Entries of which the next one can be looked at.
struct Walk<'a, K> {
    entries: Entries<'a, K>,
    next: Option<io::Result<(K, u64)>>,
}

impl<'a, K: Key> Walk<'a, K> {
    fn new(mut entries: Entries<'a, K>) -> Self {
        let next = entries.next();
        Self { entries, next }
    }

    /// The key of the next entry.
    fn key(&mut self) -> io::Result<Option<K>> {
        match self.next.take() {
            Some(Ok(entry)) => {
                self.next = Some(Ok(entry));
                Ok(Some(entry.0))
            }
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }

    /// The payload of the next entry, if it has this key.
    fn take(&mut self, key: K) -> io::Result<Option<u64>> {
        match self.next {
            Some(Ok((other, payload))) if other == key => {
                self.next = self.entries.next();
                Ok(Some(payload))
            }
            _ => Ok(None),
        }
    }
}
