use fmam_core::{ImageSize, Mask};

/// Resizes a binary mask by area: a target pixel is anomalous where at least half of the area that
/// it covers is. All masks of data sets are resized like this.
///
/// The coverage is exact (integers), so a defect neither grows by its partial pixels nor depends on
/// a filter's width.
pub fn resize_mask(mask: &Mask, size: ImageSize) -> Mask {
    resize_where(mask, size, |covered, whole| 2 * covered >= whole && covered > 0)
}

/// Resizes a region: a target pixel is 1 where all of the area that it covers is.
pub(super) fn resize_region(region: &Mask, size: ImageSize) -> Mask {
    resize_where(region, size, |covered, whole| covered >= whole)
}

/// A target pixel is 1 where `is_in(covered, whole)` holds for the covered and the whole area.
///
/// Memory is that of the two masks and of one row: each target row sums its own source rows.
fn resize_where(mask: &Mask, size: ImageSize, is_in: impl Fn(u64, u64) -> bool) -> Mask {
    let from = mask.size();
    if from == size {
        return mask.clone();
    }
    let mut columns = vec![0_u64; size.width];
    let mut covered = vec![0_u64; size.width];
    // The source row whose column sums are in `columns`.
    let mut summed = usize::MAX;
    let whole = from.width as u64 * from.height as u64;
    let mut target = Vec::with_capacity(size.pixels());
    for y in 0..size.height {
        covered.fill(0);
        for (row, weight) in overlaps(y, from.height, size.height) {
            if summed != row {
                sum_columns(&mask.data()[row * from.width..][..from.width], &mut columns);
                summed = row;
            }
            for (sum, &column) in covered.iter_mut().zip(&columns) {
                *sum += weight * column;
            }
        }
        target.extend(covered.iter().map(|&covered| u8::from(is_in(covered, whole))));
    }
    // The length is that of `size` by construction.
    Mask::new(size, target).unwrap_or_else(|_| Mask::empty(size))
}

/// The anomalous width of a source row within each target column, in units of 1/`sums.len()` of a
/// source pixel.
fn sum_columns(row: &[u8], sums: &mut [u64]) {
    let to = sums.len();
    for (x, sum) in sums.iter_mut().enumerate() {
        let covered = overlaps(x, row.len(), to).map(|(column, weight)| weight * u64::from(row[column]));
        *sum = covered.sum();
    }
}

/// The cells among `from` source cells that the target cell `cell` of `to` touches, and how much of
/// each it covers, in units of 1/`to` of a source cell. The weights sum to `from`.
fn overlaps(cell: usize, from: usize, to: usize) -> impl Iterator<Item = (usize, u64)> {
    let (start, end) = (cell * from, (cell + 1) * from);
    (start / to..end.div_ceil(to))
        .map(move |source| (source, (end.min((source + 1) * to) - start.max(source * to)) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        Mask::from_fn(ImageSize::new(rows.len(), rows[0].len()), |y, x| rows[y].as_bytes()[x] == b'#')
    }

    fn check(from: &[&str], to: &[&str]) {
        let expected = mask(to);
        assert_eq!(resize_mask(&mask(from), expected.size()), expected);
    }

    #[test]
    fn a_pixel_is_anomalous_from_half_its_area() {
        check(&["#...", "...."], &[".."]);
        check(&["#...", ".#.."], &["#."]);
        check(&["#.##", "##.."], &["##"]);
    }

    #[test]
    fn a_source_pixel_is_shared_by_area_where_the_sizes_do_not_divide() {
        // Target pixels cover 1.5 source pixels: 1/1.5 of the first is anomalous, 0.5/1.5 of the
        // second.
        check(&["#.."], &["#."]);
        check(&[".#."], &[".."]);
        check(&["##."], &["#."]);
        check(&["##.", "##.", "..."], &["#.", ".."]);
    }

    #[test]
    fn enlarging_repeats_pixels_and_the_same_size_is_the_same() {
        check(&["#.", ".#"], &["##..", "##..", "..##", "..##"]);
        check(&["#.#"], &["#.#"]);
        check(&["#."], &["##."]);
    }

    #[test]
    fn agrees_with_a_direct_sum_over_fine_cells() {
        // Oracle: both grids cut into their common refinement, counted cell by cell.
        for (h, w, to_h, to_w) in [(7, 5, 3, 4), (4, 9, 6, 2), (5, 5, 5, 3), (3, 2, 8, 7)] {
            let source = Mask::from_fn(ImageSize::new(h, w), |y, x| (y * 31 + x * 17 + y * x) % 5 < 2);
            let to = ImageSize::new(to_h, to_w);
            let expected = Mask::from_fn(to, |y, x| {
                let mut covered = 0;
                for fine_y in y * h..(y + 1) * h {
                    for fine_x in x * w..(x + 1) * w {
                        covered += usize::from(source.at(fine_y / to_h, fine_x / to_w));
                    }
                }
                2 * covered >= h * w
            });
            assert_eq!(resize_mask(&source, to), expected, "{h}x{w} to {to}");
        }
    }

    #[test]
    fn a_region_keeps_only_pixels_that_lie_wholly_inside() {
        let region = |from: &[&str], to: &[&str]| {
            let expected = mask(to);
            assert_eq!(resize_region(&mask(from), expected.size()), expected);
        };
        region(&["##.#"], &["#."]);
        region(&["###", "###", "##."], &["##", "#."]);
        region(&["##."], &["#."]);
        region(&["#."], &["##.."]);
    }

    #[test]
    fn a_thin_mask_takes_no_memory_by_the_product_of_the_sides() {
        // A buffer of source rows by target columns would have 8 GB.
        let long = Mask::from_fn(ImageSize::new(4_000_000, 1), |y, _| y < 2_000_000);
        let resized = resize_mask(&long, ImageSize::square(256));
        assert_eq!(resized.area(), 128 * 256);
        let wide = Mask::from_fn(ImageSize::new(1, 4_000_000), |_, x| x < 2_000_000);
        assert_eq!(resize_mask(&wide, ImageSize::square(256)).area(), 128 * 256);
    }
}
