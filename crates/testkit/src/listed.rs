use fmam_core::{Mask, RgbImage, Sample, SampleSource, SourceError};

/// Samples without pixels, for tests of code that reads names and paths only.
#[derive(Debug, Clone)]
pub struct Listed(pub Vec<Sample>);

impl SampleSource for Listed {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn sample(&self, index: usize) -> &Sample {
        &self.0[index]
    }

    fn image(&self, _: usize) -> Result<RgbImage, SourceError> {
        Err("no pixels".into())
    }

    fn mask(&self, _: usize) -> Result<Option<Mask>, SourceError> {
        Err("no pixels".into())
    }
}
