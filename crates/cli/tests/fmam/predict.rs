//! `fmam predict`: the images that it takes and the files and lines that it gives.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fmam_core::ImageSize;
use fmam_datasets::load_image;
use fmam_record::RecordedPath;
use serde_json::Value;

use crate::{Call, fail, files, image_dataset, line, succeed, wait_for};

/// A detector in `model`, and images in `data/plain/test`.
fn fitted() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let data = "--data-root data --dataset mvtec --category plain";
    succeed(
        dir.path(),
        &format!("fit {data} --backbone tiny --image-size 64 --epochs 1 --method nkd --out model"),
    );
    dir
}

const IMAGE: &str = "data/plain/test/good/000.png";
/// A threshold below every score, and one above.
const ALL: &str = "--threshold=-1e30";
const NONE: &str = "--threshold=1e30";

/// The lines of JSON in `text`.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines_of(out: &Path) -> Vec<Value> {
    lines(&std::fs::read_to_string(out.join("predictions.jsonl")).unwrap())
}

/// The images of lines, as paths that open.
fn images(lines: &[Value]) -> Vec<PathBuf> {
    let path = |line: &Value| serde_json::from_value::<RecordedPath>(line["image"].clone()).unwrap().0;
    lines.iter().map(path).collect()
}

/// Starts a command line that is split at blanks.
fn spawn(dir: &Path, args: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fmam"));
    command.args(args.split_whitespace()).current_dir(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs a command line with `stdin`.
fn with_stdin(dir: &Path, args: &str, stdin: &[u8]) -> Call {
    let mut child = spawn(dir, args);
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    Call::of(child.wait_with_output().unwrap())
}

#[test]
fn a_folder_is_scored_with_its_sub_folders_and_every_image_has_its_files() {
    let dir = fitted();
    let all = files(&dir.path().join("data/plain/test"));
    std::fs::write(dir.path().join("data/plain/test/notes.txt"), "").unwrap();
    std::fs::write(dir.path().join("data/plain/test/.hidden.png"), "").unwrap();
    let args = format!("predict data/plain/test {IMAGE} --model model {ALL} --out p --maps npy --masks");
    let call = line(dir.path(), &args);
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert!(call.stderr.starts_with("threshold -1"), "{}", call.stderr);
    let summary = format!("{0} images: {0} defects, ", all.len());
    assert!(call.stderr.lines().last().unwrap().starts_with(&summary), "{}", call.stderr);

    let told = lines(&call.stdout);
    let given: Vec<_> = all.iter().map(|path| path.strip_prefix(dir.path()).unwrap().to_owned()).collect();
    assert_eq!(images(&told), given);
    let out = dir.path().join("p");
    for (mut told, kept) in told.into_iter().zip(lines_of(&out)) {
        assert!(told["seconds"].as_f64().unwrap() >= 0.0);
        told.as_object_mut().unwrap().remove("seconds");
        assert_eq!(told, kept);
        assert_eq!(kept["verdict"], "defect");
        for region in kept["regions"].as_array().unwrap() {
            assert!(region["x"].as_u64().unwrap() + region["width"].as_u64().unwrap() <= 64, "{region}");
        }
        let image = kept["image"].as_str().unwrap();
        for (key, place) in [("overlay", format!("overlays/{image}")), ("mask", format!("masks/{image}"))] {
            assert_eq!(kept[key], place.as_str());
            assert_eq!(load_image(&out.join(place), None).unwrap().size(), ImageSize::square(64));
        }
        assert!(out.join(kept["map"].as_str().unwrap()).is_file());
    }
    assert_eq!(files(&out).len(), 2 + 3 * given.len());

    // The pictures in the folder are no images, and those in `p` are finished.
    let again =
        line(dir.path(), &format!("predict p data/plain/test --model model {ALL} --out p --continue"));
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert!(again.stderr.contains("there is no image in p"), "{}", again.stderr);
}

#[test]
fn a_list_on_stdin_names_images_and_a_missing_one_keeps_no_other() {
    let dir = fitted();
    let args = "predict - --model model --quiet";
    let call = with_stdin(dir.path(), args, format!("{IMAGE}\nabsent.png\n./{IMAGE}\n").as_bytes());
    assert_eq!(call.code, Some(1), "{}", call.stderr);
    assert_eq!(lines(&call.stdout).len(), 1);
    let errors: Vec<_> = call.stderr.lines().collect();
    assert!(errors[0].contains("absent.png") && errors[1].contains("1 of 2"), "{}", call.stderr);
    let call =
        with_stdin(dir.path(), &format!("{args} -0"), format!("data/plain/test/good\0{IMAGE}\0").as_bytes());
    assert_eq!((call.code, lines(&call.stdout).len()), (Some(0), 2), "{}", call.stderr);
    assert_eq!(with_stdin(dir.path(), args, b"").code, Some(1));
}

#[test]
fn an_image_that_cannot_be_read_has_a_line_with_its_error() {
    let dir = fitted();
    std::fs::write(dir.path().join("damaged.png"), "no image").unwrap();
    let call = with_stdin(
        dir.path(),
        "predict - --model model --json --quiet",
        format!("damaged.png\n{IMAGE}\n").as_bytes(),
    );
    assert_eq!(call.code, Some(1), "{}", call.stderr);
    let lines = lines(&call.stdout);
    let (unread, read): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.get("error").is_some());
    assert_eq!((unread.len(), read.len()), (1, 1), "{}", call.stdout);
    assert_eq!((&unread[0]["image"], &unread[0]["verdict"]), (&"damaged.png".into(), &Value::Null));
    assert!(call.stderr.contains("damaged.png"), "{}", call.stderr);
}

#[test]
fn a_program_that_waits_for_each_verdict_gets_it() {
    use std::io::{BufRead, BufReader};

    let dir = fitted();
    let mut child = spawn(dir.path(), "predict - --model model --quiet");
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut verdicts = BufReader::new(stdout).lines();
    for image in ["000.png", "001.png"] {
        writeln!(stdin, "data/plain/test/good/{image}").unwrap();
        assert!(verdicts.next().unwrap().unwrap().contains(image));
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_place_without_images_is_refused_before_anything_is_scored() {
    let dir = fitted();
    std::fs::create_dir(dir.path().join("none")).unwrap();
    let predict = |images: &str| format!("predict {IMAGE} {images} --model model --out p");
    fail(dir.path(), &predict("absent.png"), 1, &["absent.png"]);
    fail(dir.path(), &predict("none"), 1, &["no image in none"]);
    fail(dir.path(), &predict("none/*.png"), 1, &["no image in none/*.png"]);
    fail(dir.path(), &predict("none/***"), 2, &["none/***"]);
    fail(dir.path(), "predict --model model", 2, &["IMAGE"]);
    fail(dir.path(), &predict("--threshold 1 --false-alarms 1%"), 2, &["--false-alarms"]);
    fail(dir.path(), &predict("--json --csv"), 2, &["--csv"]);
    assert!(!dir.path().join("p").exists());
    let scored = succeed(dir.path(), "predict data/**/good/*.png --model model --csv");
    let rows: Vec<_> = scored.lines().collect();
    assert!(
        rows[0].starts_with("image,verdict,score,") && rows[1].starts_with("data/plain/test/good/000.png,")
    );
    assert_eq!(rows.len(), 1 + 2 + 4);
    let table = succeed(dir.path(), &format!("predict {IMAGE} --model model --table"));
    assert!(table.starts_with("verdict ") && table.lines().nth(1).unwrap().ends_with(IMAGE), "{table}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_that_is_named_like_an_image_is_not_opened() {
    let dir = fitted();
    let made = Command::new("mkfifo").arg(dir.path().join("data/plain/test/good/x.png")).status().unwrap();
    assert!(made.success());
    fail(dir.path(), "predict data/plain/test/good/x.png --model model", 1, &["x.png", "no regular file"]);
    let call = line(dir.path(), "predict data/plain/test/good --model model");
    assert_eq!((call.code, lines(&call.stdout).len()), (Some(1), 2), "{}", call.stderr);
    assert!(call.stderr.contains("no regular file"), "{}", call.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_no_text_opens_again() {
    use std::os::unix::ffi::OsStrExt;

    let dir = fitted();
    let odd = Path::new("odd").join(std::ffi::OsStr::from_bytes(b"\xff\n.png"));
    std::fs::create_dir(dir.path().join("odd")).unwrap();
    std::fs::copy(dir.path().join(IMAGE), dir.path().join(&odd)).unwrap();
    let call = line(dir.path(), "predict odd --model model --out p");
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    for told in [lines(&call.stdout), lines_of(&dir.path().join("p"))] {
        assert_eq!(images(&told), std::slice::from_ref(&odd));
        let overlay: RecordedPath = serde_json::from_value(told[0]["overlay"].clone()).unwrap();
        assert!(dir.path().join("p").join(overlay.0).is_file());
    }
    let list = [odd.as_os_str().as_bytes(), b"\0"].concat();
    let again = with_stdin(dir.path(), "predict - -0 --model model --out p --continue", &list);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""), "{}", again.stderr);
    assert!(again.stderr.contains("1 passed over"), "{}", again.stderr);
    assert!(
        succeed(dir.path(), "predict odd --model model --csv").trim_end().ends_with(",6f64642fff0a2e706e67")
    );
}

#[test]
fn an_image_has_the_same_files_alone_and_among_others() {
    let dir = fitted();
    let predict = |images: &str, out: &str| {
        let options = format!("--model model {ALL} --maps png16 --masks --out {out}");
        succeed(dir.path(), &format!("predict {images} {options}"));
    };
    let image = "data/plain/test/good/001.png";
    predict(image, "alone");
    predict("data", "all");
    let text = |out: &str| std::fs::read_to_string(dir.path().join(out).join("predictions.jsonl")).unwrap();
    let (alone, all) = (text("alone"), text("all"));
    assert_eq!(alone.lines().count(), 1);
    assert!(all.lines().count() > 8 && all.lines().any(|line| line == alone.trim_end()), "{alone}\n{all}");
    for folder in ["overlays", "maps", "masks"] {
        let file = |out: &str| std::fs::read(dir.path().join(out).join(folder).join(image)).unwrap();
        assert!(file("alone") == file("all"), "{folder}");
    }
}

#[test]
fn a_folder_goes_on_after_a_torn_line() {
    let dir = fitted();
    let predict = format!("predict data/plain/test --model model {ALL} --out p");
    succeed(dir.path(), &predict);
    fail(dir.path(), &predict, 1, &["p holds predictions already", "--continue"]);
    let path = dir.path().join("p/predictions.jsonl");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 30]).unwrap();
    std::fs::write(dir.path().join("p/overlays/.partial-killed"), "").unwrap();
    let call = line(dir.path(), &format!("{predict} --continue"));
    assert_eq!((call.code, lines(&call.stdout).len()), (Some(0), 1), "{}", call.stderr);
    assert!(call.stderr.contains("7 passed over"), "{}", call.stderr);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    assert!(!dir.path().join("p/overlays/.partial-killed").exists());
    std::fs::write(&path, [&whole[..], b"{}\n"].concat()).unwrap();
    fail(dir.path(), &format!("{predict} --continue"), 1, &["line 9", "predictions.jsonl"]);
}

#[test]
fn the_output_folder_may_be_the_current_one_and_nothing_else_is_overwritten() {
    let dir = fitted();
    let here = dir.path().join("here");
    std::fs::create_dir(&here).unwrap();
    succeed(&here, &format!("predict ../{IMAGE} --model ../model --out . --layout sheet"));
    assert!(here.join("overlays/__").join(IMAGE).is_file());
    fail(dir.path(), &format!("predict {IMAGE} --model model --out data"), 1, &["data exists already"]);
    succeed(dir.path(), &format!("predict {IMAGE} --model model --out plain --no-pictures"));
    assert_eq!(files(&dir.path().join("plain")).len(), 2);
}

#[test]
fn verdicts_of_another_threshold_are_not_mixed_with_earlier_ones() {
    let dir = fitted();
    let predict = format!("predict {IMAGE} --model model --no-pictures --out p");
    succeed(dir.path(), &format!("{predict} --threshold 1"));
    fail(
        dir.path(),
        &format!("{predict} --continue --threshold 2 --quiet"),
        1,
        &["p has verdicts of another"],
    );
    succeed(dir.path(), &format!("{predict} --continue --threshold 1"));
    assert_eq!(std::fs::read_to_string(dir.path().join("p/predictions.jsonl")).unwrap().lines().count(), 1);
}

#[test]
fn two_images_of_one_picture_are_told() {
    let dir = fitted();
    for name in ["a.bmp", "a.bmp.png"] {
        std::fs::copy(dir.path().join(IMAGE), dir.path().join(name)).unwrap();
    }
    let call = line(dir.path(), "predict a.bmp a.bmp.png --model model --out p");
    assert_eq!((call.code, lines(&call.stdout).len()), (Some(1), 1), "{}", call.stderr);
    assert!(call.stderr.contains("a.bmp.png: another image of this call"), "{}", call.stderr);
    assert_eq!(succeed(dir.path(), "predict a.bmp a.bmp.png --model model").lines().count(), 2);
}

#[test]
fn a_name_too_long_for_a_picture_keeps_no_score_back() {
    let dir = fitted();
    let long = format!("{}.jpg", "n".repeat(251));
    std::fs::copy(dir.path().join(IMAGE), dir.path().join(&long)).unwrap();
    let call = line(dir.path(), &format!("predict {long} {IMAGE} --model model --out p"));
    assert_eq!((call.code, lines(&call.stdout).len()), (Some(1), 2), "{}", call.stderr);
    assert_eq!(call.stderr.matches("warning: ").count(), 1, "{}", call.stderr);
    assert!(call.stderr.ends_with("error: 1 picture could not be written; every verdict is kept\n"));
    let kept = lines_of(&dir.path().join("p"));
    assert!(kept[0].get("overlay").is_none() && kept[1].get("overlay").is_some(), "{kept:?}");
}

#[test]
fn the_exit_code_tells_of_a_defect() {
    let dir = fitted();
    let code = |args: &str| line(dir.path(), &format!("predict --model model {args}")).code;
    assert_eq!(code(&format!("{IMAGE} {ALL}")), Some(0));
    assert_eq!(code(&format!("{IMAGE} {ALL} --fail-on-defect")), Some(3));
    assert_eq!(code(&format!("{IMAGE} {NONE} --fail-on-defect")), Some(0));
    // An image that was not looked at weighs more.
    let list = format!("{IMAGE}\nabsent.png\n");
    let call =
        with_stdin(dir.path(), &format!("predict - --model model {ALL} --fail-on-defect"), list.as_bytes());
    assert_eq!(call.code, Some(1), "{}", call.stderr);
}

/// A limit on the size of files stands for a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_line_and_the_lines_before_stay_readable() {
    let dir = fitted();
    let fmam = env!("CARGO_BIN_EXE_fmam");
    let images = format!("data/plain/train data/plain/test {NONE}");
    let limited = format!(
        "trap '' XFSZ; ulimit -f 2; exec '{fmam}' predict {images} --model model --quiet --out p --no-pictures"
    );
    let call = Call::of(Command::new("sh").args(["-c", &limited]).current_dir(dir.path()).output().unwrap());
    assert_eq!(call.code, Some(1), "{}", call.stderr);
    assert_eq!(call.stderr.lines().count(), 1, "{}", call.stderr);
    assert!(call.stderr.contains("p/predictions.jsonl"), "{}", call.stderr);
    let n_kept = lines_of(&dir.path().join("p")).len();
    assert_eq!(n_kept, lines(&call.stdout).len());
    assert!(n_kept > 0);
    let rest = line(dir.path(), &format!("predict {images} --model model --out p --no-pictures --continue"));
    assert!(rest.stderr.contains(&format!("{n_kept} passed over")), "{}", rest.stderr);
    let full = Command::new("sh")
        .args(["-c", &format!("exec '{fmam}' predict {IMAGE} --model model --quiet > /dev/full")])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(Call::of(full).code, Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn pictures_that_find_no_room_cost_no_verdict() {
    let dir = fitted();
    let fmam = env!("CARGO_BIN_EXE_fmam");
    let predict = format!("predict data/plain/test --model model --quiet {ALL} --masks --maps npy --out p");
    let limited = format!("trap '' XFSZ; ulimit -f 8; exec '{fmam}' {predict}");
    let call = Call::of(Command::new("sh").args(["-c", &limited]).current_dir(dir.path()).output().unwrap());
    assert_eq!((call.code, lines(&call.stdout).len()), (Some(1), 8), "{}", call.stderr);
    assert_eq!(call.stderr.matches("warning: ").count(), 5, "{}", call.stderr);
    assert!(call.stderr.contains("16 pictures could not be written"), "{}", call.stderr);
    let kept = lines_of(&dir.path().join("p"));
    let has = |key: &str| kept.iter().filter(|line| line.get(key).is_some()).count();
    assert_eq!((kept.len(), has("overlay"), has("map"), has("mask")), (8, 0, 0, 8));
    assert_eq!(files(&dir.path().join("p")).len(), 2 + 8);
    // Images that have their verdicts are finished.
    let again = line(dir.path(), &format!("{predict} --continue"));
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""), "{}", again.stderr);
}

#[test]
fn an_output_folder_that_vanishes_is_told() {
    use std::io::{BufRead, BufReader};

    let dir = fitted();
    let mut child = spawn(dir.path(), "predict - --model model --out p --quiet");
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut verdicts = BufReader::new(stdout).lines();
    writeln!(stdin, "{IMAGE}").unwrap();
    verdicts.next().unwrap().unwrap();
    std::fs::remove_dir_all(dir.path().join("p")).unwrap();
    writeln!(stdin, "data/plain/test/good/001.png").unwrap();
    drop(stdin);
    let call = Call::of(child.wait_with_output().unwrap());
    assert_eq!(call.code, Some(1), "{}", call.stderr);
    assert!(call.stderr.starts_with("error: p was removed or replaced"), "{}", call.stderr);
    assert!(verdicts.next().is_none() && !dir.path().join("p").exists());
}

#[test]
fn a_call_that_was_killed_before_its_first_line_is_repeated() {
    let dir = fitted();
    let mut child = spawn(dir.path(), "predict - --model model --out p");
    wait_for(|| dir.path().join("p/verdicts_by.json").exists());
    let predict = format!("predict {IMAGE} --model model --out p --threshold 2");
    fail(dir.path(), &format!("{predict} --quiet"), 1, &["another process is at work in p"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(files(&dir.path().join("p")).len(), 2);
    std::fs::write(dir.path().join("p/.partial-killed"), "").unwrap();
    succeed(dir.path(), &predict);
    assert_eq!(files(&dir.path().join("p")).len(), 3);
}

#[cfg(target_os = "linux")]
#[test]
fn a_watched_folder_gives_complete_images_until_it_is_told_to_end() {
    let dir = fitted();
    let whole = std::fs::read(dir.path().join(IMAGE)).unwrap();
    let camera = dir.path().join("camera");
    std::fs::create_dir_all(camera.join("sub")).unwrap();
    std::fs::write(camera.join("first.png"), &whole).unwrap();
    std::fs::write(camera.join("grows.png"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(camera.join("goes.png"), &whole[..whole.len() / 2]).unwrap();
    let mut child = spawn(dir.path(), &format!("predict --watch camera --model model {ALL} --out p"));
    let kept = || {
        let text = std::fs::read_to_string(dir.path().join("p/predictions.jsonl")).unwrap_or_default();
        images(&lines(&text[..text.rfind('\n').map_or(0, |end| end + 1)]))
    };
    let has = |name: &str| kept().iter().any(|image| image.ends_with(name));
    wait_for(|| has("first.png"));
    std::fs::remove_file(camera.join("goes.png")).unwrap();
    std::fs::write(camera.join("grows.png"), &whole).unwrap();
    std::fs::write(camera.join("sub/broken.png"), "no image").unwrap();
    wait_for(|| has("grows.png"));
    std::fs::write(camera.join("sub/new.png"), &whole).unwrap();
    wait_for(|| has("sub/new.png"));
    // The broken image is told after three seconds; then it is whole.
    std::thread::sleep(Duration::from_secs(6));
    std::fs::write(camera.join("sub/broken.png"), &whole).unwrap();
    wait_for(|| has("sub/broken.png"));

    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert_eq!(kept().len(), 4, "{stderr}");
    let unread: Vec<_> = lines(&stdout).into_iter().filter(|line| line.get("error").is_some()).collect();
    assert!(matches!(&images(&unread)[..], [image] if image.ends_with("sub/broken.png")), "{stdout}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(matches!(errors[..], [line] if line.contains("broken.png")), "{stderr}");
    assert!(stderr.contains("4 images: 4 defects"), "{stderr}");
    // The next watch goes on where this one ended: nothing is left to do.
    let mut again = spawn(dir.path(), &format!("predict --watch camera --model model {ALL} --out p"));
    let mut begun = [0];
    again.stderr.as_mut().unwrap().read_exact(&mut begun).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(Command::new("kill").arg(again.id().to_string()).status().unwrap().success());
    let again = Call::of(again.wait_with_output().unwrap());
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""), "{}", again.stderr);
}
