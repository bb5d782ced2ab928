//! Archives that are what they should be, and archives that are not.

use std::io::{Cursor, Write};
use std::path::Path;

use fmam_fetch::{FetchError, Limits, extract};
use tar::{EntryType, Header};

const LIMITS: Limits = Limits { max_entries: 10, max_bytes: 1000 };

/// A tar archive of these entries, their names as they are.
fn tar(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o4755);
        // Not by `set_path`, which refuses what is to be tried here.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, content) in entries {
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn xz(content: &[u8]) -> Vec<u8> {
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// An archive whose one name fills memory.
fn long_name() -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(8 << 20);
    header.set_path("././@LongLink").unwrap();
    header.set_cksum();
    let name = vec![b'a'; 8 << 20];
    gzip(&[header.as_bytes(), &name[..], &tar(GOOD)].concat())
}

/// A zip archive with one path twice, which no writer makes.
fn twice() -> Vec<u8> {
    let mut bytes = zip(&[("aaaa.txt", b"one"), ("bbbb.txt", b"two")]);
    let at = |bytes: &[u8]| bytes.windows(8).position(|name| name == b"bbbb.txt");
    while let Some(position) = at(&bytes) {
        bytes[position..position + 8].copy_from_slice(b"aaaa.txt");
    }
    bytes
}

fn unpack(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), FetchError> {
    let archive = dir.join(name);
    std::fs::write(&archive, bytes).unwrap();
    extract(&archive, &dir.join("out"), LIMITS, &mut |_, _| true)
}

const GOOD: &[(&str, EntryType, &[u8])] = &[
    ("a/", EntryType::Directory, b""),
    ("a/b.txt", EntryType::Regular, b"content"),
    ("./c/d.txt", EntryType::Regular, b"more"),
];

#[test]
fn every_kind_of_archive_is_unpacked() {
    let (gzip, xz) = (gzip(&tar(GOOD)), xz(&tar(GOOD)));
    let zip = zip(&[("a/b.txt", b"content"), ("c/d.txt", b"more")]);
    for (name, bytes) in
        [("x.tar", tar(GOOD)), ("x.tar.gz", gzip.clone()), ("x.TGZ", gzip), ("x.tar.xz", xz), ("x.zip", zip)]
    {
        let dir = tempfile::tempdir().unwrap();
        unpack(dir.path(), name, &bytes).unwrap();
        assert_eq!(std::fs::read(dir.path().join("out/a/b.txt")).unwrap(), b"content", "{name}");
        assert_eq!(std::fs::read(dir.path().join("out/c/d.txt")).unwrap(), b"more", "{name}");
        #[cfg(unix)]
        {
            let mode = std::fs::metadata(dir.path().join("out/a/b.txt")).unwrap();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o7111, 0, "{name}");
        }
        assert!(matches!(unpack(dir.path(), name, &bytes), Err(FetchError::AlreadyExists { .. })));
    }
}

#[test]
fn the_only_folder_of_an_archive_becomes_the_target() {
    let one = tar(&[GOOD[0], GOOD[1], ("a/c/d.txt", EntryType::Regular, b"more")]);
    let dir = tempfile::tempdir().unwrap();
    unpack(dir.path(), "x.tar", &one).unwrap();
    assert_eq!(std::fs::read(dir.path().join("out/c/d.txt")).unwrap(), b"more");
    let names = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
    assert_eq!((names(dir.path()), names(&dir.path().join("out"))), (2, 2));
    let dir = tempfile::tempdir().unwrap();
    unpack(dir.path(), "x.tar", &tar(&[("b.txt", EntryType::Regular, b"content")])).unwrap();
    assert_eq!(std::fs::read(dir.path().join("out/b.txt")).unwrap(), b"content");
}

#[test]
fn a_target_may_have_any_name_that_the_file_system_takes() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("x.tar");
    std::fs::write(&archive, tar(GOOD)).unwrap();
    let mut targets = vec![dir.path().join("n".repeat(255))];
    #[cfg(target_os = "linux")]
    for name in [b"p\xfeq", b"p\xffq"] {
        targets.push(dir.path().join(std::os::unix::ffi::OsStrExt::from_bytes(name) as &std::ffi::OsStr));
    }
    for target in &targets {
        extract(&archive, target, LIMITS, &mut |_, _| true).unwrap();
        assert_eq!(std::fs::read(target.join("a/b.txt")).unwrap(), b"content");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1 + targets.len());
}

#[test]
fn what_a_killed_process_left_is_removed_and_no_two_unpack_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("x.tar");
    std::fs::write(&archive, tar(GOOD)).unwrap();
    let target = dir.path().join("out");
    let mut work = None;
    let mut inner = None;
    let stopped = extract(&archive, &target, LIMITS, &mut |_, _| {
        inner.get_or_insert_with(|| extract(&archive, &target, LIMITS, &mut |_, _| true).unwrap_err());
        let mut names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        work = work.take().or(names.find(|path| path.is_dir()));
        false
    });
    assert!(matches!(inner, Some(FetchError::InUse { .. })), "{inner:?}");
    assert!(matches!(stopped, Err(FetchError::UnpackingCancelled { .. })));
    let work = work.unwrap();
    assert!(!work.exists());
    // A killed process removes nothing.
    std::fs::create_dir_all(work.join(".partial-killed/a")).unwrap();
    extract(&archive, &target, LIMITS, &mut |_, _| true).unwrap();
    assert!(target.join("c/d.txt").exists() && !work.exists());
}

/// Unpacks and stops when it was asked `stop` times whether to go on; gives what `progress` was
/// told.
fn unpack_until(archive: &Path, stop: usize) -> (Result<(), FetchError>, Vec<(u64, u64)>) {
    let mut told = Vec::new();
    let limits = Limits { max_entries: 10, max_bytes: 1 << 30 };
    let unpacked = extract(archive, &archive.with_file_name("out"), limits, &mut |done, total| {
        told.push((done, total));
        told.len() < stop
    });
    (unpacked, told)
}

#[test]
fn an_extraction_tells_how_far_it_is_and_can_be_stopped_at_any_time() {
    // Bytes that do not compress, so that they are read little by little, and a long end.
    let next =
        |x: &u64| Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    let noise: Vec<u8> =
        std::iter::successors(Some(1), next).map(|x| (x >> 56) as u8).take(200_000).collect();
    let entries = [GOOD[0], ("a/b", EntryType::Regular, &noise[..]), ("c", EntryType::Regular, &noise[..])];
    let mut long = tar(&entries);
    long.extend(vec![0; 200_000]);
    let cases = [
        ("x.tar", long.clone()),
        ("x.tar.gz", gzip(&long)),
        ("x.tar.xz", xz(&long)),
        ("x.zip", zip(&[("a/b", &noise), ("c", &noise)])),
    ];
    for (name, bytes) in cases {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join(name);
        std::fs::write(&archive, &bytes).unwrap();
        let (unpacked, told) = unpack_until(&archive, usize::MAX);
        unpacked.unwrap();
        // Of each entry, each of at least four pieces of both files, the long end and the whole.
        let least = if name == "x.zip" { 2 + 8 + 1 } else { 3 + 8 + 3 + 1 };
        assert!(told.is_sorted() && told.len() >= least, "{name}: {told:?}");
        let length = bytes.len() as u64;
        assert_eq!(told.last(), Some(&(length, length)), "{name}");
        assert!(
            told[0].0 <= length / 2 && told.iter().all(|(_, total)| *total == length),
            "{name}: {told:?}"
        );
        std::fs::remove_dir_all(dir.path().join("out")).unwrap();
        for stop in 1..=told.len() {
            let (stopped, asked) = unpack_until(&archive, stop);
            assert!(matches!(stopped, Err(FetchError::UnpackingCancelled { .. })), "{name}: {stopped:?}");
            assert_eq!((asked.len(), std::fs::read_dir(dir.path()).unwrap().count()), (stop, 1), "{name}");
        }
    }
}

#[test]
fn what_could_do_harm_is_refused_and_leaves_nothing() {
    let file = |name: &str| tar(&[GOOD[1], (name, EntryType::Regular, b"evil")]);
    let of_kind = |kind| tar(&[GOOD[1], ("x", kind, b"")]);
    let too_large = tar(&[("x", EntryType::Regular, &[0; 2000])]);
    let many: Vec<_> = (0..20).map(|k| format!("f{k}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), EntryType::Regular, &b""[..])).collect();
    let whole = tar(GOOD);
    let mut wrong_sum = gzip(&whole);
    let end = wrong_sum.len();
    wrong_sum[end - 6] ^= 1;
    let short = xz(&whole);
    let short = short[..short.len() - 20].to_vec();
    let deep = "d/".repeat(20) + "x";
    let cases: [(&str, Vec<u8>, &str); 23] = [
        ("x.tar", file(&deep), "exceeds 10 files"),
        ("x.tar", file("a/b.txt/c"), "the place of another"),
        ("x.tar", file("a/C:x"), "absolute"),
        ("x.tar", tar(&GOOD[1..])[..1024].to_vec(), "cannot unpack"),
        ("x.tar.gz", wrong_sum, "cannot unpack"),
        ("x.tar.gz", gzip(&whole)[..40].to_vec(), "cannot unpack"),
        ("x.tar.xz", short, "cannot unpack"),
        ("x.tar.gz", long_name(), "cannot unpack"),
        ("x.zip", twice(), "cannot unpack"),
        ("x.tar", file("../x"), "leads out"),
        ("x.tar", file("a/../../x"), "leads out"),
        ("x.tar", file("/x"), "absolute"),
        ("x.tar", file("C:/x"), "absolute"),
        ("x.tar", file("a\\..\\x"), "character"),
        ("x.tar", file("a/b.txt"), "the place of another"),
        ("x.tar", of_kind(EntryType::Symlink), "link"),
        ("x.tar", of_kind(EntryType::Link), "link"),
        ("x.tar", of_kind(EntryType::Char), "neither"),
        ("x.tar", too_large, "exceeds 1000 bytes"),
        ("x.tar", tar(&many), "exceeds 10 files"),
        ("x.tar", whole[..700].to_vec(), "cannot unpack"),
        ("x.zip", zip(&[("../x", b"evil")]), "leads out"),
        ("x.zip", b"no archive".to_vec(), "cannot unpack"),
    ];
    for (name, bytes, why) in cases {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("inner");
        std::fs::create_dir(&dir).unwrap();
        let error = unpack(&dir, name, &bytes).unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
        let count = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
        assert_eq!((count(&dir), count(outer.path())), (1, 1), "{why}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(unpack(dir.path(), "x.rar", b""), Err(FetchError::UnknownArchive { .. })));
    assert!(matches!(
        extract(&dir.path().join("none.zip"), &dir.path().join("o"), LIMITS, &mut |_, _| true),
        Err(FetchError::Read { .. })
    ));
}
