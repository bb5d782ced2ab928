//! Checkpoints that ask for far more memory than they have bytes.

use std::io::{Cursor, Write};
use std::path::Path;

use candle_core::Tensor;
use fmam_models::{ModelError, read_state_dict};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// The bytes before the object in PyTorch's older format.
const LEGACY: &[u8] =
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";

fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
}

fn int(value: usize) -> Vec<u8> {
    [b"J".as_slice(), &i32::try_from(value).unwrap().to_le_bytes()].concat()
}

/// A tensor of `shape`, at `offset` of the storage `key` of `length` floats.
fn tensor(key: &str, length: usize, offset: usize, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let start = b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    let storage = [text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text(key), text("cpu"), int(length)];
    let view = [b"tQ".to_vec(), int(offset), shape.to_vec(), strides.to_vec(), b"\x89}tR".to_vec()];
    [start, storage.concat(), view.concat()].concat()
}

fn vector(key: &str, length: usize, offset: usize, count: usize) -> Vec<u8> {
    tensor(key, length, offset, &[int(count), b"\x85".to_vec()].concat(), b"K\x01\x85")
}

fn dict(entries: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    [b"\x80\x02}(".to_vec(), entries.into_iter().flatten().collect(), b"u.".to_vec()].concat()
}

/// A file of the older format with the pickle `object` and its storage `0` of `length` zeros.
fn legacy(object: &[u8], length: usize) -> Vec<u8> {
    let keys = [b"\x80\x02]".to_vec(), text("0"), b"a.".to_vec()].concat();
    [LEGACY, object, &keys, &(length as i64).to_le_bytes(), &vec![0; 4 * length]].concat()
}

/// `pickle_bombs.py list`: a list that the memo holds at each of its lengths.
fn list_bomb(n: u32) -> Vec<u8> {
    let steps = (0..n).flat_map(|index| [b"Nar".as_slice(), &index.to_le_bytes()].concat());
    let object = [b"\x80\x02]".to_vec(), steps.collect(), b".".to_vec()].concat();
    [LEGACY, &object, b"\x80\x02]."].concat()
}

/// `pickle_bombs.py share`: one tensor under `n` names.
fn share_bomb(length: usize, n: usize) -> Vec<u8> {
    let first = [text("0"), vector("0", length, 0, length), b"q\x01".to_vec()].concat();
    let more = (1..n).map(|name| [text(&format!("{name:x}")), b"h\x01".to_vec()].concat());
    legacy(&dict([first].into_iter().chain(more)), length)
}

/// A file in the zip format with the pickle `object`, of which `storages` are the others.
fn zipped(object: &[u8], storages: &[(String, Vec<u8>)], compression: CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(compression);
    let pickle = [("a/data.pkl".to_owned(), object.to_vec())];
    for (name, content) in pickle.iter().chain(storages) {
        archive.start_file(name.as_str(), options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn zeros(length: usize, n: usize) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let entry = |key: usize| [text(&format!("k{key}")), vector(&key.to_string(), length, 0, length)].concat();
    let storage = |key: usize| (format!("a/data/{key}"), vec![0; 4 * length]);
    (dict((0..n).map(entry)), (0..n).map(storage).collect())
}

/// An archive whose `n` storages of `length` floats are all the bytes of the first.
fn overlapping(length: usize, n: usize) -> Vec<u8> {
    let (object, mut storages) = zeros(length, n);
    storages[1..].iter_mut().for_each(|(_, content)| content.clear());
    let mut bytes = zipped(&object, &storages, CompressionMethod::Stored);
    let records: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"PK\x01\x02")).collect();
    // The records of the directory: that of the pickle, that of the first storage, the others.
    let (facts, place) = (16..28, 42..46);
    for at in &records[2..] {
        for range in [&facts, &place] {
            let first = bytes[records[1]..][range.clone()].to_vec();
            bytes[*at..][range.clone()].copy_from_slice(&first);
        }
    }
    bytes
}

fn refusal(path: &Path) -> String {
    let error = read_state_dict(path).unwrap_err();
    assert!(matches!(error, ModelError::Read { .. }), "{error}");
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The greatest memory of this process so far, in MB.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1000
}

/// Takes a process of its own, whose greatest memory is that of the files alone.
#[cfg(target_os = "linux")]
#[test]
fn a_hostile_checkpoint_is_refused_within_100_mb() {
    const CHILD: &str = "FMAM_TEST_HOSTILE_CHECKPOINTS";
    if std::env::var_os(CHILD).is_none() {
        let name = "hostile_checkpoints::a_hostile_checkpoint_is_refused_within_100_mb";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args([name, "--exact"]).env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.pth");
    let too_much = "far more memory than the file has bytes";
    let windows = (0..2_000).map(|at| [text(&format!("{at}")), vector("0", 100_000, at, 90_000)].concat());
    let name = text(&"n".repeat(1 << 20));
    let named = (0..1_000).map(|at| match at {
        0 => [name.as_slice(), b"q\x00", &vector("0", 4, 0, 4), b"q\x01"].concat(),
        _ => b"h\x00h\x01".to_vec(),
    });
    let axes = [b"(".as_slice(), &b"K\x01".repeat(100_000), b"tq\x00"].concat();
    let of_many_axes = (0..2_000).map(|at| {
        let shape = if at == 0 { &axes[..] } else { b"h\x00" };
        [text(&format!("{at}")), tensor("0", 4, 0, shape, b"h\x00")].concat()
    });
    let (object, storages) = zeros(250_000, 100);
    for (bomb, cause) in [
        (list_bomb(8_000), too_much),
        (list_bomb(150_000), too_much),
        (share_bomb(200_000, 2_000), too_much),
        (legacy(&dict(windows), 100_000), too_much),
        (legacy(&dict(named), 4), too_much),
        (legacy(&dict(of_many_axes), 4), "corrupt"),
        (zipped(&object, &storages[..1], CompressionMethod::Deflated), "is compressed"),
        (overlapping(250_000, 300), "more bytes than the archive"),
    ] {
        std::fs::write(&path, &bomb).unwrap();
        let error = refusal(&path);
        assert!(error.contains(cause), "{error}");
        assert!(peak() < 100, "{} MB for {} bytes: {error}", peak(), bomb.len());
    }
}

#[test]
fn tied_weights_share_one_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tied.pth");
    let object = |turned: &[u8]| {
        let plain = vector("0", 6, 0, 6);
        dict([
            [text("a"), plain.clone()].concat(),
            [text("b"), plain].concat(),
            [text("c"), turned.to_vec()].concat(),
        ])
    };
    let turned = tensor("0", 6, 0, b"K\x02K\x03\x86", b"K\x01K\x02\x86");
    std::fs::write(&path, legacy(&object(&turned), 6)).unwrap();
    let tensors = read_state_dict(&path).unwrap();
    let place = |tensor: &Tensor| {
        let (storage, _) = tensor.storage_and_layout();
        let candle_core::Storage::Cpu(candle_core::CpuStorage::F32(values)) = &*storage else { panic!() };
        values.as_ptr()
    };
    assert_eq!(place(&tensors["a"]), place(&tensors["b"]));
    assert_ne!(place(&tensors["a"]), place(&tensors["c"]));
    assert_eq!(tensors["c"].dims(), [2, 3]);
}

#[test]
fn an_honest_archive_of_stored_entries_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    let (object, storages) = zeros(10, 3);
    std::fs::write(&path, zipped(&object, &storages, CompressionMethod::Stored)).unwrap();
    assert_eq!(read_state_dict(&path).unwrap().len(), 3);
}
