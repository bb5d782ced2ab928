//! Writes the seeds of every fuzz target into a folder of its name: `cargo run -p fmam-tests
//! --example fuzz_seeds -- FOLDER`.

use std::path::PathBuf;

use fmam_tests::fuzz::TARGETS;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("the folder is missing")?);
    for target in TARGETS {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (name, bytes) in (target.seeds)() {
            std::fs::write(folder.join(format!("seed-{name}")), bytes)?;
        }
    }
    Ok(())
}
