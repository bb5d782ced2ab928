/// Ten evenly spaced colours of matplotlib's *inferno*: perceptually uniform, legible to
/// colour-blind readers and in grey print, dark where the score is low.
const INFERNO: [[u8; 3]; 10] = [
    [0x00, 0x00, 0x04],
    [0x1b, 0x0c, 0x42],
    [0x4b, 0x0c, 0x6b],
    [0x78, 0x1c, 0x6d],
    [0xa5, 0x2c, 0x60],
    [0xcf, 0x44, 0x46],
    [0xed, 0x69, 0x25],
    [0xfb, 0x9a, 0x06],
    [0xf7, 0xd0, 0x3c],
    [0xfc, 0xff, 0xa4],
];

/// Blue from dark to bright: no colour of [`INFERNO`] above its darkest, and none of an alarm.
const BLUE: [[u8; 3]; 4] = [[0x00, 0x02, 0x0e], [0x06, 0x28, 0x6e], [0x00, 0x78, 0xe6], [0x3c, 0xdc, 0xff]];

/// The colour of `value` in 0..=1 on the *inferno* scale, linear between ten of its colours. Values
/// outside are clamped; NaN has the lowest colour.
pub fn inferno(value: f32) -> [u8; 3] {
    between(&INFERNO, value)
}

/// The colour of `value` in 0..=1 on a blue scale, for scores without a calibration. Values outside
/// are clamped; NaN has the lowest colour.
pub(crate) fn blue(value: f32) -> [u8; 3] {
    between(&BLUE, value)
}

/// Linear between evenly spaced colours.
fn between<const N: usize>(colours: &[[u8; 3]; N], value: f32) -> [u8; 3] {
    let last = N - 1;
    // `max` turns NaN, which `clamp` lets through, into 0.
    let position = value.clamp(0.0, 1.0).max(0.0) * last as f32;
    let below = (position as usize).min(last - 1);
    mix(colours[below], colours[below + 1], position - below as f32)
}

/// `(1 - share) * a + share * b`, `share` in 0..=1.
pub(crate) fn mix(a: [u8; 3], b: [u8; 3], share: f32) -> [u8; 3] {
    std::array::from_fn(|c| (f32::from(a[c]) + share * (f32::from(b[c]) - f32::from(a[c]))).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_passes_through_its_colours_and_is_clamped() {
        for (index, &colour) in INFERNO.iter().enumerate() {
            assert_eq!(inferno(index as f32 / 9.0), colour);
        }
        assert_eq!(inferno(-3.0), INFERNO[0]);
        assert_eq!(inferno(f32::NAN), INFERNO[0]);
        assert_eq!(inferno(f32::INFINITY), INFERNO[9]);
    }

    #[test]
    fn both_scales_grow_brighter_all_along() {
        for scale in [inferno, blue] {
            let luminance = |step: u8| {
                let [r, g, b] = scale(f32::from(step) / 99.0).map(f32::from);
                0.2126 * r + 0.7152 * g + 0.0722 * b
            };
            for step in 0..99 {
                assert!(luminance(step) < luminance(step + 1), "{step}");
            }
        }
    }

    #[test]
    fn the_blue_scale_has_no_warm_colour() {
        for step in 0..=99_u8 {
            let [r, g, b] = blue(f32::from(step) / 99.0);
            assert!(r <= g && g < b, "{step}: {r} {g} {b}");
        }
    }
}
