//! The looks of the training images, and warnings for an image that looks different.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::{Limits, rate_of_a_side};
use crate::thumbnail::Thumbnail;
use crate::{InspectionError, Look, Trait, Warning};

/// The looks of the images that a detector learnt from: the range and the limits of each
/// [`Trait`], and the mean image as a thumbnail.
///
/// An image is outside of what was shown if a trait lies beyond its range, extended by a margin on
/// each side. The margin aims at a warning for 0.5 % of good images of the same source, over all
/// traits together. It extrapolates the tail of the training images by an exponential, and is wider
/// where fewer images say less about the tail; below about 10 images it is very wide, and good
/// images warn more often all the same where a trait has a heavy tail. Each trait has a least
/// margin, so that training images that hardly differ, such as renders, do not warn at one grey
/// level. The size is the exception: training images of one size make every other size a warning.
///
/// The range of the position is that of the correlations of each training image with the mean of
/// the *others*. Products that lie in any orientation correlate weakly with their mean, and so the
/// limit is low for them; where every image shows the product in the same place, it is high.
///
/// [`Series`](crate::Series) finds changes that leave every image within these limits. The source
/// of `limits.rs` has the formula and its reasons.
///
/// ```
/// use fmam_core::{ImageSize, RgbImage};
/// use fmam_inspection::{Look, Profile};
///
/// let photograph = |grey: u8| RgbImage::filled(ImageSize::square(64), [grey; 3]);
/// let looks: Vec<Look> = (0..50).map(|k| Look::of(&photograph(190 + k % 8), None)).collect();
/// let profile = Profile::of(&looks).expect("there are images");
///
/// assert!(profile.warnings(&Look::of(&photograph(188), None)).is_empty());
/// let warnings = profile.warnings(&Look::of(&photograph(150), None));
/// assert_eq!(
///     warnings[0].to_string(),
///     "darker than every training image: 150 against 190 to 197 (the exposure or the light?)"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Profile {
    n_images: usize,
    mean: Thumbnail,
    limits: BTreeMap<Trait, Limits>,
}

/// [`Profile`] as a model keeps it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    n_images: usize,
    /// Base64 of the 32 rows of 32 grey values.
    mean: String,
    /// A trait that a training image lacks, such as the size of an unknown original, is missing.
    traits: BTreeMap<Trait, Limits>,
}

impl TryFrom<Stored> for Profile {
    type Error = InspectionError;

    fn try_from(stored: Stored) -> Result<Self, InspectionError> {
        let mean = Thumbnail::from_base64(&stored.mean).ok_or(InspectionError::MeanImage)?;
        match stored.traits.iter().find(|(_, limits)| !limits.are_valid()) {
            Some((&of, _)) => Err(InspectionError::TraitLimits { of }),
            None => Ok(Self { n_images: stored.n_images, mean, limits: stored.traits }),
        }
    }
}

impl From<Profile> for Stored {
    fn from(profile: Profile) -> Self {
        Self { n_images: profile.n_images, mean: profile.mean.to_base64(), traits: profile.limits }
    }
}

impl Profile {
    /// The profile of at least one image; `None` for none. The order of the images does not matter.
    pub fn of(looks: &[Look]) -> Option<Self> {
        if looks.is_empty() {
            return None;
        }
        let thumbnails: Vec<&Thumbnail> = looks.iter().map(Look::thumbnail).collect();
        let (mean, correlations) = Thumbnail::mean_and_correlations(&thumbnails);
        let values = |of: Trait| match of {
            Trait::Position => (of, correlations.clone()),
            _ => {
                (of, looks.iter().map(|look| look.value(of)).collect::<Option<Vec<_>>>().unwrap_or_default())
            }
        };
        let values = Trait::ALL.map(values);
        let rate = rate_of_a_side(&values);
        let limits = values.iter().filter_map(|(of, values)| Some((*of, Limits::of(*of, values, rate)?)));
        let limits = limits.collect();
        Some(Self { n_images: looks.len(), mean, limits })
    }

    /// Number of training images.
    pub fn n_images(&self) -> usize {
        self.n_images
    }

    /// The value of a trait, which is the correlation with the mean training image for
    /// [`Trait::Position`]; `None` for the traits of an original whose size is unknown.
    pub fn value(&self, of: Trait, look: &Look) -> Option<f32> {
        match of {
            Trait::Position => Some(self.mean.correlation(look.thumbnail())),
            _ => look.value(of),
        }
    }

    pub(crate) fn limits(&self) -> impl Iterator<Item = (Trait, &Limits)> {
        self.limits.iter().map(|(&of, limits)| (of, limits))
    }

    /// The traits in which an image is outside of what the profile has seen, in the order of
    /// [`Trait::ALL`].
    pub fn warnings(&self, look: &Look) -> Vec<Warning> {
        let warning = |(of, limits): (Trait, &Limits)| {
            let value = self.value(of, look).filter(|&value| limits.exclude(value))?;
            let [low, high] = limits.shown;
            Some(Warning { of, value, low, high })
        };
        self.limits().filter_map(warning).collect()
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::{ImageSize, RgbImage, Seed};
    use rand::Rng;

    use super::*;

    const ORIGINAL: Option<ImageSize> = Some(ImageSize::new(600, 800));

    /// A photograph of a bright bar on a dark ground, with a lamp that flickers by two grey levels:
    /// the bar lies at `angle` through (`y`, `x`).
    fn bar(angle: f64, (y, x): (f64, f64), gain: f64, seed: u64) -> RgbImage {
        let mut rng = Seed::new(0).derive("bar").derive_index(seed).rng();
        let flicker = rng.random_range(-2.0..2.0);
        let (sin, cos) = angle.sin_cos();
        RgbImage::from_fn(ImageSize::square(64), |row, column| {
            let (dy, dx) = (row as f64 - y, column as f64 - x);
            let (along, across) = (dx * cos + dy * sin, dy * cos - dx * sin);
            let bar = if along.abs() < 24.0 && across.abs() < 6.0 { 110.0 } else { 0.0 };
            [(gain * (60.0 + bar + flicker + rng.random_range(-4.0..4.0))).clamp(0.0, 255.0) as u8; 3]
        })
    }

    const MIDDLE: (f64, f64) = (32.0, 32.0);

    fn looks(n: u64, image: impl Fn(u64) -> RgbImage) -> Vec<Look> {
        (0..n).map(|seed| Look::of(&image(seed), ORIGINAL)).collect()
    }

    fn fixed() -> Profile {
        Profile::of(&looks(50, |seed| bar(0.5, MIDDLE, 1.0, seed))).unwrap()
    }

    fn traits(profile: &Profile, image: &RgbImage) -> Vec<Trait> {
        profile.warnings(&Look::of(image, ORIGINAL)).iter().map(|warning| warning.of).collect()
    }

    #[test]
    fn each_change_warns_in_its_own_trait() {
        let profile = fixed();
        for seed in 100..400 {
            assert_eq!(traits(&profile, &bar(0.5, MIDDLE, 1.0, seed)), [], "{seed}");
        }
        let dark = traits(&profile, &bar(0.5, MIDDLE, 0.7, 100));
        assert!(dark.contains(&Trait::Brightness) && !dark.contains(&Trait::Position), "{dark:?}");
        // The camera moved by an eighth of the width.
        assert_eq!(traits(&profile, &bar(0.5, (32.0, 40.0), 1.0, 100)), [Trait::Position]);
        assert_eq!(traits(&profile, &bar(1.2, MIDDLE, 1.0, 100)), [Trait::Position]);

        let good = bar(0.5, MIDDLE, 1.0, 100);
        let mean = |y: usize, x: usize| {
            let around = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| (63.min(y + dy), 63.min(x + dx)));
            [(around.iter().map(|&(y, x)| u32::from(good.pixel(y, x)[0])).sum::<u32>() / 4) as u8; 3]
        };
        assert_eq!(traits(&profile, &RgbImage::from_fn(good.size(), mean)), [Trait::Sharpness]);
        let tinted = RgbImage::from_fn(good.size(), |y, x| {
            let [r, g, b] = good.pixel(y, x);
            [r, g, (f64::from(b) * 0.9) as u8]
        });
        assert_eq!(traits(&profile, &tinted), [Trait::BlueGreen]);

        let of_size =
            |size| profile.warnings(&Look::of(&good, size)).iter().map(|w| w.of).collect::<Vec<_>>();
        assert_eq!(of_size(Some(ImageSize::new(601, 800))), [Trait::Size, Trait::Aspect]);
        assert_eq!(of_size(Some(ImageSize::new(300, 400))), [Trait::Size]);
        assert_eq!(of_size(Some(ImageSize::new(800, 600))), [Trait::Aspect]);
        assert_eq!(of_size(None), []);
    }

    #[test]
    fn products_in_any_orientation_do_not_warn_of_the_position() {
        let turned = |seed: u64| bar(seed as f64 * 2.399_963, MIDDLE, 1.0, seed);
        let profile = Profile::of(&looks(50, turned)).unwrap();
        for seed in 100..400 {
            assert_eq!(traits(&profile, &turned(seed)), [], "{seed}");
        }
        assert!(fixed().limits[&Trait::Position].accepted[0] > 0.8);
        let limits = profile.limits[&Trait::Position];
        assert!(limits.shown[1] < 0.7 && limits.accepted[0] < 0.6, "{limits:?}");
    }

    #[test]
    fn nearly_constant_images_do_not_warn_at_a_grey_level() {
        let render = |grey: u8| RgbImage::filled(ImageSize::square(64), [grey; 3]);
        let profile = Profile::of(&looks(300, |_| render(128))).unwrap();
        for grey in [126, 127, 129, 130] {
            assert_eq!(traits(&profile, &render(grey)), [], "{grey}");
        }
        assert_eq!(traits(&profile, &render(140)), [Trait::Brightness]);
    }

    #[test]
    fn one_image_knows_its_size_only() {
        let profile = Profile::of(&looks(1, |seed| bar(0.5, MIDDLE, 1.0, seed))).unwrap();
        assert_eq!(traits(&profile, &bar(1.5, (20.0, 40.0), 0.8, 7)), []);
        let small = Look::of(&bar(0.5, MIDDLE, 1.0, 0), Some(ImageSize::square(64)));
        assert_eq!(profile.warnings(&small).len(), 2);
        assert_eq!(Profile::of(&[]), None);
    }

    #[test]
    fn the_order_of_the_images_does_not_matter() {
        let mut looks = looks(20, |seed| bar(0.5, MIDDLE, 1.0, seed));
        let profile = Profile::of(&looks);
        looks.reverse();
        assert_eq!(Profile::of(&looks), profile);
    }

    #[test]
    fn toml_and_json_keep_a_profile() {
        let mut some = looks(30, |seed| bar(0.5, MIDDLE, 1.0, seed));
        let profile = Profile::of(&some).unwrap();
        let text = toml::to_string(&profile).unwrap();
        assert!(text.len() < 2500 && text.lines().count() < 60, "{text}");
        assert_eq!(toml::from_str::<Profile>(&text).unwrap(), profile);
        let json = serde_json::to_string(&profile).unwrap();
        assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);

        let damaged = |from: &str, to: &str| {
            assert!(text.contains(from), "{from} in {text}");
            toml::from_str::<Profile>(&text.replacen(from, to, 1)).unwrap_err().to_string()
        };
        let number = format!("{:?}", profile.limits[&Trait::Brightness].accepted[0]);
        assert!(damaged(&number, "nan").contains("Brightness"));
        assert!(damaged(&number, "999.0").contains("Brightness"));
        assert!(damaged("mean = \"", "mean = \"AAAA").contains("mean training image"));

        // One image without an original: no size, in the text neither.
        some.push(Look::of(&bar(0.5, MIDDLE, 1.0, 31), None));
        let text = toml::to_string(&Profile::of(&some).unwrap()).unwrap();
        assert!(!text.contains("size") && text.contains("[traits.position]"), "{text}");
    }
}
