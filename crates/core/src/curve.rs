use serde::{Deserialize, Serialize};

/// The training loss at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurvePoint {
    /// The part of the training, `feature-mapping` or `student` say.
    pub stage: String,
    /// Epochs completed in this stage.
    pub epoch: usize,
    /// Mean loss over the epoch.
    pub loss: f64,
}
