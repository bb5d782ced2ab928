use fmam_core::{ImageSize, Mask};

/// Resizes a binary mask by area: a target pixel is anomalous where at least half of the area that
/// it covers is. All masks of data sets are resized like this.
///
/// The coverage is exact (integers), so a defect neither grows by its partial pixels nor depends on
/// a filter's width.
pub fn resize_mask(mask: &Mask, size: ImageSize) -> Mask {
    let from = mask.size();
    if from == size {
        return mask.clone();
    }
    let columns = overlaps(from.width, size.width);
    let rows = overlaps(from.height, size.height);
    // Anomalous width of each source row within each target column, in units of 1/size.width of a
    // source pixel.
    let mut by_column = vec![0_u64; from.height * size.width];
    for y in 0..from.height {
        let source = &mask.data()[y * from.width..][..from.width];
        for (x, (first, weights)) in columns.iter().enumerate() {
            by_column[y * size.width + x] =
                weights.iter().zip(&source[*first..]).map(|(w, &v)| w * u64::from(v)).sum();
        }
    }
    let whole = (from.width * from.height) as u64;
    Mask::from_fn(size, |y, x| {
        let (first, weights) = &rows[y];
        let covered: u64 =
            weights.iter().zip(*first..).map(|(w, row)| w * by_column[row * size.width + x]).sum();
        2 * covered >= whole && covered > 0
    })
}

/// For each of `to` target cells over `from` source cells: the first source cell that it touches,
/// and how much of it and its successors it covers, in units of 1/`to` of a source cell. The
/// weights of a target cell sum to `from`.
fn overlaps(from: usize, to: usize) -> Vec<(usize, Vec<u64>)> {
    (0..to)
        .map(|cell| {
            let (start, end) = (cell * from, (cell + 1) * from);
            let first = start / to;
            let weights = (first..end.div_ceil(to))
                .map(|source| (end.min((source + 1) * to) - start.max(source * to)) as u64)
                .collect();
            (first, weights)
        })
        .collect()
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
}
