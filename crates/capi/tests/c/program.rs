//! A program in C is compiled with the header and linked with the library, and does what the
//! library of Rust does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fmam::{Fit, ImageSize, RgbImage, Session};

/// The C compiler; `None` where there is none.
fn compiler() -> Option<String> {
    let name = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let found = Command::new(&name).arg("--version").output().is_ok_and(|output| output.status.success());
    found.then_some(name)
}

/// The folder of `libfmam.so`, which cargo does not build for a test of the same package.
fn library() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let own = std::env::current_exe().unwrap();
    // .../target/PROFILE/deps/c-HASH
    let profile = own.ancestors().nth(2).unwrap();
    let is_release = profile.file_name().is_some_and(|name| name == "release");
    let output = Command::new(cargo)
        // With the test, so that dependencies have the features that they have in this run.
        .args(["build", "--quiet", "--package", "fmam-capi", "--lib", "--test", "c"])
        .args(["--profile", if is_release { "release" } else { "dev" }])
        .args(["--message-format", "json", "--target-dir"])
        .arg(profile.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let files = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let file = message["filenames"].as_array()?.first()?.as_str()?;
        let is_library =
            message["target"]["crate_types"][0] == "cdylib" && message["target"]["name"] == "fmam";
        is_library.then(|| PathBuf::from(file))
    });
    let file: PathBuf = files.collect::<Vec<_>>().pop().expect("cargo names the library");
    file.parent().unwrap().to_owned()
}

/// Compiles `examples/inspect.c`.
fn compiled(compiler: &str, library: &Path, folder: &Path) -> PathBuf {
    let (root, program) = (Path::new(env!("CARGO_MANIFEST_DIR")), folder.join("inspect"));
    let output = Command::new(compiler)
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"])
        .arg(root.join("examples/inspect.c"))
        .args([Path::new("-I"), &root.join("include"), Path::new("-L"), library])
        .args(["-lfmam", "-o"])
        .arg(&program)
        .arg(format!("-Wl,-rpath,{}", library.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

fn run(program: &Path, args: [&Path; 2]) -> Output {
    Command::new(program).args(args).output().unwrap()
}

fn part(shade: u8) -> RgbImage {
    RgbImage::from_fn(ImageSize::new(48, 80), |y, x| [shade, 2 * y as u8, 3 * x as u8])
}

fn write_ppm(path: &Path, image: &RgbImage) {
    let ImageSize { height, width } = image.size();
    let mut bytes = format!("P6\n{width} {height}\n255\n").into_bytes();
    bytes.extend_from_slice(image.data());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_program_in_c_gives_the_verdicts_of_the_library() {
    let Some(compiler) = compiler() else {
        eprintln!("skipped: there is no C compiler, neither `cc` nor what CC names");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let program = compiled(&compiler, &library(), folder.path());

    let session = Session::new().unwrap();
    let fit = Fit::new().method("padim").backbone("tiny").image_size(64).seed(1);
    let detector = session.fit((0..12).map(|n| part(100 + n)), &fit).unwrap();
    let model = folder.path().join("model");
    detector.save(&model).unwrap();

    let mut scratched = part(104);
    (20..60).for_each(|x| scratched.set_pixel(24, x, [255, 255, 255]));
    let file = folder.path().join("image.ppm");
    for image in [part(104), scratched] {
        let verdict = session.predict(&detector, [&image]).next().unwrap().unwrap();
        let inspection = verdict.inspection.unwrap();
        write_ppm(&file, &image);
        let output = run(&program, [&model, &file]);
        let mut expected = format!(
            "{}: score {:.6}, threshold {:.6}, p {:.6}\n",
            inspection.outcome.name(),
            verdict.prediction.image_score,
            inspection.threshold.score,
            inspection.p_value.unwrap()
        );
        for fmam::Region { x, y, width, height, peak, .. } in &inspection.regions {
            expected += &format!("  at ({x}, {y}), {width} x {height} pixels, peak {peak:.6}\n");
        }
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        let code = if inspection.outcome == fmam::Outcome::Ok { 0 } else { 3 };
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    }

    let absent = run(&program, [&folder.path().join("absent"), &file]);
    assert_eq!(absent.status.code(), Some(1));
    let message = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(message.starts_with("error: ") && message.contains("model.toml"), "{message}");
}
