//! `fmam weights fetch` and `fmam datasets`, from a server on this machine and from files.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::{Call, fail, image_dataset, line, succeed};

/// Serves the same bytes whatever is asked for; its address.
fn serve(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let content = Arc::new(content);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let end = BufReader::new(&stream).lines().find(|line| line.as_ref().is_ok_and(String::is_empty));
            assert!(end.is_some());
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", content.len());
            // The client may be gone.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content));
        }
    });
    address
}

/// Runs `fmam` with a cache folder of its own.
fn cached(dir: &Path, args: &str) -> Call {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
    command.args(args.split_whitespace()).current_dir(dir).env("FMAM_CACHE", dir.join("cache"));
    Call::of(command.output().unwrap())
}

fn manifest(dir: &Path, url: &str, digest: &str) {
    let text = format!(
        "[[weights]]\nname = 'resnet18'\narchitecture = 'a'\nurl = '{url}/r.safetensors'\nsha256 = '{digest}'\nlicence = 'x'\n"
    );
    std::fs::write(dir.join("m.toml"), text).unwrap();
}

/// Weights of a ResNet-18 with random values, as a file.
fn weights(dir: &Path, backbone: &str) -> (Vec<u8>, String) {
    let path = dir.join("random.safetensors");
    let device = candle_core::Device::Cpu;
    let backbone = fmam_models::random_backbone(backbone, fmam_core::Seed::new(1), &device).unwrap();
    fmam_models::save_tensors(&path, backbone.tensors()).unwrap();
    (std::fs::read(&path).unwrap(), fmam_fetch::sha256_file(&path).unwrap())
}

#[test]
fn fetched_weights_are_checked_kept_and_found_by_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, digest) = weights(dir.path(), "resnet18");
    let url = serve(bytes.clone());
    manifest(dir.path(), &url, &digest[..8]);
    let fetch = "weights fetch resnet18 --manifest m.toml";
    let offline = cached(dir.path(), &format!("{fetch} --offline"));
    assert!(offline.code == Some(1) && offline.stderr.contains("--offline"), "{}", offline.stderr);
    let told = cached(dir.path(), fetch);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.stdout.trim_end().ends_with("cache/weights/resnet18.safetensors"), "{}", told.stdout);
    assert_eq!(cached(dir.path(), &format!("{fetch} --offline")).code, Some(0));
    assert!(cached(dir.path(), "weights list").stdout.contains("cache/weights/resnet18.safetensors"));

    image_dataset(dir.path());
    let run = "reproduce --data-root data --dataset mvtec --categories plain --methods teacher --backbone resnet18 \
               --image-size 64 --seeds 0 --out o --quiet";
    let without = line(dir.path(), run);
    assert!(
        without.code != Some(0) && without.stderr.contains("fmam weights fetch resnet18"),
        "{}",
        without.stderr
    );
    let with = cached(dir.path(), run);
    assert_eq!(with.code, Some(0), "{}", with.stderr);

    // A file that was changed since is told, and one that was published otherwise.
    let kept = dir.path().join("cache/weights/r.safetensors");
    std::fs::write(&kept, &bytes[..bytes.len() - 1]).unwrap();
    let changed = cached(dir.path(), fetch);
    assert!(changed.code == Some(1) && changed.stderr.contains("r.safetensors"), "{}", changed.stderr);
    std::fs::remove_dir_all(dir.path().join("cache")).unwrap();
    manifest(dir.path(), &url, "00000000");
    let wrong = cached(dir.path(), fetch);
    assert!(wrong.code == Some(1) && wrong.stderr.contains("00000000"), "{}", wrong.stderr);
    assert_eq!(std::fs::read_dir(dir.path().join("cache/weights")).unwrap().count(), 0);
    let file = cached(dir.path(), &format!("{fetch} --from-file random.safetensors"));
    assert!(file.code == Some(1) && file.stderr.contains("random.safetensors"), "{}", file.stderr);
    manifest(dir.path(), &url, &digest);
    assert_eq!(cached(dir.path(), &format!("{fetch} --from-file random.safetensors")).code, Some(0));
}

#[test]
fn a_file_of_the_hub_comes_from_a_mirror_or_from_where_its_programs_keep_it() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, digest) = weights(dir.path(), "resnet18");
    let entry = "name = 'resnet18'\narchitecture = 'a'\nlicence = 'x'";
    let url = "https://huggingface.co/owner/net/resolve/c0ffee/model.safetensors";
    let text = format!("[[weights]]\n{entry}\nurl = '{url}'\nsha256 = '{digest}'\n");
    std::fs::write(dir.path().join("m.toml"), text).unwrap();
    let fetch = |more: &str, endpoint: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
        command.args(["weights", "fetch", "resnet18", "--manifest", "m.toml"]).args(more.split_whitespace());
        command.env("FMAM_CACHE", dir.path().join("cache")).env("HF_HOME", dir.path().join("hf"));
        Call::of(command.env("HF_ENDPOINT", endpoint).current_dir(dir.path()).output().unwrap())
    };
    assert_eq!(fetch("--offline", "").code, Some(1));
    let mirrored = fetch("", &serve(bytes.clone()));
    assert_eq!(mirrored.code, Some(0), "{}", mirrored.stderr);
    assert!(dir.path().join("cache/weights/resnet18-model.safetensors").is_file());

    std::fs::remove_dir_all(dir.path().join("cache")).unwrap();
    let shared = dir.path().join("hf/hub/models--owner--net/snapshots/c0ffee");
    std::fs::create_dir_all(&shared).unwrap();
    // Another file is not taken for it.
    std::fs::write(shared.join("model.safetensors"), &bytes[1..]).unwrap();
    assert_eq!(fetch("--offline", "").code, Some(1));
    std::fs::write(shared.join("model.safetensors"), &bytes).unwrap();
    let found = fetch("--offline", "");
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert!(found.stdout.trim_end().ends_with("cache/weights/resnet18.safetensors"), "{}", found.stdout);
}

#[test]
fn a_backbone_says_which_images_it_takes_and_which_methods_it_is_for() {
    let dir = tempfile::tempdir().unwrap();
    weights(dir.path(), "dinov2-small");
    image_dataset(dir.path());
    let run = "reproduce --data-root data --dataset mvtec --categories plain --seeds 0 --out o --quiet \
               --backbone dinov2-small --weights dinov2-small=random.safetensors";
    let size = cached(dir.path(), &format!("{run} --methods teacher"));
    assert!(size.code == Some(2) && size.stderr.contains("--image-size 252"), "{}", size.stderr);
    let large = cached(dir.path(), &format!("{run} --methods teacher --image-size 672"));
    assert!(large.code == Some(2) && large.stderr.contains("try --image-size 518"), "{}", large.stderr);
    let student = cached(dir.path(), &format!("{run} --methods rkd --image-size 224"));
    assert!(student.code != Some(0) && student.stderr.contains("has no student"), "{}", student.stderr);
    let teacher = cached(dir.path(), &format!("{run} --methods teacher --image-size 224"));
    assert_eq!(teacher.code, Some(0), "{}", teacher.stderr);
}

#[test]
fn a_file_of_another_architecture_or_a_part_of_one_does_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (other, _) = weights(dir.path(), "resnet34");
    let (whole, _) = weights(dir.path(), "resnet18");
    for content in [other, whole[..whole.len() / 2].to_vec(), b"nothing".to_vec()] {
        let path = dir.path().join("served");
        std::fs::write(&path, &content).unwrap();
        let digest = fmam_fetch::sha256_file(&path).unwrap();
        manifest(dir.path(), &serve(content), &digest);
        let call = cached(dir.path(), "weights fetch resnet18 --manifest m.toml");
        assert!(call.code == Some(1) && call.stderr.contains("it was removed"), "{}", call.stderr);
        assert_eq!(
            std::fs::read_dir(dir.path().join("cache/weights")).unwrap().count(),
            0,
            "{}",
            call.stderr
        );
    }
    assert_eq!(cached(dir.path(), "weights fetch none").code, Some(2));
}

#[test]
fn a_data_set_comes_from_an_archive_and_its_images_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let pack = |folder: &str, inner: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all(inner, dir.path().join(folder)).unwrap();
        std::fs::write(dir.path().join("set.tar"), tar.into_inner().unwrap()).unwrap();
    };
    pack("data", "mvtec_anomaly_detection");
    fail(dir.path(), "datasets fetch mvtec --data-root new", 1, &["--from-archive", "mvtec.com"]);
    let told = succeed(dir.path(), "datasets fetch mvtec --data-root new --from-archive set.tar");
    assert!(told.trim_end().ends_with("new/mvtec"), "{told}");
    assert_eq!(std::fs::read_dir(dir.path().join("new")).unwrap().count(), 1);
    assert!(succeed(dir.path(), "datasets verify mvtec --data-root new").contains("plain: 4 / 2 / "));
    fail(dir.path(), "datasets fetch mvtec --data-root new --from-archive set.tar", 1, &["exists already"]);

    // A copy of a published category that lacks images.
    std::fs::rename(dir.path().join("new/mvtec/plain"), dir.path().join("new/mvtec/screw")).unwrap();
    let call = line(dir.path(), "datasets verify mvtec --data-root new");
    assert_eq!(call.code, Some(1), "{}", call.stderr);
    assert!(call.stdout.contains("published are 320 / 41 / 119"), "{}", call.stdout);
    assert!(call.stdout.contains("not there: bottle, cable"), "{}", call.stdout);
    assert!(succeed(dir.path(), "datasets list").contains("visa"));
    assert_eq!(line(dir.path(), "datasets fetch none --data-root new").code, Some(2));
}

/// A tar archive of some size in a folder of its own.
fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(200_000);
    header.set_mode(0o644);
    tar.append_data(&mut header, "set/image.bin", &[7; 200_000][..]).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn an_archive_that_was_fetched_before_is_used_again_unless_it_changed() {
    let dir = tempfile::tempdir().unwrap();
    let url = serve(archive());
    let text =
        format!("[[dataset]]\nname = 'x'\nfolder = 'x'\npage = 'p'\nurl = '{url}/x.tar'\nlicence = 'l'\n");
    std::fs::write(dir.path().join("m.toml"), text).unwrap();
    let fetch = "datasets fetch x --data-root new --manifest m.toml";
    let again = || std::fs::remove_dir_all(dir.path().join("new/x")).unwrap();
    succeed(dir.path(), fetch);
    again();
    succeed(dir.path(), fetch);
    again();
    let path = dir.path().join("new/x.tar");
    let mut bytes = archive();
    bytes[1000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let told = ["x.tar has SHA-256", "delete the file and fetch it again"];
    fail(dir.path(), fetch, 1, &told);
    fail(dir.path(), &format!("{fetch} --from-archive new/x.tar"), 1, &told);
    assert!(!dir.path().join("new/x").exists());
    std::fs::remove_file(&path).unwrap();
    succeed(dir.path(), fetch);
    assert_eq!(std::fs::read(dir.path().join("new/x/image.bin")).unwrap(), [7; 200_000]);
}

#[test]
#[cfg(unix)]
fn ctrl_c_stops_an_extraction_and_leaves_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    // An archive whose one file has a hole of 8 GB, so that it takes long to unpack and is made at
    // once.
    let size = 8_u64 << 30;
    let mut header = tar::Header::new_gnu();
    header.set_path("set/image.bin").unwrap();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    let path = dir.path().join("set.tar");
    std::fs::write(&path, header.as_bytes()).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(512 + size + 1024).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
    command
        .args("datasets fetch mvtec --data-root new --from-archive set.tar".split(' '))
        .current_dir(dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let folders = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    // Two temporary folders deep.
    let is_under_way = || {
        let unpacked = folders(&dir.path().join("new")).into_iter().flat_map(|folder| folders(&folder));
        unpacked.into_iter().any(|folder| folder.join("set/image.bin").exists())
    };
    while !is_under_way() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(told.by_ref().lines().any(|line| line.unwrap().starts_with("stopping")));
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("stopped while set.tar was unpacked"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_dir(dir.path().join("new")).unwrap().count(), 0);
}
