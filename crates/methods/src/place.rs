//! The place of the pixels that a scorer judges: the tile of the image, and the pixels that count.

use std::collections::VecDeque;

use fmam_core::{ImageSize, Mask};

/// The place of an image within what was photographed, and its pixels that count.
///
/// ```
/// use fmam_core::{ImageSize, Mask};
/// use fmam_methods::Place;
///
/// // The left half counts, on a grid of two cells.
/// let inside = Mask::from_fn(ImageSize::new(4, 8), |_, x| x < 4);
/// let (grid, place) = (ImageSize::new(1, 2), Place { tile: 0, inside: Some(&inside) });
/// assert_eq!(place.cells(grid), Some(vec![true, false]));
/// assert_eq!(place.extended(vec![1.0, 9.0], grid), [1.0, 1.0]);
/// assert_eq!(Place::default().extended(vec![1.0, 9.0], grid), [1.0, 9.0]);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// The position of the tile among those of its image, row by row; 0 for a whole image.
    pub tile: usize,
    /// 1 for the pixels that count; `None` where all do.
    pub inside: Option<&'a Mask>,
}

impl Place<'_> {
    /// The cells of a grid over the image that count: those with at least half of their pixels
    /// inside, or, where there is no such cell, those with the largest share. `None` where all
    /// cells do.
    pub fn cells(&self, grid: ImageSize) -> Option<Vec<bool>> {
        self.inside.map(|inside| inside_cells(inside, grid))
    }

    /// `scores` of the cells of a grid, row by row, where each cell that does not count has the
    /// score of the nearest one that does: a blur then carries nothing in from outside.
    pub fn extended(&self, mut scores: Vec<f32>, grid: ImageSize) -> Vec<f32> {
        if let Some(cells) = self.cells(grid) {
            extend(&mut scores, &cells, grid.width);
        }
        scores
    }

    /// The mean of `scores` over the cells of a grid that count.
    pub(crate) fn mean(&self, scores: &[f32], grid: ImageSize) -> f32 {
        let Some(cells) = self.cells(grid) else {
            return scores.iter().sum::<f32>() / scores.len() as f32;
        };
        let counted = || scores.iter().zip(&cells).filter_map(|(score, counts)| counts.then_some(*score));
        counted().sum::<f32>() / counted().count() as f32
    }
}

/// See [`Place::cells`].
pub(crate) fn inside_cells(inside: &Mask, grid: ImageSize) -> Vec<bool> {
    let size = inside.size();
    let mut counts = vec![(0_u32, 0_u32); grid.pixels()];
    for (y, row) in inside.data().chunks_exact(size.width).enumerate() {
        let first = y * grid.height / size.height * grid.width;
        for (x, &value) in row.iter().enumerate() {
            let count = &mut counts[first + x * grid.width / size.width];
            count.0 += u32::from(value);
            count.1 += 1;
        }
    }
    let share = |&(inside, all): &(u32, u32)| f64::from(inside) / f64::from(all.max(1));
    let least = counts.iter().map(share).fold(0.0, f64::max).min(0.5);
    counts.iter().map(|count| count.0 > 0 && share(count) >= least).collect()
}

/// Gives each value of a grid of `width` columns that is not `known` that of the nearest known one,
/// by steps along rows and columns. Without a known one all stay as they are.
fn extend(values: &mut [f32], known: &[bool], width: usize) {
    let mut is_set = known.to_vec();
    let mut front: VecDeque<usize> = (0..values.len()).filter(|&at| known[at]).collect();
    while let Some(at) = front.pop_front() {
        let (y, x) = (at / width, at % width);
        let neighbours = [
            (y > 0).then(|| at - width),
            (x > 0).then(|| at - 1),
            (x + 1 < width).then_some(at + 1),
            ((y + 1) * width < values.len()).then_some(at + width),
        ];
        for next in neighbours.into_iter().flatten() {
            if !is_set[next] {
                (is_set[next], values[next]) = (true, values[at]);
                front.push_back(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_counts_with_half_of_its_pixels_and_some_cell_always_does() {
        let size = ImageSize::new(4, 6);
        let grid = ImageSize::new(2, 3);
        let half = Mask::from_fn(size, |y, x| y < 2 && x < 3);
        assert_eq!(inside_cells(&half, grid), [true, true, false, false, false, false]);
        // A region that is thinner than half a cell.
        let thin = Mask::from_fn(size, |y, x| y == 0 && x == 3);
        assert_eq!(inside_cells(&thin, grid), [false, true, false, false, false, false]);
        assert_eq!(inside_cells(&Mask::empty(size), grid), [false; 6]);
    }

    #[test]
    fn scores_outside_are_those_of_the_nearest_cell_inside() {
        let known = [true, false, false, false, false, true];
        let mut values = [1.0, 9.0, 9.0, 9.0, 9.0, 2.0];
        extend(&mut values, &known, 3);
        assert_eq!(values, [1.0, 1.0, 2.0, 1.0, 2.0, 2.0]);
        let mut none = [1.0, 2.0];
        extend(&mut none, &[false; 2], 2);
        assert_eq!(none, [1.0, 2.0]);
    }

    #[test]
    fn a_mean_is_over_the_cells_that_count() {
        let grid = ImageSize::new(1, 3);
        let inside = Mask::from_fn(grid, |_, x| x > 0);
        assert_eq!(Place { tile: 0, inside: Some(&inside) }.mean(&[9.0, 1.0, 2.0], grid), 1.5);
        assert_eq!(Place::default().mean(&[9.0, 1.0, 2.0], grid), 4.0);
    }
}
