use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use fmam_metrics::{Evaluated, Level, METRICS, MetricError, PixelBuilder, PixelRanking, Score};
use serde_json::{Map, Value, json};

use super::element::{Element, Labels};
use super::npy::ArrayFile;
use crate::Error;
use crate::array_error::ArrayError;

/// The memory of the pixels of an evaluation, and the place for those beyond it.
#[derive(Debug, Clone)]
pub struct PixelMemory {
    /// Bytes of the sorted scores, 768 MiB by default. Besides, there are the maps at hand and
    /// their masks.
    pub budget: usize,
    /// The folder of temporary files for the scores beyond the budget, by default that of the
    /// system. They are gone when the process ends.
    pub spill_folder: PathBuf,
}

impl Default for PixelMemory {
    fn default() -> Self {
        Self { budget: 768 << 20, spill_folder: std::env::temp_dir() }
    }
}

/// The metrics of image scores and their labels, each a `.npy` file of N numbers. Scores are
/// float16, float32 or float64, higher is more anomalous; labels are 0 (normal) and 1 or 255
/// (anomalous) in any type. The key of a metric lacks its `image_`, since the scores may be those
/// of anything.
///
/// # Errors
/// [`Error::Array`], [`Error::Shape`], [`Error::ShapesDiffer`], and [`Error::Evaluate`] where a
/// metric is not defined.
pub fn metrics_of_scores(scores_path: &Path, labels_path: &Path) -> Result<Map<String, Value>, Error> {
    let (mut scores, mut labels) = (ArrayFile::open(scores_path)?, ArrayFile::open(labels_path)?);
    if scores.shape().len() != 1 {
        let expected = "scores have one dimension, [N]";
        return Err(Error::Shape { path: scores_path.to_owned(), shape: scores.shape().to_vec(), expected });
    }
    check_shapes(scores_path, &scores, labels_path, &labels, scores.shape() == labels.shape())?;
    let numbers = scores.numbers()?;
    let score_values = if scores.element().is_f64() {
        scores.element().scores_f64(&numbers).map(order_preserving)
    } else {
        scores.element().scores(&numbers)
    };
    let score_values = score_values.map_err(|source| scores.fault(source))?;
    let numbers = labels.numbers()?;
    let label_values = Labels::default().read(labels.element(), &numbers);
    let label_values = label_values.map_err(|source| labels.fault(source))?;
    let evaluated = Evaluated::new(&score_values, &label_values);
    metrics(&evaluated, |level| level == Level::Image)
        .map_err(|source| Error::Evaluate { path: scores_path.to_owned(), source })
}

/// The metrics of anomaly maps and their masks, each a `.npy` file of N x H x W or N x 1 x H x W
/// numbers in C or Fortran order, of the types of [`metrics_of_scores`]. Maps are read one by one,
/// so that the files may exceed the memory.
///
/// # Errors
/// As [`metrics_of_scores`], and [`Error::Spill`].
pub fn metrics_of_maps(
    maps_path: &Path,
    masks_path: &Path,
    memory: &PixelMemory,
) -> Result<Map<String, Value>, Error> {
    let (maps, masks) = (ArrayFile::open(maps_path)?, ArrayFile::open(masks_path)?);
    let Some((_, width)) = maps.map_size() else {
        let expected = "maps have three dimensions, [N, H, W], or a channel axis of one, [N, 1, H, W]";
        return Err(Error::Shape { path: maps_path.to_owned(), shape: maps.shape().to_vec(), expected });
    };
    let is_same =
        maps.shape()[0] == masks.shape().first().copied().unwrap_or(0) && maps.map_size() == masks.map_size();
    check_shapes(maps_path, &maps, masks_path, &masks, is_same)?;
    let ranked = if maps.element().is_f64() {
        rank(maps, masks, width, memory, maps_path, Element::scores_f64)
    } else {
        rank(maps, masks, width, memory, maps_path, Element::scores)
    }?;
    let evaluated = Evaluated::new(&[], &[]).with_pixels(ranked);
    metrics(&evaluated, |level| level != Level::Image).map_err(|error| match error {
        MetricError::Spill(source) => Error::Spill {
            folder: memory.spill_folder.clone(),
            source: io::Error::new(source.kind(), source),
        },
        source => Error::Evaluate { path: maps_path.to_owned(), source },
    })
}

/// Reads map after map with its mask. A fault of the scores comes back within the result.
fn rank<S: Score>(
    mut maps: ArrayFile,
    mut masks: ArrayFile,
    width: usize,
    memory: &PixelMemory,
    path: &Path,
    scores: fn(&Element, &[u8]) -> Result<Vec<S>, ArrayError>,
) -> Result<Result<PixelRanking, MetricError>, Error> {
    let (folder, path, budget) = (memory.spill_folder.clone(), path.to_owned(), memory.budget);
    let mut is_told = false;
    let mut pixels = PixelBuilder::new().spilling(budget, move || -> io::Result<File> {
        if !std::mem::replace(&mut is_told, true) {
            let (path, folder, mib) = (path.display(), folder.display(), budget >> 20);
            tracing::info!(
                "{path}: the sorted scores exceed {mib} MiB and go to temporary files in {folder}"
            );
        }
        tempfile::tempfile_in(&folder)
    });
    // Without an element there may be any number of maps.
    let n_maps = if maps.shape().contains(&0) { 0 } else { maps.shape()[0] };
    let (mut labels, mut map, mut mask) = (Labels::default(), Vec::new(), Vec::new());
    for _ in 0..n_maps {
        maps.next_item(&mut map)?;
        masks.next_item(&mut mask)?;
        let scores = scores(maps.element(), &map).map_err(|source| maps.fault(source))?;
        let mask = labels.read(masks.element(), &mask).map_err(|source| masks.fault(source))?;
        if let Err(error) = pixels.add(&scores, &mask, width, None) {
            return Ok(Err(error));
        }
    }
    Ok(pixels.finish())
}

/// The metrics of the wanted levels by their keys.
fn metrics(
    evaluated: &Evaluated<'_>,
    is_wanted: fn(Level) -> bool,
) -> Result<Map<String, Value>, MetricError> {
    // The threshold of the program that made the scores is not known here.
    let metrics = METRICS.iter().filter(|metric| is_wanted(metric.level) && metric.applies_to(evaluated));
    let figure = |metric: &&fmam_metrics::MetricEntry| {
        let key = metric.key.strip_prefix("image_").unwrap_or(metric.key);
        Ok((key.to_owned(), json!((metric.compute)(evaluated)?)))
    };
    metrics.map(figure).collect()
}

fn check_shapes(
    scores_path: &Path,
    scores: &ArrayFile,
    labels_path: &Path,
    labels: &ArrayFile,
    is_same: bool,
) -> Result<(), Error> {
    if is_same {
        return Ok(());
    }
    Err(Error::ShapesDiffer {
        scores: scores_path.to_owned(),
        scores_shape: scores.shape().to_vec(),
        labels: labels_path.to_owned(),
        labels_shape: labels.shape().to_vec(),
    })
}

/// f32 that compare as `values` do. Metrics use the order of the scores alone: where rounding to
/// f32 would tie or swap scores, their ranks stand in for them.
fn order_preserving(values: Vec<f64>) -> Vec<f32> {
    let exact = |value: f64| f64::from(value as f32) == value || value.is_nan();
    if values.iter().all(|&value| exact(value)) {
        return values.into_iter().map(|value| value as f32).collect();
    }
    let mut distinct: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    distinct.sort_unstable_by(f64::total_cmp);
    // -0.0 and 0.0 are equal here, and stand next to each other.
    distinct.dedup_by(|a, b| a == b);
    values
        .into_iter()
        .map(|value| match distinct.partition_point(|&other| other < value) {
            _ if value.is_nan() => f32::NAN,
            // The bits of positive floats grow as the floats do: two thousand million ranks fit.
            rank => f32::from_bits(rank as u32),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use fmam_core::ErrorKind;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference/metrics")).join(name)
    }

    /// Less memory than a map takes.
    fn little(folder: &Path) -> PixelMemory {
        PixelMemory { budget: 400, spill_folder: folder.to_owned() }
    }

    #[test]
    fn arrays_of_numpy_have_the_figures_of_scikit_learn_in_any_memory() {
        let dir = tempfile::tempdir().unwrap();
        let cases: Vec<Value> =
            serde_json::from_slice(&std::fs::read(fixture("arrays.json")).unwrap()).unwrap();
        let masks = ["bool", "255", "i16_255_fortran", "f16_255_channel", "i64"];
        for (case, mask) in cases.iter().flat_map(|case| masks.map(|mask| (case, mask))) {
            let maps = fixture(&format!("arrays/{}.npy", case["maps"].as_str().unwrap()));
            let masks = fixture(&format!("arrays/masks_{mask}.npy"));
            let figures = metrics_of_maps(&maps, &masks, &PixelMemory::default()).unwrap();
            for (name, figure) in &figures {
                let (figure, expected) = (figure.as_f64().unwrap(), case[name].as_f64().unwrap());
                assert!((figure - expected).abs() < 1e-12, "{case}, {mask}, {name}: {figure}");
            }
            assert_eq!(figures.len(), 3);
            assert_eq!(
                metrics_of_maps(&maps, &masks, &little(dir.path())).unwrap(),
                figures,
                "{case}, {mask}"
            );
        }
        // The temporary files have no name.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_take_the_scores_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (maps, masks) = (fixture("arrays/maps_f16.npy"), fixture("arrays/masks_255.npy"));
        let error = metrics_of_maps(&maps, &masks, &little(&dir.path().join("absent"))).unwrap_err();
        assert!(matches!(&error, Error::Spill { folder, .. } if folder.ends_with("absent")), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Environment);
    }

    /// A file with this header and these bytes after it.
    fn file(path: &Path, header: &str, bytes: &[u8]) -> PathBuf {
        let text = format!("{{'fortran_order': False, {header}}}");
        let length = (text.len() as u16).to_le_bytes();
        std::fs::write(path, [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), bytes].concat()).unwrap();
        path.to_owned()
    }

    #[test]
    fn hand_made_headers_take_neither_time_nor_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let of = |maps: &Path| metrics_of_maps(maps, maps, &PixelMemory::default());
        let fault = |header: &str| match of(&file(&path("m.npy"), header, &[0; 64])).unwrap_err() {
            Error::Array { path, source } if path.ends_with("m.npy") => source,
            error => panic!("{error:?}"),
        };
        let huge = "'descr': '<f4', 'shape': (1000000, 1000000, 1000)";
        assert!(matches!(fault(huge), ArrayError::Cut { actual: 64, .. }));
        let product = "'descr': '<f4', 'shape': (4294967296, 4294967296, 4294967296)";
        assert!(matches!(fault(product), ArrayError::TooLarge));
        // The dimension of 0 hides the product of the others.
        assert!(matches!(
            fault("'descr': '<f4', 'shape': (0, 9999999999, 9999999999)"),
            ArrayError::TooLarge
        ));
        let many = file(&path("none.npy"), "'descr': '<f4', 'shape': (999999999999999999, 0, 5)", &[]);
        assert!(matches!(of(&many), Err(Error::Evaluate { source: MetricError::Empty, .. })));
        std::fs::write(path("26.npy"), b"\x93NUMPY\x01\x00\x10\x00((((((((((((((((").unwrap();
        let nested = of(&path("26.npy")).unwrap_err();
        assert!(matches!(nested, Error::Array { source: ArrayError::Header { at: 0 }, .. }));
        assert!(of(&path("26.npy")).unwrap_err().one_line().contains("26.npy"));
    }

    #[test]
    fn labels_that_do_not_fit_are_listed_with_the_name_of_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let maps = file(&path("a.npy"), "'descr': '<f4', 'shape': (2, 1, 2)", &[0; 16]);
        let masks = file(&path("m.npy"), "'descr': '|u1', 'shape': (2, 1, 2)", &[0, 255, 60, 1]);
        let text = metrics_of_maps(&maps, &masks, &PixelMemory::default()).unwrap_err().one_line();
        assert!(
            text.contains("m.npy") && text.contains("element 2") && text.contains("0, 1, 60, 255"),
            "{text}"
        );
        let flat = file(&path("f.npy"), "'descr': '|u1', 'shape': (4,)", &[0; 4]);
        let differ = metrics_of_maps(&maps, &flat, &PixelMemory::default()).unwrap_err();
        assert!(matches!(differ, Error::ShapesDiffer { .. }));
        let two_channels = file(&path("c.npy"), "'descr': '<f4', 'shape': (1, 2, 1, 2)", &[0; 16]);
        let shape = metrics_of_maps(&two_channels, &masks, &PixelMemory::default()).unwrap_err();
        assert!(matches!(shape, Error::Shape { .. }));
    }

    #[test]
    fn the_order_of_f64_survives() {
        assert_eq!(order_preserving(vec![0.5, -2.0, 0.5]), [0.5, -2.0, 0.5]);
        let close = [1.0 + 1e-12, -1e300, 1.0, 1.0 + 1e-12, 0.0, -0.0, f64::INFINITY];
        let ranks = order_preserving(close.to_vec());
        for (a, x) in close.iter().zip(&ranks) {
            for (b, y) in close.iter().zip(&ranks) {
                assert_eq!(a.partial_cmp(b), x.partial_cmp(y), "{a} against {b}");
            }
        }
        assert!(order_preserving(vec![f64::NAN, 0.1])[0].is_nan());
    }
}
