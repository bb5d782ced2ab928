use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use fmam_models::{
    BACKBONES, Backbone, ModelError, Precision, backbone_from_tensors, load_backbone, load_tensors,
    read_state_dict, save_tensors,
};
use serde::Deserialize;

use crate::backbones::{named, state_dict};
use crate::reference::image;

#[derive(Deserialize)]
struct Fixture {
    tensors: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    sum: f64,
    data: Option<serde_json::Value>,
    walk: Option<Vec<f64>>,
}

fn flat(value: &serde_json::Value) -> Vec<f64> {
    match value {
        serde_json::Value::Array(items) => items.iter().filter_map(serde_json::Value::as_f64).collect(),
        one => one.as_f64().into_iter().collect(),
    }
}

/// Equal, but for the last bit that parsing a decimal number may cost.
fn close(actual: &[f64], expected: &[f64]) -> bool {
    let close = |(a, e): (&f64, &f64)| (a - e).abs() <= 1e-15 * e.abs();
    actual.len() == expected.len() && actual.iter().zip(expected).all(close)
}

fn check(file: &str) {
    let fixture: Fixture = fmam_testkit::read_fixture("checkpoints/tiny.json");
    let actual = read_state_dict(&fmam_testkit::fixture_path(&format!("checkpoints/{file}"))).unwrap();
    assert_eq!(actual.len(), fixture.tensors.len());
    for expected in &fixture.tensors {
        let (name, tensor) = (&expected.name, &actual[&expected.name]);
        assert_eq!(tensor.dims(), expected.shape, "{name}");
        let dtype = match expected.dtype.as_str() {
            "float32" => DType::F32,
            "float64" => DType::F64,
            "float16" => DType::F16,
            "bfloat16" => DType::BF16,
            "int64" => DType::I64,
            other => panic!("{other}"),
        };
        assert_eq!(tensor.dtype(), dtype, "{name}");
        let values: Vec<f64> = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!((values.iter().sum::<f64>() - expected.sum).abs() < 1e-9, "{name}");
        if let Some(data) = &expected.data {
            assert!(close(&values, &flat(data)), "{name}: {values:?} instead of {data}");
        }
        for (i, value) in expected.walk.iter().flatten().enumerate() {
            assert!(close(&[values[i * 7919 % values.len()]], &[*value]), "{name} {i}");
        }
    }
}

#[test]
fn both_formats_of_torch_save_give_what_pytorch_saved() {
    check("tiny.pth");
    check("tiny_legacy.pth");
}

/// The message of an error and of all its causes.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |e: &&dyn Error| (*e).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[track_caller]
fn check_refused(path: &Path, cause: &str) {
    let error = read_state_dict(path).unwrap_err();
    assert!(matches!(&error, ModelError::Read { path: named, .. } if named == path), "{error:?}");
    assert!(chain(&error).contains(cause), "{}", chain(&error));
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pth");
    for file in ["tiny.pth", "tiny_legacy.pth"] {
        let whole = std::fs::read(fmam_testkit::fixture_path(&format!("checkpoints/{file}"))).unwrap();
        for length in (0..whole.len()).step_by(331).chain([1, 4, 15, whole.len() - 1]) {
            std::fs::write(&path, &whole[..length]).unwrap();
            check_refused(&path, "");
        }
    }
}

#[test]
fn damage_and_foreign_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.bin");
    check_refused(&path, "No such file");
    for (content, cause) in [
        (&b"nothing"[..], "neither a safetensors file nor one of torch.save"),
        (b"\n<!DOCTYPE HTML><title>404</title>", "it is an HTML page"),
        (b"<html>404</html>", "it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer"),
        (b"", "neither a safetensors file nor one of torch.save"),
        (b"PK\x03\x04 nothing", "the zip archive is damaged"),
        (b"\x80\x02\x8a\x0awrong", "the file ends too early"),
    ] {
        std::fs::write(&path, content).unwrap();
        check_refused(&path, cause);
    }
    let mut bytes = std::fs::read(fmam_testkit::fixture_path("checkpoints/tiny.pth")).unwrap();
    // The archive carries checksums: one flipped bit among the elements of a tensor is found.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    check_refused(&path, "missing or incomplete");
}

#[test]
fn a_pickle_of_something_else_is_refused_without_running_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    for (object, cause) in [
        (&b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."[..], "`os.system`"),
        (b"\x80\x02K\x01.\x80\x02].", "something else than tensors by name"),
        (b"\x80\x02}X\x05\x00\x00\x00epochK\x03s.\x80\x02].", "something else than tensors by name"),
    ] {
        std::fs::write(&path, [LEGACY, object].concat()).unwrap();
        check_refused(&path, cause);
    }
}

/// The bytes before the object in PyTorch's older format.
const LEGACY: &[u8] =
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";

fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// A vector of three numbers in the storage `key`.
fn vector(storage_type: &str, key: &str) -> Vec<u8> {
    let start = b"ctorch._utils\n_rebuild_tensor_v2\n((";
    let storage =
        [text("storage"), format!("ctorch\n{storage_type}\n").into(), text(key), text("cpu")].concat();
    let end = b"K\x03tQK\x00K\x03\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR";
    [start.as_slice(), &storage, end].concat()
}

fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(key, value)| [text(key), value.clone()]);
    [b"}(".to_vec(), entries.flatten().collect(), b"u".to_vec()].concat()
}

/// A file with `object`, its storage `0` of three f32 and its storage `1` of three bytes.
fn legacy(object: &[u8]) -> Vec<u8> {
    let keys = [b"\x80\x02](".to_vec(), text("1"), text("0"), b"e.".to_vec()].concat();
    let length = 3_i64.to_le_bytes();
    let values: Vec<u8> = [1.0_f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    [LEGACY, b"\x80\x02", object, b".", &keys, &length, &[7, 8, 9], &length, &values].concat()
}

#[test]
fn a_training_checkpoint_gives_its_state_dict() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.pth");
    let plain = |prefix: &str| dict(&[(&format!("{prefix}a"), vector("FloatStorage", "0"))]);
    // Python: Namespace(lr=1), with which training scripts keep their arguments.
    let namespace =
        [b"cargparse\nNamespace\n)\x81".to_vec(), dict(&[("lr", b"K\x01".to_vec())]), b"b".to_vec()];
    let rest = || {
        let args = ("args", namespace.concat());
        let rng = ("rng_state", vector("ByteStorage", "1"));
        [("epoch", b"K\x03".to_vec()), args, rng]
    };
    let beside = |name, inner| dict(&[rest().as_slice(), &[(name, inner)]].concat());
    for object in [
        beside("state_dict", plain("")),
        beside("model_state_dict", plain("module.")),
        beside("model", plain("module.model.")),
        beside("model", dict(&[("state_dict", plain("_orig_mod."))])),
    ] {
        std::fs::write(&path, legacy(&object)).unwrap();
        let tensors = read_state_dict(&path).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(tensors["a"].to_vec1::<f32>().unwrap(), [1.0, 2.0, 3.0]);
    }
    // A network that was pickled whole has code in it.
    std::fs::write(&path, legacy(&beside("model", namespace.concat()))).unwrap();
    check_refused(&path, "`argparse.Namespace`");
    std::fs::write(&path, legacy(&beside("weights", plain("")))).unwrap();
    check_refused(&path, "something else than tensors by name");
}

#[test]
fn a_prefix_of_all_names_is_left_out_of_a_safetensors_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrapped.safetensors");
    let teacher = load_backbone("efficientnet-lite0", None, &Device::Cpu).unwrap();
    let wrapped = |(key, tensor): (&String, &Tensor)| (format!("module.{key}"), tensor.clone());
    save_tensors(&path, &teacher.tensors().iter().map(wrapped).collect()).unwrap();
    let read = load_backbone("efficientnet-lite0", Some(&path), &Device::Cpu).unwrap();
    assert!(read.tensors().keys().eq(teacher.tensors().keys()));
    // Files of this program are read as they are.
    assert!(load_tensors(&path).unwrap().keys().all(|key| key.starts_with("module.")));
}

#[test]
fn saved_tensors_come_back_and_nothing_is_left_of_a_failed_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let tensors: BTreeMap<String, Tensor> = [("b.weight", [2, 3]), ("a.bias", [1, 4])]
        .map(|(name, shape)| (name.to_owned(), image(&shape)))
        .into();
    save_tensors(&path, &tensors).unwrap();
    for read in [load_tensors(&path).unwrap(), read_state_dict(&path).unwrap()] {
        let values = |t: &Tensor| t.to_vec2::<f32>().unwrap();
        assert!(read.iter().map(|(k, v)| (k, values(v))).eq(tensors.iter().map(|(k, v)| (k, values(v)))));
    }
    let first = std::fs::read(&path).unwrap();
    save_tensors(&path, &tensors).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), first);

    let taken = folder.path().join("folder");
    std::fs::create_dir(&taken).unwrap();
    assert!(matches!(save_tensors(&taken, &tensors), Err(ModelError::Write { .. })));
    let below_a_file = path.join("such.safetensors");
    assert!(matches!(save_tensors(&below_a_file, &tensors), Err(ModelError::Write { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    let new = folder.path().join("new/folder/weights.safetensors");
    save_tensors(&new, &tensors).unwrap();
    assert_eq!(std::fs::read(&new).unwrap(), first);

    std::fs::write(&path, &first[..first.len() - 1]).unwrap();
    assert!(matches!(load_tensors(&path), Err(ModelError::Read { .. })));
}

#[test]
fn a_checkpoint_file_gives_the_backbone_its_tensors_give() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet18.safetensors");
    let from_tensors =
        backbone_from_tensors("resnet18", state_dict(named("resnet18")), "formula", &Device::Cpu).unwrap();
    save_tensors(&path, from_tensors.tensors()).unwrap();
    let from_file = load_backbone("resnet18", Some(&path), &Device::Cpu).unwrap();
    let x = image(&[1, 3, 32, 48]);
    let values = |backbone: &dyn Backbone| -> Vec<f32> {
        backbone.features(&x).unwrap().scales[2].flatten_all().unwrap().to_vec1().unwrap()
    };
    assert_eq!(values(&from_tensors), values(&from_file));
}

fn sha256(path: &Path) -> String {
    fmam_files::Digest::of_file(path).unwrap().to_string()
}

#[test]
fn a_backbone_tells_the_digest_of_the_file_that_its_weights_came_from() {
    let embedded = load_backbone("efficientnet-lite0", None, &Device::Cpu).unwrap();
    let data =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/weights/efficientnet_lite0.safetensors");
    assert_eq!(embedded.weights_digest(), Some(sha256(&data).as_str()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    save_tensors(&path, embedded.tensors()).unwrap();
    let from_file = load_backbone("efficientnet-lite0", Some(&path), &Device::Cpu).unwrap();
    assert_eq!(from_file.weights_digest(), Some(sha256(&path).as_str()));
    assert_eq!(from_file.with_precision(Precision::Bf16).weights_digest(), Some(sha256(&path).as_str()));
    assert_eq!(load_backbone("tiny", None, &Device::Cpu).unwrap().weights_digest(), None);
    let given = embedded.tensors().clone();
    let given = backbone_from_tensors("efficientnet-lite0", given, "saved", &Device::Cpu).unwrap();
    assert_eq!(given.weights_digest(), None);
}

#[test]
fn every_key_is_accounted_for() {
    let load = |tensors| backbone_from_tensors("resnet18", tensors, "x.pth", &Device::Cpu);
    let with = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut tensors = state_dict(named("resnet18"));
        change(&mut tensors);
        load(tensors).unwrap_err()
    };
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();

    let error = with(&|t| drop(t.remove("layer2.1.bn2.running_var")));
    assert!(
        matches!(&error, ModelError::MissingKey { key, .. } if key == "layer2.1.bn2.running_var"),
        "{error}"
    );

    let foreign =
        [("features.0.weight", 1), ("features.0.bias", 1)].map(|(key, n)| (key.to_owned(), zeros(&[n])));
    let error = load(foreign.into()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "x.pth: tensor `conv1.weight` is missing; it has `features.0.bias`, `features.0.weight`"
    );

    let error = with(&|t| drop(t.insert("layer3.0.conv1.weight".to_owned(), zeros(&[256, 128, 1, 1]))));
    assert_eq!(
        error.to_string(),
        "x.pth: tensor `layer3.0.conv1.weight` has shape [256, 128, 1, 1], expected [256, 128, 3, 3]"
    );

    let error = with(&|t| {
        t.insert("layer1.2.conv1.weight".to_owned(), zeros(&[64, 64, 3, 3]));
        t.insert("head.bias".to_owned(), zeros(&[1]));
    });
    assert_eq!(
        error.to_string(),
        "x.pth: 2 tensor(s) do not belong to this architecture: head.bias, layer1.2.conv1.weight; it knows \
         `bn1.bias`, `bn1.running_mean`, `bn1.running_var`, ..."
    );

    // Near misses of what a whole checkpoint has beyond the features: the head, layer 4 and
    // counters.
    let foreign = [
        "fc.weight_g",
        "layer1.0.bn3.num_batches_tracked",
        "layer4.0.bn2.momentum",
        "layer4.0.conv3.weight",
        "layer4.1.downsample.0.weight",
        "layer4.2.conv1.weight",
        "num_batches_tracked",
    ];
    let error = with(&|t| t.extend(foreign.map(|key| (key.to_owned(), zeros(&[1])))));
    assert!(matches!(&error, ModelError::SurplusKeys { keys, .. } if *keys == foreign), "{error}");

    // Another member of the family is refused too.
    assert!(backbone_from_tensors("resnet34", state_dict(named("resnet18")), "x.pth", &Device::Cpu).is_err());
}

#[test]
fn near_misses_of_unused_lite0_keys_are_refused() {
    let zero = || Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    let mut tensors = load_backbone("efficientnet-lite0", None, &Device::Cpu).unwrap().tensors().clone();
    let foreign = ["_blocks.11._se_reduce.weight", "_blocks.16._bn0.bias", "_fc.weight2"];
    tensors.extend(foreign.map(|key| (key.to_owned(), zero())));
    let error = backbone_from_tensors("efficientnet-lite0", tensors, "x.pth", &Device::Cpu).unwrap_err();
    assert!(matches!(&error, ModelError::SurplusKeys { keys, .. } if *keys == foreign), "{error}");
}

#[test]
fn names_and_missing_weights_are_told() {
    let error = load_backbone("resnet19", None, &Device::Cpu).unwrap_err();
    assert!(BACKBONES.iter().all(|spec| error.to_string().contains(spec.name)), "{error}");
    let error = load_backbone("resnet18", None, &Device::Cpu).unwrap_err();
    assert!(matches!(&error, ModelError::WeightsNeeded { name: "resnet18", is_published: true }));
}

#[test]
fn weights_that_are_not_finite_are_refused_by_file_and_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let mut tensors = load_backbone("tiny", None, &Device::Cpu).unwrap().tensors().clone();
    let (key, tensor) = tensors.iter().next_back().map(|(key, t)| (key.clone(), t.clone())).unwrap();
    let mut values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values[0] = f32::NAN;
    let damaged = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
    tensors.insert(key.clone(), damaged);
    save_tensors(&path, &tensors).unwrap();
    let error = load_backbone("tiny", Some(&path), &Device::Cpu).unwrap_err();
    assert!(
        matches!(&error, ModelError::NotFinite { origin, key: named }
            if *origin == path.display().to_string() && *named == key),
        "{error}"
    );
}
