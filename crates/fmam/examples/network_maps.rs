//! Writes the anomaly maps of a detector as the network gives them, before they are brought to the
//! size of an image: `cargo run --release -p fmam --example network_maps -- MODEL OUT IMAGE..`.
//!
//! The map of image number `n` is `OUT/n.npy`, float32 [H, W], and the pixels that the network saw
//! are `OUT/n.png`. Each image has a JSON line with its score, its verdict and the threshold.
//! `tests/reference/export/parity.py` compares them with the outputs of an exported graph.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fmam::{DeviceChoice, Outcome, Session, Verdict};
use fmam_report::{MapFormat, write_map_file, write_png};

type AnyError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, out, images @ ..] = args.as_slice() else {
        let _ = writeln!(std::io::stderr(), "usage: network_maps MODEL OUT IMAGE..");
        return ExitCode::from(2);
    };
    match write_maps(model, out, images) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", fmam::one_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn write_maps(model: &Path, out: &Path, images: &[PathBuf]) -> Result<(), AnyError> {
    let session = Session::builder().device(DeviceChoice::Cpu).build()?;
    let detector = session.load(model)?;
    for verdict in session.predict(&detector, images) {
        let verdict = verdict?;
        let map = &verdict.prediction.anomaly_map;
        let file = out.join(format!("{}.npy", verdict.index));
        write_map_file(&file, MapFormat::Npy, map, map.size(), (0.0, 1.0))?;
        write_png(&out.join(format!("{}.png", verdict.index)), &verdict.image)?;
        writeln!(std::io::stdout(), "{}", line(&verdict))?;
    }
    Ok(())
}

fn line(verdict: &Verdict) -> serde_json::Value {
    let inspection = verdict.inspection.as_ref();
    serde_json::json!({
        "image": verdict.name,
        "score": verdict.prediction.image_score,
        "threshold": inspection.map(|inspection| inspection.threshold.score),
        "defective": inspection.map(|inspection| inspection.outcome == Outcome::Defect),
        "seconds": verdict.seconds,
    })
}
