//! Fuzz targets: functions of bytes that somebody else chose. Each asserts more than the absence of
//! a panic, such as that an accepted value is whole, finite, deterministic, and comes back as it
//! was saved.
//!
//! `tests/fuzz` is the package that a nightly compiler builds of them; `tests/fuzz/run.sh` runs a
//! campaign. The corpus in `tests/fuzz/corpus` is replayed by `tests/tests/corpus.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fuzz target fails by panicking")]

mod archive;
mod bytes;
mod calibration;
mod config;
mod graph;
mod image;
mod list;
mod maps;
mod mask;
mod model;
mod npy;
mod record;
mod rows;
mod scratch;
mod serve;
mod shapes;
mod weights;

pub use archive::archive;
pub use bytes::Seed;
pub use calibration::calibration;
pub use config::config;
pub use graph::graph;
pub use image::image;
pub use list::list;
pub use maps::maps;
pub use mask::mask;
pub use model::model;
pub use npy::npy;
pub use record::record;
pub use rows::rows;
pub use serve::serve;
pub use shapes::shapes;
pub use weights::weights;

/// A fuzz target.
#[derive(Debug)]
pub struct Target {
    /// The name of the binary and of the folder of its corpus.
    pub name: &'static str,
    /// Reads an input. True if the input was accepted; false is a refusal with an error.
    pub run: fn(&[u8]) -> bool,
    /// Small inputs, every one of which is accepted.
    pub seeds: fn() -> Vec<Seed>,
}

/// Every target, by name.
pub static TARGETS: &[Target] = &[
    Target { name: "archive", run: archive, seeds: archive::seeds },
    Target { name: "calibration", run: calibration, seeds: calibration::seeds },
    Target { name: "config", run: config, seeds: config::seeds },
    Target { name: "graph", run: graph, seeds: graph::seeds },
    Target { name: "image", run: image, seeds: image::seeds },
    Target { name: "list", run: list, seeds: list::seeds },
    Target { name: "maps", run: maps, seeds: maps::seeds },
    Target { name: "mask", run: mask, seeds: mask::seeds },
    Target { name: "model", run: model, seeds: model::seeds },
    Target { name: "npy", run: npy, seeds: npy::seeds },
    Target { name: "record", run: record, seeds: record::seeds },
    Target { name: "rows", run: rows, seeds: rows::seeds },
    Target { name: "serve", run: serve, seeds: serve::seeds },
    Target { name: "shapes", run: shapes, seeds: shapes::seeds },
    Target { name: "weights", run: weights, seeds: weights::seeds },
];

/// Runs the seeds of the target `name`, each of which must be accepted, and writes them into the
/// folder that `FMAM_FUZZ_SEEDS` names, where it is set. A binary does so before its first input:
/// what a target makes once, such as a model, is not in the time of an input.
pub fn run_seeds(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let folder = std::env::var_os("FMAM_FUZZ_SEEDS").map(std::path::PathBuf::from);
    for (seed, bytes) in (target.seeds)() {
        assert!((target.run)(&bytes), "{name} refuses its seed {seed}");
        if let Some(folder) = &folder {
            std::fs::write(folder.join(format!("seed-{seed}")), bytes).unwrap();
        }
    }
}
