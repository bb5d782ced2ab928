/// Asserts `|actual - expected| <= abs + rel * |expected|` element by element. NaN is close to
/// nothing; infinities are close to themselves.
///
/// # Panics
/// Panics if the lengths differ or an element is too far: the message counts the misses and shows
/// the worst and the first.
#[track_caller]
pub fn assert_close(actual: &[f32], expected: &[f32], rel: f32, abs: f32) {
    assert_eq!(actual.len(), expected.len(), "actual and expected differ in length");
    let misses: Vec<(usize, f32)> = actual
        .iter()
        .zip(expected)
        .enumerate()
        .filter_map(|(index, (&a, &e))| {
            // The difference in tolerances; NaN, which sorts above all numbers, if it is undefined.
            let excess = (a - e).abs() / (abs + rel * e.abs());
            let close = a == e || (a - e).abs() <= abs + rel * e.abs() && e.is_finite();
            (!close).then_some((index, excess))
        })
        .collect();
    let Some(&(worst, _)) = misses.iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())) else {
        return;
    };
    let show = |index: usize| {
        let (a, e) = (actual[index], expected[index]);
        format!("[{index}] actual {a:e}, expected {e:e}, difference {:e}", a - e)
    };
    panic!(
        "{} of {} elements are not close (rel {rel:e}, abs {abs:e})\n  worst: {}\n  first: {}",
        misses.len(),
        actual.len(),
        show(worst),
        show(misses[0].0),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(actual: &[f32], expected: &[f32], rel: f32, abs: f32) -> String {
        let panic = std::panic::catch_unwind(|| assert_close(actual, expected, rel, abs)).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    }

    #[test]
    fn within_either_tolerance_is_close() {
        assert_close(&[], &[], 0.0, 0.0);
        assert_close(&[1.0, f32::INFINITY, 0.0], &[1.0, f32::INFINITY, -0.0], 0.0, 0.0);
        assert_close(&[101.0, 0.5], &[100.0, 0.0], 0.02, 0.5);
    }

    #[test]
    fn the_worst_and_the_first_miss_are_shown() {
        let text = message(&[1.1, 2.0, 5.0], &[1.0, 2.0, 3.0], 1e-3, 0.0);
        assert!(text.starts_with("2 of 3 elements"), "{text}");
        assert!(
            text.contains("worst: [2] actual 5e0, expected 3e0") && text.contains("first: [0]"),
            "{text}"
        );
    }

    #[test]
    fn nan_and_infinity_are_never_close_to_a_number() {
        for (a, e) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::NAN, f32::NAN), (1.0, f32::INFINITY)] {
            assert!(message(&[a], &[e], 1.0, 1.0).contains("1 of 1"));
        }
        assert!(message(&[1.0], &[1.0, 2.0], 0.0, 0.0).contains("length"));
    }
}
