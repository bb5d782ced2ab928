//! `report.html`, and the page of `fmam serve`, in a browser. Without Chromium (Debian's package
//! `chromium`, or what `FMAM_CHROMIUM` names) it prints that it was skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, in its helper functions too"
)]
#![allow(clippy::print_stderr, reason = "a test that was skipped says so")]

mod devtools;
mod serve;

use std::path::Path;

use candle_core::Device;
use devtools::{Page, chromium};
use fmam::report::Overlays;
use fmam_core::{MethodId, Silent};
use fmam_experiment::{Experiment, ExperimentConfig, FinishedRuns, Grid, Registry};
use fmam_record::load_records;
use fmam_report::Report;
use serde_json::json;

/// A report of four short runs.
fn report(out: &Path) {
    let mut config = ExperimentConfig::for_dataset("demo");
    let options = "n_train = 6\nn_test_normal = 3\nn_test_per_defect = 1";
    config.dataset.options = toml::from_str(options).unwrap();
    config.methods = ["padim", "nkd"].map(MethodId::from).to_vec();
    config.backbones = vec!["tiny".to_owned()];
    config.seeds = vec![0];
    config.image_size = 64.into();
    config.epochs = Some(3);
    config.n_overlays = 4;
    let experiments = [Experiment::open(&Registry::builtin(), config, Device::Cpu).unwrap()];
    let grid = Grid::new(&experiments, out, FinishedRuns::Keep, &Silent).unwrap();
    let outcome = grid.run(&Overlays, &Silent).unwrap();
    assert_eq!((outcome.n_finished, outcome.failed.len()), (4, 0));
    let mut records = load_records(out).unwrap();
    for record in records.iter_mut().filter(|record| record.method.as_str() == "padim") {
        // At the highest score, so that no image is above it.
        let highest = record.artefacts.images.iter().map(|image| image.image_score).fold(f32::MIN, f32::max);
        let threshold = json!({ "score": highest, "contour": highest, "by": "given" });
        let intervals = json!({ "image_auroc": [0.25, 1.0] });
        let procedure = "hold-out";
        let decision = json!({
            "threshold": threshold, "procedure": procedure, "confidence": 0.95, "intervals": intervals,
        });
        record.decision = Some(serde_json::from_value(decision).unwrap());
    }
    // NKD is not calibrated.
    records.iter_mut().filter(|record| record.method.as_str() == "nkd").for_each(|record| {
        record.decision = None;
    });
    Report::from_records(records).write(out).unwrap();
}

#[test]
fn a_reader_can_sort_filter_open_a_run_and_move_the_threshold() {
    let Some(program) = chromium() else {
        eprintln!("skipped: no Chromium; install it or set FMAM_CHROMIUM");
        return;
    };
    let (out, profile) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    report(out.path());
    let address = format!("file://{}", out.path().join("report.html").display());
    let Some(mut page) = Page::open(&program, profile.path()) else {
        assert!(std::env::var_os("FMAM_CHROMIUM").is_none(), "{} does not start", program.display());
        eprintln!("skipped: {} does not start", program.display());
        return;
    };
    page.visit(&address);

    // The tables.
    assert_eq!(page.value("document.querySelectorAll('#runs tbody tr').length"), 4);
    let visible =
        "[...document.querySelectorAll('#runs tbody tr')].filter((row) => row.checkVisibility()).length";
    assert_eq!(page.value(visible), 4);
    page.value(
        "(() => { const select = document.querySelector('[data-filter=method]'); select.value = 'PaDiM';
          select.dispatchEvent(new Event('change', { bubbles: true })); })()",
    );
    assert_eq!(page.value(visible), 2);
    assert_eq!(page.value("document.getElementById('shown').textContent"), "2 of 4 runs");
    let aurocs =
        "[...document.querySelectorAll('#runs tbody tr')].map((row) => parseFloat(row.cells[5].textContent))";
    let sorted = |descending: bool| {
        format!(
            "{aurocs}.every((value, k, all) => k === 0 || {})",
            if descending { "all[k - 1] >= value" } else { "all[k - 1] <= value" }
        )
    };
    let heading = "document.querySelector('#runs thead th:nth-child(6) button')";
    page.value(&format!("{heading}.click()"));
    assert_eq!(page.value(&sorted(true)), true);
    page.value(&format!("{heading}.click()"));
    assert_eq!(page.value(&sorted(false)), true);
    assert_eq!(page.value(&format!("{heading}.parentElement.getAttribute('aria-sort')")), "ascending");

    // The evidence: the first part is open, and a part that is opened shows its plot.
    let open = "[...document.querySelectorAll('details.evidence')].filter((part) => part.open).length";
    assert_eq!(page.value(open), 1);
    let plots =
        "[...document.querySelectorAll('.plate > svg')].filter((plot) => plot.checkVisibility()).length";
    let shown = page.value(plots);
    page.value("document.querySelectorAll('details.evidence').forEach((part) => { part.open = true; })");
    assert_eq!(page.value(plots), 2, "distributions of two categories, {shown} before");
    assert_eq!(
        page.value("document.querySelectorAll('.plate > svg')[0].getBoundingClientRect().width > 600"),
        true
    );

    // A run, its address and its threshold.
    assert_eq!(page.value("document.getElementById('run').checkVisibility()"), false);
    page.value("[...document.querySelectorAll('#runs a')].find((link) => link.checkVisibility()).click()");
    page.wait_for("document.getElementById('run').checkVisibility()");
    let title = page.value("document.getElementById('run-title').textContent");
    assert!(title.as_str().unwrap().starts_with("PaDiM on demo"), "{title}");
    assert_eq!(page.value("document.querySelectorAll('tr[aria-current]').length"), 1);
    let call_all = |at: u32| {
        format!(
            "(() => {{ const slider = document.getElementById('threshold'); slider.value = {at};
              slider.dispatchEvent(new Event('input'));
              return [...document.querySelectorAll('.confusion')[0].querySelectorAll('td')].map((cell) => Number(cell.textContent)); }})()"
        )
    };
    // The threshold starts at that of the calibration, which is the highest score: no image is
    // above.
    let called = "[...document.querySelectorAll('.confusion')[0].querySelectorAll('td')].map((cell) => Number(cell.textContent))";
    assert_eq!(page.value(called), json!([0, 6, 0, 3]));
    let start = page.value("document.getElementById('threshold-start').textContent");
    let start = start.as_str().unwrap();
    assert!(start.contains("calibrated") && start.contains("an oracle"), "{start}");
    assert_eq!(page.value("document.getElementById('threshold').value"), "1000");
    let figures = page.value("document.querySelector('dl.figures').textContent");
    assert!(figures.as_str().unwrap().contains("(25.0 to 100.0)"), "{figures}");
    // Three normal images and six anomalous ones: all called anomalous, then none but the highest.
    assert_eq!(page.value(&call_all(0)), json!([6, 0, 3, 0]));
    let at_the_top = page.value(&call_all(1000));
    let called = at_the_top[0].as_u64().unwrap() + at_the_top[2].as_u64().unwrap();
    assert_eq!(called, 1, "{at_the_top}");
    assert_eq!(page.value("document.querySelectorAll('#run svg[role=img]').length"), 3);

    // The map over the image.
    page.wait_for(
        "document.querySelector('canvas').getContext('2d').getImageData(9, 9, 1, 1).data[3] === 255",
    );
    let red = "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 64, 64).data].reduce((a, b) => a + b)";
    let blended = page.value(red);
    page.value("(() => { const slider = document.getElementById('opacity'); slider.value = 0; slider.dispatchEvent(new Event('input')); })()");
    assert_ne!(page.value(red), blended);

    // The address alone leads there too.
    let run = page.value("location.href");
    page.visit("about:blank#away");
    page.visit(run.as_str().unwrap());
    page.wait_for("document.getElementById('run').checkVisibility()");
    assert_eq!(page.value("document.getElementById('run-title').textContent"), title);

    // Without a calibration the threshold starts at the best F1.
    page.value("document.querySelector('#runs tbody tr[data-method=NKD] a').click()");
    page.wait_for("document.getElementById('run-title').textContent.startsWith('NKD')");
    let start = page.value("document.getElementById('threshold-start').textContent");
    assert_eq!(start, "It starts where F1 is best on these images: an oracle.");
    let figures = page.value("document.querySelector('dl.figures').textContent");
    assert!(!figures.as_str().unwrap().contains("Threshold"), "{figures}");

    // On a phone nothing is cut off; in the dark the page is dark.
    let phone = json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
    page.call("Emulation.setDeviceMetricsOverride", &phone);
    page.wait_for("innerWidth === 390");
    assert_eq!(page.value("document.documentElement.scrollWidth <= 390"), true);
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    page.call("Emulation.setEmulatedMedia", &dark);
    let background = "getComputedStyle(document.body).backgroundColor";
    assert_eq!(page.value(background), "rgb(20, 24, 29)");
    page.value("document.getElementById('theme').click()");
    assert_eq!(page.value(background), "rgb(253, 253, 251)");

    assert!(page.errors().is_empty(), "{:?}", page.errors());
}
