use fmam_core::{ImageSize, Label, SampleSource, Seed, Split};

use super::render::Scene;
use super::source::DemoSource;
use super::{DemoCategory, DemoConfig};

const SIZE: ImageSize = ImageSize::square(64);

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Checks the bytes of one test image of each kind, and of their masks.
fn check_bytes(categories: &[DemoCategory], expected: u64) {
    let config = DemoConfig { n_test_normal: 1, n_test_per_defect: 1, ..DemoConfig::default() };
    let bytes: Vec<u8> = categories
        .iter()
        .map(|category| DemoSource::new(&config, *category, Split::Test, SIZE))
        .flat_map(|source| {
            (0..source.len())
                .flat_map(|i| [source.scene(i).image().into_data(), source.scene(i).mask().data().to_vec()])
                .flatten()
                .collect::<Vec<u8>>()
        })
        .collect();
    let actual = checksum(&bytes);
    assert_eq!(actual, expected, "checksum of {categories:?} {actual:#x}");
}

/// Published figures on the demo set hold for these bytes. Whoever changes them says so in the
/// CHANGELOG.
#[test]
fn the_same_seed_gives_the_same_bytes_as_ever() {
    check_bytes(&[DemoCategory::Plain, DemoCategory::Twill], 0x6126_1d09_426c_8ae0);
    check_bytes(&[DemoCategory::Flange], 0x81ef_1b39_9a70_fb65);
    check_bytes(&[DemoCategory::Perforated], 0x6632_ef8a_75e7_b2e9);
}

#[test]
fn more_samples_or_another_order_do_not_change_an_image() {
    let few = DemoConfig { n_test_normal: 1, n_test_per_defect: 1, ..DemoConfig::default() };
    let few = DemoSource::new(&few, DemoCategory::Twill, Split::Test, SIZE);
    let many = DemoSource::new(&DemoConfig::default(), DemoCategory::Twill, Split::Test, SIZE);
    for index in (0..few.len()).rev() {
        let id = &few.sample(index).id;
        let other = (0..many.len()).find(|&k| many.sample(k).id == *id).unwrap();
        assert_eq!(few.image(index).unwrap(), many.image(other).unwrap(), "{id}");
    }
}

#[test]
fn images_of_different_seed_split_and_index_differ() {
    let image = |seed, split, index| {
        let config = DemoConfig { seed, ..DemoConfig::default() };
        DemoSource::new(&config, DemoCategory::Plain, split, SIZE).image(index).unwrap()
    };
    let all = [
        image(0, Split::Train, 0),
        image(0, Split::Train, 1),
        image(0, Split::Test, 0),
        image(1, Split::Train, 0),
    ];
    for (k, a) in all.iter().enumerate() {
        assert!(all[k + 1..].iter().all(|b| a != b));
    }
}

#[test]
fn every_defect_is_visible_and_its_mask_holds_the_whole_change() {
    let size = ImageSize::new(96, 128);
    for &category in DemoCategory::ALL {
        for (kind, name) in (category.entry().defect_types)().into_iter().enumerate() {
            for seed in 0..12 {
                let scene = Scene::new(category, Some(kind), size, Seed::new(seed));
                let (image, mask) = (scene.image(), scene.mask());
                let normal = scene.without_defect();
                let change = |y, x| {
                    let (a, b) = (image.pixel(y, x), normal.pixel(y, x));
                    (0..3).map(|c| f64::from(a[c].abs_diff(b[c]))).sum::<f64>() / 3.0
                };
                let (mut inside, mut outside, mut total) = (0.0, 0.0_f64, 0.0);
                for y in 0..size.height {
                    for x in 0..size.width {
                        total += change(y, x);
                        if mask.at(y, x) {
                            inside += change(y, x);
                        } else {
                            outside = outside.max(change(y, x));
                        }
                    }
                }
                let area = mask.area() as f64;
                let what = format!("{category:?} {name} seed {seed}: area {area}");
                assert!((12.0..0.35 * size.pixels() as f64).contains(&area), "{what}");
                assert!(inside / area > 5.0, "{what}: mean change {}", inside / area);
                assert!(inside > 0.9 * total, "{what}: {inside} of {total} inside");
                assert!(outside < 80.0, "{what}: a change of {outside} outside");
            }
        }
    }
}

#[test]
fn normal_images_are_unlike_each_other_but_of_one_kind() {
    // Position, shape, light and noise vary: pixels differ much, the mean level little.
    for &category in DemoCategory::ALL {
        let source = DemoSource::new(&DemoConfig::default(), category, Split::Train, SIZE);
        let images: Vec<_> = (0..8).map(|index| source.image(index).unwrap()).collect();
        let mean = |data: &[u8]| data.iter().map(|&v| f64::from(v)).sum::<f64>() / data.len() as f64;
        let means: Vec<f64> = images.iter().map(|image| mean(image.data())).collect();
        let centre = means.iter().sum::<f64>() / 8.0;
        assert!(means.iter().all(|m| (m - centre).abs() < 0.12 * centre), "{category:?} {means:?}");
        for other in &images[1..] {
            let pairs = images[0].data().iter().zip(other.data());
            let differences: Vec<u8> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
            assert!(mean(&differences) > 10.0, "{category:?} {}", mean(&differences));
        }
    }
}

#[test]
fn categories_and_their_defect_types_are_sorted_and_read_by_their_names() {
    assert!(DemoCategory::ALL.is_sorted_by_key(|category| category.name()));
    for &category in DemoCategory::ALL {
        assert_eq!(serde_json::to_value(category).unwrap(), category.name());
        assert!((category.entry().defect_types)().is_sorted());
    }
}

#[test]
fn the_source_lists_what_the_configuration_says() {
    let config = DemoConfig { n_train: 3, n_test_normal: 2, n_test_per_defect: 4, ..DemoConfig::default() };
    assert_eq!(DemoSource::new(&config, DemoCategory::Plain, Split::Train, SIZE).len(), 3);
    let test = DemoSource::new(&config, DemoCategory::Plain, Split::Test, SIZE);
    let anomalous = (0..test.len()).filter(|&i| test.sample(i).label == Label::Anomalous).count();
    assert_eq!((test.len(), anomalous), (2 + 6 * 4, 6 * 4));
    assert_eq!(test.sample(25).id, "test/stain/003");
    let flange = DemoSource::new(&config, DemoCategory::Flange, Split::Test, SIZE);
    assert_eq!((flange.len(), flange.sample(2).id.as_str()), (2 + 6 * 4, "test/chipped-edge/000"));
}
