//! Archives of data sets and weights.

use std::io::Write;
use std::path::Path;

use fmam_fetch::{Limits, extract};

use super::bytes::Seed;
use super::scratch::{scratch, write};

const ENDINGS: [&str; 4] = ["zip", "tar", "tar.gz", "tar.xz"];

const LIMITS: Limits = Limits { max_entries: 64, max_bytes: 1 << 20 };

/// An input is the number of a format and an archive. An accepted archive is unpacked to files and
/// folders within the limits; of a refused one nothing is left, and nothing appears beside it.
pub fn archive(data: &[u8]) -> bool {
    let Some((first, content)) = data.split_first() else { return false };
    let folder = scratch();
    let name = format!("a.{}", ENDINGS[usize::from(*first) % ENDINGS.len()]);
    let path = write(&folder, &name, content);
    let target = folder.path().join("target");
    let unpacked = extract(&path, &target, LIMITS, &mut |done, all| {
        assert!(done <= all);
        true
    });
    let mut totals = (0, 0);
    if unpacked.is_ok() {
        count(&target, &mut totals);
        assert!(totals.0 <= LIMITS.max_entries && totals.1 <= LIMITS.max_bytes, "{totals:?}");
    }
    for entry in folder.path().read_dir().unwrap() {
        let entry = entry.unwrap().file_name().into_string().unwrap();
        let is_known = entry == name || entry == "target" && unpacked.is_ok() || entry.ends_with(".lock");
        assert!(is_known, "left beside the archive: {entry}");
    }
    unpacked.is_ok()
}

/// Adds the entries and the bytes of the files below `folder`.
fn count(folder: &Path, totals: &mut (u64, u64)) {
    for entry in folder.read_dir().unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.path().symlink_metadata().unwrap();
        assert!(metadata.is_file() || metadata.is_dir(), "neither a file nor a folder");
        totals.0 += 1;
        if metadata.is_dir() {
            count(&entry.path(), totals);
        } else {
            totals.1 += metadata.len();
        }
    }
}

pub(super) fn seeds() -> Vec<Seed> {
    let files =
        [("data/good/0.png", "zero"), ("data/bad/1.png", "one, and more of it"), ("data/list.csv", "")];
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let method =
            if text.len() > 4 { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        zip.start_file(name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let (zip, tar) = (zip.finish().unwrap().into_inner(), tar.into_inner().unwrap());
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&tar).unwrap();
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
    xz.write_all(&tar).unwrap();
    let contents = [zip, tar, gz.finish().unwrap(), xz.finish().unwrap()];
    let seed = |(number, content): (usize, &Vec<u8>)| {
        (format!("three.{}", ENDINGS[number]), [&[number as u8], &content[..]].concat())
    };
    contents.iter().enumerate().map(seed).collect()
}
