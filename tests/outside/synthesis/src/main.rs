//! Synthetic defects for a training loop of one's own.

use fmam_core::{ImageSize, RgbImage, Seed};
use fmam_synthesis::{SynthesisConfig, SynthesisError, Synthesizer, Textures};

fn main() -> Result<(), SynthesisError> {
    let image = RgbImage::filled(ImageSize::square(64), [128, 128, 128]);
    let synthesizer = Synthesizer::new(SynthesisConfig::default(), Textures::Generated)?;
    for index in 0..4 {
        let defect = synthesizer.synthesize(&image, Seed::new(7).derive_index(index))?;
        println!("defect {index}: {} pixels", defect.mask.area());
        assert!(defect.mask.area() > 0);
    }
    Ok(())
}
