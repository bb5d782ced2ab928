//! The page of `fmam serve` in a browser, as an inspector uses it. With `FMAM_SCREENSHOTS`, an
//! absolute path of a folder, the pictures of the manual are written there.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fmam::{Fit, ImageSize, Session};
use fmam_datasets::{DemoCategory, DemoConfig, write_demo};
use fmam_serve::{Access, Collecting, ModelFolder, Options, Server, Token};
use serde_json::{Value, json};

use crate::devtools::{Page, chromium};

/// A product with its images and a calibrated model, in the folder `out`.
struct Product {
    out: PathBuf,
    good: Vec<PathBuf>,
    defective: Vec<PathBuf>,
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

impl Product {
    fn make(out: &Path) -> Self {
        let config = DemoConfig {
            n_train: 40,
            n_test_normal: 3,
            n_test_per_defect: 1,
            categories: vec![DemoCategory::Twill],
            ..DemoConfig::default()
        };
        write_demo(out, &config, ImageSize::new(480, 640)).unwrap();
        let category = out.join("twill");
        let session = Session::new().unwrap();
        let fit = Fit::new().method("padim").backbone("tiny").image_sides(192, 256).false_alarms(0.1);
        let detector = session.fit(files(&category.join("train/good")), &fit).unwrap();
        detector.save(&out.join("twill model")).unwrap();
        let kinds = files(&category.join("test"));
        let (good, others): (Vec<_>, Vec<_>) = kinds.into_iter().partition(|kind| kind.ends_with("good"));
        // A server tells the defects that it finds; those that this small network misses are not
        // looked at. The clearest comes first.
        let verdicts = |images: Vec<PathBuf>| -> Vec<(PathBuf, fmam::Verdict)> {
            let verdicts = session.predict(&detector, &images).map(Result::unwrap).collect::<Vec<_>>();
            images.into_iter().zip(verdicts).collect()
        };
        let outcome = |verdict: &fmam::Verdict| verdict.inspection.as_ref().unwrap().outcome;
        let mut found = verdicts(others.iter().flat_map(|kind| files(kind)).collect());
        found.retain(|(_, verdict)| {
            outcome(verdict) == fmam::Outcome::Defect
                && !verdict.inspection.as_ref().unwrap().regions.is_empty()
        });
        found.sort_by(|(_, a), (_, b)| b.prediction.image_score.total_cmp(&a.prediction.image_score));
        let mut passed = verdicts(files(&good[0]));
        passed.retain(|(_, verdict)| outcome(verdict) == fmam::Outcome::Ok);
        assert!(!found.is_empty() && !passed.is_empty());
        // Names as a camera gives them.
        let mut number = 100;
        let mut named = |images: Vec<(PathBuf, fmam::Verdict)>| -> Vec<PathBuf> {
            let mut copy = |(path, _): (PathBuf, fmam::Verdict)| {
                number += 1;
                let to = out.join(format!("part-{number}.png"));
                std::fs::copy(path, &to).unwrap();
                to
            };
            images.into_iter().map(&mut copy).collect()
        };
        let (good, defective) = (named(passed), named(found));
        Self { out: out.to_owned(), good, defective }
    }
}

/// A server until it is dropped.
struct Running {
    address: String,
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(product: &Product, options: Options) -> Self {
        let model = ModelFolder::new(Some("twill"), &product.out.join("twill model")).unwrap();
        let server = Server::open(Session::new().unwrap(), vec![model], options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let run = move || server.run(listener, || over.load(Ordering::Relaxed)).unwrap();
        Self { address, is_over, thread: Some(std::thread::spawn(run)) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Page {
    /// Chooses files in the field `id` as a person does.
    fn choose(&mut self, id: &str, files: &[&Path]) {
        let field = json!({ "expression": format!("document.getElementById('{id}')") });
        let field = self.call("Runtime.evaluate", &field)["result"]["objectId"].clone();
        self.call("DOM.setFileInputFiles", &json!({ "files": files, "objectId": field }));
    }

    fn press(&mut self, key: &str) {
        let parameters =
            |kind: &str| json!({ "type": kind, "key": key, "text": if key.len() == 1 { key } else { "" } });
        self.call("Input.dispatchKeyEvent", &parameters("keyDown"));
        self.call("Input.dispatchKeyEvent", &parameters("keyUp"));
    }

    fn text(&mut self, id: &str) -> String {
        self.value(&format!("document.getElementById('{id}').textContent")).as_str().unwrap().to_owned()
    }

    fn is_shown(&mut self, id: &str) -> bool {
        self.value(&format!("document.getElementById('{id}').checkVisibility()")) == true
    }

    fn screen(&mut self, width: u32, height: u32, is_phone: bool, scheme: &str) {
        let scale = if is_phone { 2 } else { 1 };
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone });
        self.call("Emulation.setDeviceMetricsOverride", &screen);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &features);
        self.wait_for(&format!("innerWidth === {width}"));
    }

    /// Writes a picture of the page where somebody asked for them.
    fn picture(&mut self, name: &str) {
        // The image and its layer have been drawn then.
        self.wait_for(
            "[...document.images].filter((image) => image.src && image.checkVisibility()).every((image) => image.complete)",
        );
        std::thread::sleep(std::time::Duration::from_millis(300));
        let Some(folder) = std::env::var_os("FMAM_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(Path::new(&folder).join(format!("serve-{name}.png")), bytes).unwrap();
    }
}

const COUNT: &str = "document.querySelectorAll('#list li').length";

fn open(profile: &Path) -> Option<Page> {
    let Some(program) = chromium() else {
        eprintln!("skipped: no Chromium; install it or set FMAM_CHROMIUM");
        return None;
    };
    let page = Page::open(&program, profile);
    if page.is_none() {
        assert!(std::env::var_os("FMAM_CHROMIUM").is_none(), "{} does not start", program.display());
        eprintln!("skipped: {} does not start", program.display());
    }
    page
}

#[test]
fn an_inspector_sees_verdicts_places_and_history_and_judges() {
    let (out, profile) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(mut page) = open(profile.path()) else { return };
    let product = Product::make(out.path());
    let judged = out.path().join("judged");
    let collecting = Some(Collecting { folder: judged.clone(), images: 10, bytes: 1 << 24 });
    let server = Running::start(&product, Options { collecting, ..Options::default() });
    page.screen(1280, 1000, false, "light");
    page.visit(&server.address);
    page.wait_for("document.getElementById('name').textContent === 'twill'");
    assert!(page.is_shown("empty") && !page.is_shown("shown"));
    page.picture("start");

    // A good one, in words and with a shape of its own.
    page.choose("files", &[&product.good[0]]);
    page.wait_for("document.getElementById('word').textContent === 'OK'");
    assert_eq!(page.text("reason"), "No defect found");
    assert_eq!(page.value("document.getElementById('verdict-icon').getAttribute('href')"), "#i-ok");
    assert!(page.text("promise").contains("of good parts"), "{}", page.text("promise"));
    assert_eq!(page.text("size"), "640 × 480 px");
    assert!(!page.is_shown("places"));
    page.picture("ok");

    // A defect, with its places in frames.
    page.choose("files", &[&product.defective[0]]);
    page.wait_for("document.getElementById('word').textContent === 'Defect'");
    assert_eq!(page.value("document.getElementById('verdict-icon').getAttribute('href')"), "#i-defect");
    assert_eq!(page.value("document.activeElement.id !== 'search'"), true);
    let frames = page.value("document.querySelectorAll('#boxes g').length").as_u64().unwrap();
    assert!(frames > 0);
    assert_eq!(page.value("document.querySelectorAll('#regions li').length"), frames);
    page.wait_for("document.getElementById('heat').naturalWidth > 0");
    page.picture("defect");
    let inside = "(() => { const [image, frame] = ['#picture', '#boxes rect'].map((it) => document.querySelector(it).getBoundingClientRect());
        return frame.left >= image.left - 4 && frame.right <= image.right + 4 && frame.top >= image.top - 4 && frame.bottom <= image.bottom + 4; })()";
    assert_eq!(page.value(inside), true);

    // Keys: the heat map, the frames, the size.
    assert_eq!(page.value("document.getElementById('heat').style.opacity"), "0.55");
    page.press("h");
    assert_eq!(page.value("document.getElementById('heat').style.opacity"), "0");
    page.press("h");
    page.press("+");
    assert_eq!(page.value("document.getElementById('heat').style.opacity"), "0.65");
    page.press("b");
    assert!(!page.is_shown("boxes"));
    page.press("b");
    page.press("z");
    assert_eq!(page.value("document.getElementById('picture').clientWidth"), 640);
    page.press("z");

    // The page names an image that cannot be inspected, with the reason.
    let broken = out.path().join("cut off.png");
    let bytes = std::fs::read(&product.good[0]).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    page.choose("files", &[&broken]);
    page.wait_for("document.getElementById('word').textContent === 'Not inspected'");
    assert!(page.text("reason").contains("cut off.png"), "{}", page.text("reason"));
    page.picture("error");
    page.press("ArrowDown");
    assert_eq!(page.text("word"), "Defect");

    // A person's judgement is kept, and can be changed.
    page.press("g");
    page.wait_for("document.getElementById('judged').textContent.startsWith('Kept as good')");
    assert_eq!(files(&judged.join("good")).len(), 1);
    page.value("document.getElementById('defective').click()");
    page.wait_for("document.getElementById('judged').textContent.startsWith('Kept as defective')");
    assert_eq!((files(&judged.join("good")).len(), files(&judged.join("defective")).len()), (0, 1));
    assert_eq!(
        std::fs::read(&files(&judged.join("defective"))[0]).unwrap(),
        std::fs::read(&product.defective[0]).unwrap()
    );

    // Several at once, one in a format that no browser shows.
    let grey = out.path().join("grey.pgm");
    let mut pixels = b"P5\n640 480\n255\n".to_vec();
    pixels.resize(pixels.len() + 640 * 480, 90);
    std::fs::write(&grey, pixels).unwrap();
    let mut many: Vec<&Path> = product.defective.iter().map(PathBuf::as_path).collect();
    many.extend([product.good[0].as_path(), &grey]);
    page.choose("files", &many);
    page.wait_for(&format!("{COUNT} === {}", 3 + many.len()));
    page.value("[...document.querySelectorAll('#list button')].find((it) => it.textContent.includes('grey.pgm')).click()");
    page.wait_for("document.getElementById('picture').naturalWidth === 640");

    // The history: filters, the search, the table.
    let total = page.value(COUNT).as_u64().unwrap();
    let filter = |show: &str| format!("document.querySelector('[data-show={show}]').click()");
    let mut sum = 0;
    for (show, word) in [("ok", "OK"), ("defect", "Defect"), ("error", "Error")] {
        page.value(&filter(show));
        let words = format!(
            "[...document.querySelectorAll('#list .pill')].every((pill) => pill.textContent === '{word}')"
        );
        assert_eq!(page.value(&words), true, "{show}");
        sum += page.value(COUNT).as_u64().unwrap();
    }
    assert_eq!(sum, total);
    page.value(&filter("all"));
    page.press("/");
    page.value("(() => { const search = document.getElementById('search'); search.value = 'grey'; search.dispatchEvent(new Event('input')); })()");
    assert_eq!(page.value(COUNT), 1);
    let table = "(async () => { let blob; const make = URL.createObjectURL; URL.createObjectURL = (it) => { blob = it; return make(it); };
        HTMLAnchorElement.prototype.click = () => {}; document.getElementById('csv').click(); URL.createObjectURL = make; return blob.text(); })()";
    let table = page.value(table);
    let lines: Vec<&str> = table.as_str().unwrap().lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(
        lines[0].starts_with("time,model,image,verdict,score") && lines[1].contains(",twill,grey.pgm,"),
        "{table}"
    );
    page.value("(() => { const search = document.getElementById('search'); search.value = ''; search.dispatchEvent(new Event('input')); search.blur(); })()");

    // The phone, the dark, and nothing cut off.
    page.value(
        "[...document.querySelectorAll('#list button')].find((it) => it.querySelector('.defect')).click()",
    );
    page.screen(1280, 1000, false, "dark");
    assert_eq!(page.value("getComputedStyle(document.body).backgroundColor"), "rgb(20, 24, 29)");
    page.picture("dark");
    page.screen(390, 844, true, "light");
    assert_eq!(page.value("document.documentElement.scrollWidth <= 390"), true);
    let small = "[...document.querySelectorAll('main button')].filter((it) => it.checkVisibility() && it.getBoundingClientRect().height < 36).map((it) => it.id || it.textContent)";
    assert_eq!(page.value(small), json!([]));
    page.picture("phone");

    // The page has asked this server alone, and said nothing on the console but for the refusals.
    let foreign = format!(
        "performance.getEntriesByType('resource').map((it) => it.name).filter((it) => !/^(blob:|data:)/.test(it) && !it.startsWith('{}'))",
        server.address
    );
    assert_eq!(page.value(&foreign), json!([]));
    let complaints: Vec<&String> = page.errors().iter().filter(|text| !text.contains("422")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn the_camera_the_token_and_a_server_that_is_away() {
    let (out, profile) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(mut page) = open(profile.path()) else { return };
    let product = Product::make(out.path());
    let access = Access { tokens: vec![Token::new("a token of this test")], ..Access::default() };
    let server = Running::start(&product, Options { access, ..Options::default() });
    page.screen(1280, 1000, false, "light");
    page.visit(&server.address);

    // The token is asked for, again where it was wrong.
    for token in ["not the token of this", "a token of this test"] {
        page.wait_for("document.getElementById('ask').open");
        page.value(&format!("document.getElementById('token').value = '{token}'"));
        page.value("document.querySelector('#ask button').click()");
    }
    page.wait_for("document.getElementById('name').textContent === 'twill'");
    assert!(!page.is_shown("judge"), "no images are kept");

    // The camera of the browser, which is a made one here.
    page.press("c");
    page.wait_for("document.getElementById('video').videoWidth > 0");
    page.value("document.getElementById('snap').blur()");
    page.press(" ");
    page.wait_for(&format!("{COUNT} === 1"));
    assert!(page.text("which").starts_with("camera "), "{}", page.text("which"));
    assert_ne!(page.text("word"), "Not inspected");
    page.picture("camera");
    page.value("document.getElementById('camera-off').click()");
    assert!(!page.is_shown("camera"));

    // Without a server there is no verdict, and the page says so.
    let good = product.good[0].clone();
    drop(server);
    page.choose("files", &[&good]);
    page.wait_for("document.getElementById('word').textContent === 'Not inspected'");
    assert_eq!(page.text("reason"), "The server does not answer");
    page.wait_for("document.getElementById('trouble').checkVisibility()");
    assert_eq!(page.value("document.getElementById('trouble').getAttribute('role')"), Value::from("alert"));
}
