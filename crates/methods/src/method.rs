use fmam_core::{CurvePoint, Plan, SampleSource};

use crate::card::SavedModel;
use crate::detector::Detector;
use crate::scorer::Scorer;
use crate::{MethodError, RunContext};

/// An unfitted method: its checked settings.
pub trait Method: Send + Sync {
    /// The work of [`Method::fit`] on `n_images` training images: the resolved settings with their
    /// defaults filled in, the training stages in the order in which they run, under the names that
    /// `fit` announces, and what the method needs of its surroundings.
    ///
    /// # Errors
    /// [`MethodError::Settings`] for settings that cannot be written as JSON.
    fn plan(&self, n_images: usize) -> Result<Plan, MethodError>;

    /// Fits a detector to normal images.
    ///
    /// # Errors
    /// [`MethodError::NoTrainingImages`] for an empty source, [`MethodError::Cancelled`] when the
    /// user stops the run, and the errors of the source, the networks and the device.
    fn fit(self: Box<Self>, train: &dyn SampleSource, run: &RunContext<'_>) -> Result<Fitted, MethodError>;
}

/// The outcome of a fit.
pub struct Fitted {
    /// The detector, ready to score.
    pub detector: Detector,
    /// Mean training loss after each epoch of each stage; empty for methods without a training
    /// loop.
    pub curve: Vec<CurvePoint>,
}

/// A line of the method table.
pub struct MethodEntry {
    /// The name users type.
    pub name: &'static str,
    /// One line for `fmam list`.
    pub summary: &'static str,
    /// The source of the method.
    pub paper: &'static str,
    /// True for a method of the paper's Table 1, so that the presets of that table have it.
    pub in_table1: bool,
    /// True for a method that is a yardstick for the others and need not find where a defect is.
    pub is_yardstick: bool,
    /// True if the seed of a run makes a difference: a method that draws nothing gives one result
    /// for all.
    pub is_seeded: bool,
    /// The least number of training images that the method can be fitted to.
    pub min_images: usize,
    /// Settings, as TOML, with which the method is quick on a few small images and yet draws
    /// everything that it draws: small networks above all. The number of epochs is not among them.
    pub trial: &'static str,
    /// Reads and checks the method's settings; an empty table gives the defaults. A method that
    /// trains a network of its own takes the length of its main stage as `epochs`.
    pub build: fn(toml::Table) -> Result<Box<dyn Method>, MethodError>,
    /// Reads the scorer of a detector that was saved.
    pub load: fn(&SavedModel) -> Result<Box<dyn Scorer>, MethodError>,
}

impl MethodEntry {
    /// True if the method trains something.
    ///
    /// # Errors
    /// The errors of [`MethodEntry::build`] for the defaults, and of [`Method::plan`].
    pub fn trains(&self) -> Result<bool, MethodError> {
        Ok(!(self.build)(toml::Table::new())?.plan(0)?.stages.is_empty())
    }

    /// Gives the settings `table` a number of `epochs`, where the method has that setting and the
    /// table none of its own.
    ///
    /// # Errors
    /// As [`MethodEntry::trains`].
    pub fn default_epochs(&self, table: &mut toml::Table, epochs: usize) -> Result<(), MethodError> {
        let defaults = (self.build)(toml::Table::new())?.plan(0)?.settings;
        if !table.contains_key("epochs") && defaults.get("epochs").is_some() {
            // Saturating: a number of epochs that no TOML integer holds is refused by no method
            // and never ends.
            let epochs = i64::try_from(epochs).unwrap_or(i64::MAX);
            table.insert("epochs".to_owned(), toml::Value::Integer(epochs));
        }
        Ok(())
    }
}
