use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of one stage of a run: `student`, `feature-mapping`, `scoring`. A method announces the
/// stage under the same identifier that its [`crate::Plan`] lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageId(Cow<'static, str>);

impl StageId {
    /// The stage in which a source decodes its images before a training.
    pub const READING: Self = Self::new("reading images");
    /// The stage in which good images that a detector did not learn from are scored.
    pub const CALIBRATING: Self = Self::new("calibrating");
    /// The stage in which a fitted detector scores the test split.
    pub const SCORING: Self = Self::new("scoring");

    /// The stage called `name`.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The stage's name.
    pub const fn as_str(&self) -> &str {
        match &self.0 {
            Cow::Borrowed(name) => name,
            Cow::Owned(name) => name.as_str(),
        }
    }
}

impl From<String> for StageId {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
