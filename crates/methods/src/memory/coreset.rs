//! A subset of vectors that lies close to all of them: the greedy solution of the k-centre problem
//! (Gonzalez 1985; Sener and Savarese 2018), as PatchCore thins its memory.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use crate::memory::distance::{nearer, squared_distance};

/// Distances above which several threads compute them.
const PARALLEL: usize = 4096;

/// Candidates that are brought up to date at once, at most.
const MAX_BLOCK: usize = 1024;

/// Picks `count` of `rows` of `width` values: `start` first, then again and again the one whose
/// distance to those picked is largest, the earliest of several. `tick` is told how many are
/// picked, and stops the search by an error.
///
/// Exact, yet most distances are never computed. The distance of a vector to those picked only
/// falls, so what it was a while ago is a bound, and only vectors whose bound is above the largest
/// true distance are brought up to date: one in a dense region is soon nearer than any that will be
/// picked, and is never looked at again. A single distance is given up as soon as its first
/// coordinates alone exceed the bound, so let those be the ones that differ most.
pub(crate) fn greedy_k_centres<E>(
    rows: &[f32],
    width: usize,
    count: usize,
    start: usize,
    mut tick: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<usize>, E> {
    let n = rows.len() / width;
    let row = |index: usize| &rows[index * width..(index + 1) * width];
    let mut picked = vec![start];
    // The picked vectors one behind the other.
    let mut centres = row(start).to_vec();
    let first = |index| Candidate { squared: squared_distance(row(index), row(start)), index, seen: 1 };
    let mut queue: BinaryHeap<Candidate> = (0..n).into_par_iter().map(first).collect::<Vec<_>>().into();
    let (mut block, mut current) = (Vec::new(), Vec::new());
    tick(1)?;
    while picked.len() < count.min(n) {
        let mut farthest: Option<Candidate> = None;
        let mut size = 1;
        loop {
            while block.len() < size
                && let Some(top) = queue.peek()
                && farthest.is_none_or(|farthest| *top > farthest)
            {
                block.extend(queue.pop());
            }
            if block.is_empty() {
                break;
            }
            let update = |candidate: &mut Candidate| candidate.see(row(candidate.index), &centres);
            if block.iter().map(|candidate| picked.len() - candidate.seen).sum::<usize>() > PARALLEL {
                block.par_iter_mut().for_each(update);
            } else {
                block.iter_mut().for_each(update);
            }
            farthest = farthest.max(block.iter().max().copied());
            current.append(&mut block);
            size = MAX_BLOCK.min(2 * size);
        }
        let Some(farthest) = farthest.filter(|farthest| farthest.squared > 0.0) else { break };
        queue.extend(current.drain(..).filter(|candidate| candidate.index != farthest.index));
        picked.push(farthest.index);
        centres.extend(row(farthest.index));
        tick(picked.len())?;
    }
    Ok(picked)
}

/// A vector with its squared distance to the nearest of the first `seen` centres, a bound for that
/// to all centres. The greatest is the farthest, the earliest of several.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    squared: f32,
    index: usize,
    seen: usize,
}

impl Candidate {
    /// Brings the distance of this candidate, whose values are `row`, up to date with all
    /// `centres`.
    fn see(&mut self, row: &[f32], centres: &[f32]) {
        let width = row.len();
        self.squared = nearer(row, &centres[self.seen * width..], self.squared);
        self.seen = centres.len() / width;
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.squared.total_cmp(&other.squared).then(other.index.cmp(&self.index))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use fmam_core::Seed;
    use rand::Rng;

    use super::*;

    fn pick(rows: &[f32], width: usize, count: usize, start: usize) -> Vec<usize> {
        greedy_k_centres(rows, width, count, start, |_| Ok::<_, Infallible>(())).unwrap()
    }

    /// The definition, by all distances.
    fn by_definition(rows: &[f32], width: usize, count: usize, start: usize) -> Vec<usize> {
        let row = |i: usize| &rows[i * width..(i + 1) * width];
        let mut picked = vec![start];
        while picked.len() < count {
            let gap = |i: usize| {
                picked.iter().map(|&c| squared_distance(row(i), row(c))).fold(f32::INFINITY, f32::min)
            };
            let mut best = (0, f32::NEG_INFINITY);
            for i in 0..rows.len() / width {
                if gap(i) > best.1 {
                    best = (i, gap(i));
                }
            }
            picked.push(best.0);
        }
        picked
    }

    #[test]
    fn the_picks_are_those_of_the_definition() {
        let mut rng = Seed::new(4).rng();
        let rows: Vec<f32> = (0..900 * 3).map(|_| rng.random::<f32>().powi(3)).collect();
        assert_eq!(pick(&rows, 3, 60, 17), by_definition(&rows, 3, 60, 17));
    }

    #[test]
    fn ties_and_copies_are_settled_alike_on_any_number_of_threads() {
        let mut rng = Seed::new(5).rng();
        // On a coarse grid: many vectors are as far, and some are the same.
        let (n, width, count) = (3000, 40, 150);
        let rows: Vec<f32> = (0..n * width)
            .map(|k| if k % width < 6 { rng.random_range(0..3) as f32 } else { (k / width % 2) as f32 })
            .collect();
        let expected = by_definition(&rows, width, count, 3);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| pick(&rows, width, count, 3)), expected, "{threads} threads");
        }
    }

    #[test]
    fn on_a_line_the_far_end_comes_first() {
        let line: Vec<f32> = (0..9).map(|v| v as f32).collect();
        assert_eq!(pick(&line, 1, 3, 0), [0, 8, 4]);
    }

    #[test]
    fn copies_are_not_picked_twice() {
        assert_eq!(pick(&[1.0, 1.0, 2.0, 2.0], 1, 4, 0), [0, 2]);
    }

    #[test]
    fn an_error_of_the_caller_stops_it() {
        let stop = |n| if n == 2 { Err("stop") } else { Ok(()) };
        assert_eq!(greedy_k_centres(&[0.0, 1.0, 2.0], 1, 3, 0, stop), Err("stop"));
    }
}
