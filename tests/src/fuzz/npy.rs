//! Arrays of NumPy: scores and labels, maps and masks.

use fmam::measure::{PixelMemory, metrics_of_maps, metrics_of_scores};

use super::bytes::Seed;
use super::bytes::{joined, two_parts};
use super::scratch::{scratch, write};

/// Every figure of accepted arrays is a fraction, and is the same in little memory.
pub fn npy(data: &[u8]) -> bool {
    let Some((first, second)) = two_parts(data) else { return false };
    let folder = scratch();
    let (first, second) = (write(&folder, "first.npy", first), write(&folder, "second.npy", second));
    let of_scores = metrics_of_scores(&first, &second);
    let memory = PixelMemory { spill_folder: folder.path().to_owned(), ..PixelMemory::default() };
    let of_maps = metrics_of_maps(&first, &second, &memory);
    if let Ok(figures) = &of_maps {
        let little = PixelMemory { budget: 64, ..memory };
        assert_eq!(metrics_of_maps(&first, &second, &little).unwrap(), *figures);
    }
    let is_read = of_scores.is_ok() || of_maps.is_ok();
    for (name, figure) in of_scores.into_iter().chain(of_maps).flatten() {
        let figure = figure.as_f64().expect("a figure is a number");
        assert!((0.0..=1.0).contains(&figure), "{name}: {figure}");
    }
    is_read
}

/// A file of an array of the type `descr`.
fn file(descr: &str, is_fortran: bool, shape: &[usize], elements: &[u8]) -> Vec<u8> {
    let order = if is_fortran { "True" } else { "False" };
    let shape: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
    let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({})}}\n", shape.join(" "));
    let length = u16::try_from(text.len()).unwrap().to_le_bytes();
    [&b"\x93NUMPY\x01\x00"[..], &length, text.as_bytes(), elements].concat()
}

pub(super) fn seeds() -> Vec<Seed> {
    let singles: Vec<u8> = [0.5_f32, 2.0, -1.0, 3.5].iter().flat_map(|score| score.to_le_bytes()).collect();
    let doubles: Vec<u8> = (0..12).flat_map(|score| f64::from(score % 5).to_be_bytes()).collect();
    let labels = file("|u1", false, &[4], &[0, 1, 0, 1]);
    let masks = file("|b1", true, &[2, 2, 3], &[0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
    vec![
        ("scores".to_owned(), joined(&file("<f4", false, &[4], &singles), &labels)),
        ("maps".to_owned(), joined(&file(">f8", false, &[2, 1, 2, 3], &doubles), &masks)),
    ]
}
