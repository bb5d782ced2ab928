//! Pixel figures of generated maps of 512x512, of which one image in four has a defect: time, peak
//! memory of the process, and bytes that were spilled.
//!
//! ```text
//! cargo run --release -p fmam-metrics --example bounded_memory -- IMAGES BUDGET_IN_MIB FOLDER
//! ```

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use fmam_metrics::PixelBuilder;

const SIDE: usize = 512;

/// Knots of the coarse grid behind a map, along a side.
const KNOTS: usize = 33;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().ok_or("the arguments are IMAGES BUDGET_IN_MIB FOLDER");
    let n_images: u64 = argument()?.parse()?;
    let budget = argument()?.parse::<usize>()? << 20;
    let folder = PathBuf::from(argument()?);
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    let mut n_streams = 0;
    let mut pixels = PixelBuilder::new().spilling(budget, move || {
        let path = folder.join(format!("fmam-{}-{n_streams}", std::process::id()));
        n_streams += 1;
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path)?;
        // The file vanishes with its handle.
        std::fs::remove_file(path)?;
        Ok(Counted { file, written: Arc::clone(&count) })
    });
    let (mut map, mut mask) = (vec![0.0; SIDE * SIDE], vec![0; SIDE * SIDE]);
    let (mut generating, mut adding) = (0.0, 0.0);
    for image in 0..n_images {
        let start = Instant::now();
        generate(image, &mut map, &mut mask);
        generating += start.elapsed().as_secs_f64();
        let start = Instant::now();
        pixels.add(&map, &mask, SIDE, None)?;
        adding += start.elapsed().as_secs_f64();
    }
    let start = Instant::now();
    let ranking = pixels.finish()?;
    let finishing = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let summary = ranking.summary()?;
    let walking = start.elapsed().as_secs_f64();
    let mut out = io::stdout();
    writeln!(out, "{n_images} maps of {SIDE}x{SIDE}, budget {} MiB", budget >> 20)?;
    writeln!(out, "{} normal and {} anomalous pixels", ranking.n_normal(), ranking.n_anomalous())?;
    writeln!(out, "{} regions, {:?}", ranking.n_regions(), summary.metrics)?;
    writeln!(out, "maps {generating:.1} s, add {adding:.1} s, finish {finishing:.1} s, walk {walking:.1} s")?;
    writeln!(out, "spilled {} MiB", written.load(Ordering::Relaxed) >> 20)?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| line.starts_with("VmHWM")) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// A smooth map, as of a network whose features have a sixteenth of the size, and its mask.
fn generate(image: u64, map: &mut [f32], mask: &mut [u8]) {
    let mut state = image.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let knots: Vec<f32> = (0..KNOTS * KNOTS).map(|_| 0.05 + 0.3 * random() * random()).collect();
    // One image in four has a defect of 4 % of its pixels.
    let (top, left) = ((random() * 400.0) as usize, (random() * 400.0) as usize);
    let is_defective = image.is_multiple_of(4);
    let strength = 0.4 * random();
    let scale = (KNOTS - 1) as f32 / SIDE as f32;
    for (y, (row, labels)) in map.chunks_mut(SIDE).zip(mask.chunks_mut(SIDE)).enumerate() {
        let (i, v) = ((y as f32 * scale) as usize, (y as f32 * scale).fract());
        for (x, (score, label)) in row.iter_mut().zip(labels).enumerate() {
            let (j, u) = ((x as f32 * scale) as usize, (x as f32 * scale).fract());
            let at = |i: usize, j: usize| knots[KNOTS * i + j];
            let upper = at(i, j) + u * (at(i, j + 1) - at(i, j));
            let lower = at(i + 1, j) + u * (at(i + 1, j + 1) - at(i + 1, j));
            let is_inside = is_defective && (top..top + 102).contains(&y) && (left..left + 102).contains(&x);
            *label = u8::from(is_inside);
            *score = upper + v * (lower - upper) + if is_inside { strength } else { 0.0 };
        }
    }
}

/// A file that counts the bytes written to it.
struct Counted {
    file: File,
    written: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.written.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for Counted {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl Seek for Counted {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        self.file.seek(place)
    }
}
