//! The smallest part of an input that still fails.

use anyhow::Result;

/// Trials of a shrinking, at most: each may start the program.
const MOST_TRIALS: usize = 80;

/// Takes parts of `items` away, halves first, as long as `fails` is true of the rest. Without
/// `items` nothing is tried.
pub(super) fn shrink<T: Clone>(items: Vec<T>, mut fails: impl FnMut(&[T]) -> Result<bool>) -> Result<Vec<T>> {
    let (mut left, mut trials) = (items, 0);
    let mut size = left.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < left.len() && left.len() > 1 {
            if trials == MOST_TRIALS {
                return Ok(left);
            }
            trials += 1;
            let end = (start + size).min(left.len());
            let rest = [&left[..start], &left[end..]].concat();
            if !rest.is_empty() && fails(&rest)? {
                left = rest;
            } else {
                start = end;
            }
        }
        size /= 2;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_goes_and_what_matters_stays() {
        let shrunk = |needed: &[usize]| {
            let items: Vec<usize> = (0..37).collect();
            shrink(items, |left| Ok(needed.iter().all(|item| left.contains(item)))).unwrap()
        };
        assert_eq!(shrunk(&[5]), [5]);
        assert_eq!(shrunk(&[0, 36]), [0, 36]);
        assert_eq!(shrunk(&[3, 4, 20]), [3, 4, 20]);
        assert_eq!(shrink(vec![1], |_| unreachable!()).unwrap(), [1]);
    }

    #[test]
    fn the_number_of_trials_is_bounded() {
        let mut trials = 0;
        let none = shrink((0..10_000).collect::<Vec<_>>(), |_| {
            trials += 1;
            Ok(false)
        });
        assert_eq!((none.unwrap().len(), trials), (10_000, MOST_TRIALS));
    }
}
