//! Anomaly maps: pages of a TIFF file of floating-point numbers.

use fmam_core::AnomalyMap;
use fmam_record::{read_maps, write_map};

use super::bytes::Seed;
use super::scratch::{scratch, write};

/// Accepted maps are finite, and come back as they were saved.
pub fn maps(data: &[u8]) -> bool {
    let folder = scratch();
    let path = write(&folder, "maps.tiff", data);
    let Ok(maps) = read_maps(&path) else { return false };
    for map in &maps {
        assert!(map.data().iter().all(|score| score.is_finite()));
        let saved = folder.path().join("saved.tiff");
        if map.size().pixels() > 0 {
            write_map(&saved, map, map.size()).unwrap();
            assert_eq!(read_maps(&saved).unwrap(), std::slice::from_ref(map));
        }
    }
    true
}

/// A TIFF file of one page of `values`.
pub(super) fn tiff(height: usize, width: usize, values: &[f32]) -> Vec<u8> {
    let folder = scratch();
    let path = folder.path().join("maps.tiff");
    let size = fmam_core::ImageSize::new(height, width);
    write_map(&path, &AnomalyMap::new(size, values.to_vec()).unwrap(), size).unwrap();
    std::fs::read(path).unwrap()
}

pub(super) fn seeds() -> Vec<Seed> {
    let folder = scratch();
    let path = folder.path().join("maps.tiff");
    let map = |height, width, offset: f32| {
        let size = fmam_core::ImageSize::new(height, width);
        AnomalyMap::new(size, (0..size.pixels()).map(|at| at as f32 * 0.5 - offset).collect()).unwrap()
    };
    fmam_record::write_maps(&path, &[map(3, 4, 0.0), map(2, 2, 9.0)]).unwrap();
    vec![
        ("two.tif".to_owned(), std::fs::read(path).unwrap()),
        ("one.tif".to_owned(), tiff(2, 3, &[0.0, 1.0, -1.0, 1e30, 1e-30, 5.0])),
    ]
}
