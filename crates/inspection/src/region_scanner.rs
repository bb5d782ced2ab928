//! Places above a threshold in a map that comes row by row.

use crate::Region;

/// Finds what [`regions`](crate::regions) finds, in a map whose rows come from top to bottom and
/// need not be in memory together. It holds a row of labels and the regions.
///
/// ```
/// use fmam_inspection::RegionScanner;
///
/// let mut scanner = RegionScanner::new(3, 1.0);
/// for row in [[0.0, 5.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 2.0]] {
///     scanner.push(&row);
/// }
/// let found = scanner.finish();
/// assert_eq!((found.len(), found[0].area, found[0].peak, found[0].mean), (2, 2, 5.0, 4.0));
/// assert_eq!((found[1].x, found[1].y), (2, 2));
/// ```
#[derive(Debug)]
pub struct RegionScanner {
    contour: f32,
    /// Pixels above the row to come.
    first_pixel: usize,
    /// The part of each pixel of the last row, one-based; 0 for a pixel at or below the threshold.
    labels: Vec<usize>,
    /// The parts that reach the last row.
    open: Vec<Part>,
    finished: Vec<Part>,
}

/// The pixels of a region so far.
#[derive(Debug, Clone)]
struct Part {
    /// Number of the first pixel, row by row.
    first: usize,
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
    area: usize,
    peak: f32,
    sum: f64,
}

impl RegionScanner {
    /// Finds the regions above `contour` in a map of `width` columns.
    pub fn new(width: usize, contour: f32) -> Self {
        Self { contour, first_pixel: 0, labels: vec![0; width], open: Vec::new(), finished: Vec::new() }
    }

    /// Takes in whole rows, one or more. Values behind the last whole row are left out.
    pub fn push(&mut self, rows: &[f32]) {
        if !self.labels.is_empty() {
            rows.chunks_exact(self.labels.len()).for_each(|row| self.push_row(row));
        }
    }

    fn push_row(&mut self, row: &[f32]) {
        let width = row.len();
        let y = self.first_pixel / width;
        let (above, mut labels) = (std::mem::take(&mut self.labels), vec![0; width]);
        let mut parts = std::mem::take(&mut self.open);
        // The part that each part belongs to; a part that belongs to itself is a whole.
        let mut owners: Vec<usize> = (0..parts.len()).collect();
        for (x, &score) in row.iter().enumerate() {
            if score <= self.contour || score.is_nan() {
                continue;
            }
            let before = if x > 0 { labels[x - 1] } else { 0 };
            let neighbours = above[x.saturating_sub(1)..(x + 2).min(width)].iter().copied().chain([before]);
            let mut own = None;
            for label in neighbours.filter(|label| *label > 0) {
                let found = owner(&mut owners, label - 1);
                own = Some(own.map_or(found, |own| join(&mut parts, &mut owners, own, found)));
            }
            let own = own.unwrap_or_else(|| {
                owners.push(parts.len());
                parts.push(Part::starting_at(self.first_pixel + x, y, x));
                parts.len() - 1
            });
            parts[own].add(y, x, score);
            labels[x] = own + 1;
        }
        // Parts that reach this row stay open, under new numbers.
        let mut numbers = vec![0; parts.len()];
        for label in labels.iter_mut().filter(|label| **label > 0) {
            let own = owner(&mut owners, *label - 1);
            if numbers[own] == 0 {
                self.open.push(parts[own].clone());
                numbers[own] = self.open.len();
            }
            *label = numbers[own];
        }
        for (at, part) in parts.into_iter().enumerate() {
            if owners[at] == at && numbers[at] == 0 {
                self.finished.push(part);
            }
        }
        self.labels = labels;
        self.first_pixel += width;
    }

    /// The regions in pixels of the map, the highest peak first; of equal peaks the upper left one.
    pub fn finish(mut self) -> Vec<Region> {
        self.finished.append(&mut self.open);
        self.finished.sort_by(|a, b| b.peak.total_cmp(&a.peak).then(a.first.cmp(&b.first)));
        self.finished.iter().map(Part::region).collect()
    }
}

/// The part that `part` belongs to in the end.
fn owner(owners: &mut [usize], mut part: usize) -> usize {
    while owners[part] != part {
        owners[part] = owners[owners[part]];
        part = owners[part];
    }
    part
}

/// Makes two parts one, and gives its number.
fn join(parts: &mut [Part], owners: &mut [usize], a: usize, b: usize) -> usize {
    if a == b {
        return a;
    }
    let other = parts[b].clone();
    parts[a].join(&other);
    owners[b] = a;
    a
}

impl Part {
    fn starting_at(first: usize, y: usize, x: usize) -> Self {
        let peak = f32::NEG_INFINITY;
        Self { first, left: x, right: x, top: y, bottom: y, area: 0, peak, sum: 0.0 }
    }

    fn add(&mut self, y: usize, x: usize, score: f32) {
        self.join(&Self {
            area: 1,
            peak: score,
            sum: f64::from(score),
            ..Self::starting_at(self.first, y, x)
        });
    }

    fn join(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        (self.left, self.right) = (self.left.min(other.left), self.right.max(other.right));
        (self.top, self.bottom) = (self.top.min(other.top), self.bottom.max(other.bottom));
        self.area += other.area;
        self.peak = self.peak.max(other.peak);
        self.sum += other.sum;
    }

    fn region(&self) -> Region {
        Region {
            x: self.left,
            y: self.top,
            width: self.right + 1 - self.left,
            height: self.bottom + 1 - self.top,
            area: self.area,
            peak: self.peak,
            mean: (self.sum / self.area as f64) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::{AnomalyMap, ImageSize};
    use proptest::prelude::*;

    use super::*;
    use crate::regions;

    fn scanned(map: &AnomalyMap, contour: f32, rows_at_once: usize) -> Vec<Region> {
        let width = map.size().width;
        let mut scanner = RegionScanner::new(width, contour);
        map.data().chunks(rows_at_once * width).for_each(|rows| scanner.push(rows));
        scanner.finish()
    }

    proptest! {
        /// Scores are whole numbers, whose sums have no rounding error in any order.
        #[test]
        fn regions_are_those_of_the_whole_map(
            width in 1_usize..18,
            scores in proptest::collection::vec(0_u8..5, 1..400),
            contour in 0_u8..5,
            rows_at_once in 1_usize..4,
        ) {
            let width = width.min(scores.len());
            let size = ImageSize::new(scores.len() / width, width);
            let data = scores[..size.pixels()].iter().map(|&score| f32::from(score)).collect();
            let map = AnomalyMap::new(size, data).unwrap();
            let contour = f32::from(contour) - 0.5;
            prop_assert_eq!(scanned(&map, contour, rows_at_once), regions(&map, contour, size));
        }
    }

    #[test]
    fn arms_that_meet_late_and_rows_without_columns_are_no_trouble() {
        let size = ImageSize::new(3, 7);
        let comb = |y: usize, x: usize| f32::from(u8::from(y == 2 || x.is_multiple_of(2)));
        let data = (0..21).map(|at| comb(at / 7, at % 7)).collect();
        let map = AnomalyMap::new(size, data).unwrap();
        let found = scanned(&map, 0.5, 1);
        assert_eq!((found.len(), found[0].area), (1, 15));
        let mut empty = RegionScanner::new(0, 1.0);
        empty.push(&[2.0]);
        assert!(empty.finish().is_empty());
    }
}
