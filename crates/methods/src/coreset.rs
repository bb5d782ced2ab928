//! A subset of vectors that lies close to all of them: the greedy solution of the k-centre problem (Gonzalez 1985; Sener and
//! Savarese 2018), as PatchCore thins its memory.

use rayon::prelude::*;

use crate::nearest::squared_distance;

/// Members of a cluster above which its distances are computed by several threads.
const PARALLEL: usize = 4096;

/// Picks `count` of `rows` of `width` values: `start` first, then again and again the one whose distance to those picked is
/// largest, the earliest of several. `tick` is told how many are picked, and stops the search by an error.
///
/// Exact, yet most distances are never computed: a vector that lies nearer to its centre than half the distance between that
/// and a new centre cannot be nearer to the new one.
pub(crate) fn greedy_k_centres<E>(
    rows: &[f32],
    width: usize,
    count: usize,
    start: usize,
    mut tick: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<usize>, E> {
    let n = rows.len() / width;
    let row = |index: usize| &rows[index * width..(index + 1) * width];
    let mut centres = vec![start];
    let mut clusters = vec![Cluster::new((0..n).collect(), rows, row(start))];
    tick(1)?;
    while centres.len() < count.min(n) {
        // The farthest of all; the lowest index where several are as far.
        let farthest = clusters.iter().filter_map(|cluster| cluster.farthest);
        let next = farthest.fold(None, |best: Option<Member>, member| match best {
            Some(best) if (best.squared, member.index) >= (member.squared, best.index) => Some(best),
            _ => Some(member),
        });
        let Some(next) = next else { break };
        let centre = row(next.index);
        let mut members = Vec::new();
        for (cluster, &other) in clusters.iter_mut().zip(&centres) {
            // A member can only be nearer to the new centre if it lies farther from its own than half the distance between
            // the two. Rounding of sums of this many terms errs on the safe side.
            let slack = 1.0 - 4.0 * (width + 16) as f32 * f32::EPSILON;
            let quarter = 0.25 * squared_distance(centre, row(other)) * slack;
            if cluster.farthest.is_some_and(|member| member.squared > quarter) {
                cluster.give(quarter, |index| squared_distance(centre, row(index)), &mut members);
            }
        }
        centres.push(next.index);
        clusters.push(Cluster::of(members));
        tick(centres.len())?;
    }
    Ok(centres)
}

/// A vector with its squared distance to the centre of its cluster.
#[derive(Debug, Clone, Copy)]
struct Member {
    index: usize,
    squared: f32,
}

/// The vectors that lie nearest to one centre.
struct Cluster {
    members: Vec<Member>,
    /// The one farthest from the centre, the earliest of several; `None` when all are at the centre itself.
    farthest: Option<Member>,
}

impl Cluster {
    fn new(indices: Vec<usize>, rows: &[f32], centre: &[f32]) -> Self {
        let width = centre.len();
        let member = |index: usize| Member {
            index,
            squared: squared_distance(centre, &rows[index * width..(index + 1) * width]),
        };
        Self::of(indices.into_par_iter().map(member).collect())
    }

    fn of(members: Vec<Member>) -> Self {
        let mut cluster = Self { members, farthest: None };
        cluster.find_farthest();
        cluster
    }

    fn find_farthest(&mut self) {
        let beyond = self.members.iter().filter(|member| member.squared > 0.0).copied();
        self.farthest = beyond.reduce(|best, member| {
            let is_farther =
                member.squared > best.squared || member.squared == best.squared && member.index < best.index;
            if is_farther { member } else { best }
        });
    }

    /// Moves the members that are nearer to a new centre, at `distance` from it, to `taken`. Those whose squared distance is
    /// not above `quarter` stay.
    fn give(&mut self, quarter: f32, distance: impl Fn(usize) -> f32 + Sync, taken: &mut Vec<Member>) {
        let to_new = |member: &Member| {
            if member.squared > quarter { distance(member.index) } else { f32::INFINITY }
        };
        let distances: Vec<f32> = if self.members.len() > PARALLEL {
            self.members.par_iter().map(to_new).collect()
        } else {
            self.members.iter().map(to_new).collect()
        };
        let mut distances = distances.into_iter();
        self.members.retain(|member| {
            let squared = distances.next().unwrap_or(f32::INFINITY);
            let stays = squared >= member.squared;
            if !stays {
                taken.push(Member { index: member.index, squared });
            }
            stays
        });
        self.find_farthest();
    }
}

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
