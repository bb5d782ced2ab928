//! Lists of images: the CSV file of a data set.

use std::sync::LazyLock;

use fmam_core::{ImageSize, Label, Preparation};
use fmam_datasets::{DatasetOptions, dataset};

use super::bytes::Seed;
use super::scratch::{scratch, write};

/// The file of a small image.
static PIXELS: LazyLock<Vec<u8>> = LazyLock::new(|| super::image::seeds().swap_remove(0).1);

const IMAGES: [&str; 4] = ["a.png", "b.png", "c.png", "d.png"];

/// The images of an accepted list lie in its folder, none is both trained and tested on, and no
/// anomalous one is trained on.
pub fn list(data: &[u8]) -> bool {
    let folder = scratch();
    for image in IMAGES.into_iter().chain(["c_mask.png"]) {
        write(&folder, image, &PIXELS);
    }
    write(&folder, "list.csv", data);
    let entry = dataset("csv").expect("a data set of this name is registered");
    let options = DatasetOptions { root: Some(folder.path().to_owned()), ..DatasetOptions::default() };
    let Ok(listed) = (entry.open)(&options) else { return false };
    let mut is_read = false;
    for name in listed.categories() {
        let Ok(files) = listed.files(&name) else { continue };
        is_read = true;
        assert!(files.train.iter().all(|sample| sample.label == Label::Normal));
        let all: Vec<_> = files.train.iter().chain(&files.test).collect();
        for (at, sample) in all.iter().enumerate() {
            let path = sample.image_path.canonicalize().unwrap();
            assert!(path.starts_with(folder.path()), "outside: {}", path.display());
            assert!(!all[..at].iter().any(|other| other.image_path == sample.image_path));
        }
        if let Ok(category) = listed.category(&name, &Preparation::new(ImageSize::new(8, 8))) {
            assert_eq!(category.train.len() + category.test.len(), all.len());
        }
    }
    is_read
}

pub(super) fn seeds() -> Vec<Seed> {
    let full = "category,split,label,path,mask\nbolt,train,normal,a.png,\nbolt,test,good,b.png,\n\
        bolt,test,anomalous,c.png,c_mask.png\n";
    let quoted = "\"path\",split,label\r\n\"a.png\",train,0\r\n\"./b.png\",test,1\r\nd.png,test,ok\r\n";
    [("full.csv", full), ("quoted.csv", quoted)].map(|(name, text)| (name.to_owned(), text.into())).into()
}
