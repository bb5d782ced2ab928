//! Ground-truth regions: the 8-connected components of a mask.

/// The regions of one mask.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Regions {
    /// The position of every pixel of a region, and the number of pixels of that region; in the
    /// order of positions.
    pub(crate) areas: Vec<(usize, u32)>,
    /// Number of regions.
    pub(crate) count: usize,
}

/// Finds the regions of a mask of `width` columns, whose length is a multiple of it: pixels that
/// are not 0 and touch, along a side or at a corner, belong together.
pub(crate) fn regions(mask: &[u8], width: usize) -> Regions {
    let components = components(mask, width);
    let of_region = |pixels: &Vec<usize>| {
        let area = pixels.len() as u32;
        pixels.iter().map(|&pixel| (pixel, area)).collect::<Vec<_>>()
    };
    let mut areas: Vec<(usize, u32)> = components.iter().flat_map(of_region).collect();
    areas.sort_unstable();
    Regions { areas, count: components.len() }
}

/// The 8-connected components of a mask of `width` columns, row-major, whose length is a multiple
/// of `width`: the positions of the pixels of each, which are not 0. The components are in the
/// order of their first pixels.
pub fn components(mask: &[u8], width: usize) -> Vec<Vec<usize>> {
    let height = mask.len().checked_div(width).unwrap_or(0);
    let mut is_found = vec![false; mask.len()];
    let mut components = Vec::new();
    for start in 0..mask.len() {
        if mask[start] == 0 || is_found[start] {
            continue;
        }
        let mut members = vec![start];
        is_found[start] = true;
        let mut next = 0;
        while let Some(&member) = members.get(next) {
            next += 1;
            let (y, x) = (member / width, member % width);
            for ny in y.saturating_sub(1)..height.min(y + 2) {
                for nx in x.saturating_sub(1)..width.min(x + 2) {
                    let index = ny * width + nx;
                    if mask[index] != 0 && !is_found[index] {
                        is_found[index] = true;
                        members.push(index);
                    }
                }
            }
        }
        components.push(members);
    }
    components
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws the mask as rows of `#` and `.`, the areas as rows of hexadecimal digits.
    fn check(mask: &[&str], areas: &[&str], count: usize) {
        let width = mask.first().map_or(0, |row| row.len());
        let mask: Vec<u8> = mask.concat().bytes().map(|c| u8::from(c == b'#')).collect();
        let digits = areas.concat();
        let areas = digits.chars().map(|digit| digit.to_digit(16).unwrap()).enumerate();
        let areas = areas.filter(|(_, area)| *area > 0).collect();
        assert_eq!(regions(&mask, width), Regions { areas, count });
    }

    #[test]
    fn corners_connect() {
        check(&["#..", ".#.", "..#"], &["300", "030", "003"], 1);
        check(&["..#", ".#.", "#.."], &["003", "030", "300"], 1);
    }

    #[test]
    fn a_gap_of_one_pixel_separates() {
        check(&["##.#", "...#", "#..."], &["2202", "0002", "1000"], 3);
    }

    #[test]
    fn rows_do_not_wrap_around() {
        check(&["..#", "#.."], &["001", "100"], 2);
        check(&["..#", "...", "#.."], &["001", "000", "100"], 2);
    }

    #[test]
    fn arms_that_meet_late_are_one_region() {
        check(&["#.#.#", "#.#.#", "#####"], &["b0b0b", "b0b0b", "bbbbb"], 1);
    }

    #[test]
    fn a_ring_and_what_it_surrounds_are_two() {
        check(
            &[".###.", "#...#", "#.#.#", "#...#", ".###."],
            &["0ccc0", "c000c", "c010c", "c000c", "0ccc0"],
            2,
        );
    }

    #[test]
    fn all_and_nothing() {
        check(&["##", "##"], &["44", "44"], 1);
        check(&["..", ".."], &["00", "00"], 0);
        check(&[], &[], 0);
    }
}
