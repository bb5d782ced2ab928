//! Reading ahead on several threads.

use fmam_core::{ImageSize, SourceError, ordered_map};
use fmam_datasets::{DatasetOptions, DemoConfig, dataset};

use crate::miniature::{Miniature, options};

#[test]
fn any_number_of_threads_reads_the_same_bytes_in_the_same_order() {
    let mini = Miniature::of("mvtec", "");
    let demo = DemoConfig { n_test_normal: 4, n_test_per_defect: 2, ..DemoConfig::default() };
    let cases = [
        ("demo", "twill", DatasetOptions::new(None, demo).unwrap()),
        ("mvtec", "nut", options(mini.dir.path())),
    ];
    for (name, category, options) in cases {
        let read = |threads| {
            // Opened anew each time, so that nothing is cached yet.
            let opened = (dataset(name).unwrap().open)(&options).unwrap();
            let test = opened.category(category, &ImageSize::square(32).into()).unwrap().test;
            let mut all = Vec::new();
            ordered_map(
                test.len(),
                threads,
                3,
                |index| Ok((test.image(index)?, test.mask(index)?)),
                |index, item: Result<_, SourceError>| -> Result<(), SourceError> {
                    all.push((index, item?));
                    Ok(())
                },
            )
            .unwrap();
            all
        };
        let one = read(1);
        assert!(one.iter().enumerate().all(|(k, (index, _))| k == *index));
        assert!(read(2) == one && read(5) == one, "{name}");
    }
}

#[test]
fn the_first_damaged_file_stops_the_reading_with_its_name() {
    let mini = Miniature::of("mvtec", "");
    mini.write("nut/train/good/000.png", b"damaged");
    let train = mini.open("mvtec", "nut").unwrap().train;
    let result = ordered_map(train.len(), 4, 4, |i| train.image(i), |_, image| image.map(drop));
    assert!(result.unwrap_err().to_string().contains("train/good/000.png"));
}
