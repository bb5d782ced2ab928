use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::StageId;

/// A method's work on one training set, stated before the training.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The resolved settings, defaults filled in. The record keeps them; nobody but the method
    /// reads them.
    pub settings: Value,
    /// The training stages in the order in which they run; empty for a method that does not train.
    pub stages: Vec<StagePlan>,
    /// The requirements of the method.
    pub needs: Needs,
}

/// The length of one training stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagePlan {
    /// The stage, as the method announces it to [`crate::Progress`].
    pub id: StageId,
    /// Passes over the training images.
    pub epochs: u64,
}

/// The requirements of a method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// The features of a backbone.
    pub backbone: bool,
    /// A student or a decoder that the backbone defines.
    pub student: bool,
    /// The backbone's last block as a trainable network.
    pub last_block: bool,
    /// Images of textures, for synthetic defects.
    pub textures: bool,
    /// Images, or tiles, that show the same place of the product at the same position: the method
    /// learns a statistic of each position. With tiles it learns one of each tile, so that memory
    /// grows with their number, and all images must have one size.
    pub fixed_positions: bool,
}

impl Plan {
    /// The plan of a method that does not train.
    pub fn without_training(settings: Value, needs: Needs) -> Self {
        Self { settings, stages: Vec::new(), needs }
    }
}

impl Needs {
    /// A method that reads a backbone's features and nothing else.
    pub const FEATURES: Self =
        Self { backbone: true, student: false, last_block: false, textures: false, fixed_positions: false };
}
