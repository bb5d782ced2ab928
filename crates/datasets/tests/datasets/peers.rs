//! Pixels against Pillow's: `tests/reference/images/make.py` made the files and the values.

use std::path::PathBuf;

use fmam_core::{ImageSize, Reading, ValueRange};
use fmam_datasets::{image_size, read_image};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    file: String,
    height: usize,
    width: usize,
    rgb: Vec<u8>,
    background: Option<[u8; 3]>,
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/images")
}

#[test]
fn pixels_are_those_of_pillow() {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    let fixture: Fixture = serde_json::from_str(&text).unwrap();
    assert!(fixture.cases.len() > 30);
    for case in fixture.cases {
        let path = folder().join(&case.file);
        let is_deep = case.file.starts_with("l12");
        let reading = Reading {
            values: if is_deep { ValueRange::Bits(12) } else { ValueRange::Auto },
            background: case.background.unwrap_or_default(),
            ..Reading::default()
        };
        let size = ImageSize::new(case.height, case.width);
        let image = read_image(&path, &reading).unwrap();
        assert_eq!((image_size(&path).unwrap(), image.size()), (size, size), "{}", case.file);
        // The decoders of JPEG differ in their transforms.
        let most = match case.file.rsplit('.').next() {
            Some("jpg") => 4,
            _ if is_deep => 0,
            _ => 1,
        };
        for (index, (&ours, &theirs)) in image.data().iter().zip(&case.rgb).enumerate() {
            assert!(ours.abs_diff(theirs) <= most, "{}, byte {index}: {ours}, Pillow {theirs}", case.file);
        }
    }
}

#[test]
fn a_pnm_file_states_its_white_itself() {
    let stated = read_image(&folder().join("l12.pgm"), &Reading::default()).unwrap();
    let twelve = Reading { values: ValueRange::Bits(12), ..Reading::default() };
    assert_eq!(stated, read_image(&folder().join("l12in16.pgm"), &twelve).unwrap());
}
