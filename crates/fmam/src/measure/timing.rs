use std::time::Instant;

use crate::Error;

/// Median and minimum of the times of `n_repeats` runs of `work`, one run at least, in
/// milliseconds.
pub(crate) fn median_and_min_ms(
    n_repeats: usize,
    mut work: impl FnMut() -> Result<(), Error>,
) -> Result<(f64, f64), Error> {
    let n_repeats = n_repeats.max(1);
    let mut times = Vec::with_capacity(n_repeats);
    for _ in 0..n_repeats {
        let start = Instant::now();
        work()?;
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok((times[n_repeats / 2], times[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_as_often_as_asked_and_once_at_least() {
        for (n_repeats, expected) in [(0, 1), (1, 1), (4, 4)] {
            let mut n_runs = 0;
            let times = median_and_min_ms(n_repeats, || {
                n_runs += 1;
                Ok(())
            });
            let (median, min) = times.unwrap();
            assert_eq!(n_runs, expected);
            assert!(0.0 <= min && min <= median);
        }
    }

    #[test]
    fn the_first_fault_ends_the_runs() {
        let mut n_runs = 0;
        let result = median_and_min_ms(5, || {
            n_runs += 1;
            Err(Error::Cancelled)
        });
        assert!(matches!(result, Err(Error::Cancelled)));
        assert_eq!(n_runs, 1);
    }
}
