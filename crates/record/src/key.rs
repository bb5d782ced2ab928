use std::path::PathBuf;

use fmam_core::Seed;

/// Folder of all runs within an output folder.
pub const RUNS_DIR: &str = "runs";
/// Name of a run's record within [`RunKey::dir`].
pub const RECORD_FILE: &str = "record.json";

/// What makes a run this run and no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunKey {
    /// Registered name of the data set.
    pub dataset: String,
    /// Category within it.
    pub category: String,
    /// Registered name of the method.
    pub method: String,
    /// Registered name of the backbone.
    pub backbone: String,
    /// The run's seed.
    pub seed: Seed,
}

impl RunKey {
    /// The run's folder relative to the output folder: `runs/<dataset>/<category>/<method>/<backbone>/seed-<n>`. A
    /// separator within a name becomes `_`, so that the folder always has this depth and stays inside the output
    /// folder.
    pub fn dir(&self) -> PathBuf {
        let [dataset, category, method, backbone] = self.folder_names();
        [RUNS_DIR, &dataset, &category, &method, &backbone, &self.seed_name()].iter().collect()
    }

    /// [`RunKey::dir`] with `/` between its parts on every system.
    pub fn path(&self) -> String {
        let parts: Vec<_> = self.dir().iter().map(|part| part.to_string_lossy().into_owned()).collect();
        parts.join("/")
    }

    /// A name for this run that is a single path component.
    pub fn flat_name(&self) -> String {
        format!("{}-{}", self.folder_names().join("-"), self.seed_name())
    }

    fn folder_names(&self) -> [String; 4] {
        [&self.dataset, &self.category, &self.method, &self.backbone].map(|name| match name.as_str() {
            "" | "." | ".." => "_".repeat(name.len().max(1)),
            _ => name.replace(['/', '\\'], "_"),
        })
    }

    fn seed_name(&self) -> String {
        format!("seed-{}", self.seed.value())
    }
}

impl std::fmt::Display for RunKey {
    /// Writes `screw rkd+fmam resnet18 seed 0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {} seed {}", self.category, self.method, self.backbone, self.seed.value())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_run_has_one_folder_inside_the_output_folder() {
        let mut key = RunKey {
            dataset: "mvtec".into(),
            category: "screw".into(),
            method: "rkd+fmam".into(),
            backbone: "resnet18".into(),
            seed: Seed::new(2),
        };
        assert_eq!(key.dir(), Path::new("runs/mvtec/screw/rkd+fmam/resnet18/seed-2"));
        assert_eq!(key.flat_name(), "mvtec-screw-rkd+fmam-resnet18-seed-2");
        key.dataset = String::new();
        key.category = "..".into();
        key.backbone = "../a\\b".into();
        assert_eq!(key.dir(), Path::new("runs/_/__/rkd+fmam/.._a_b/seed-2"));
        assert_eq!(key.flat_name(), "_-__-rkd+fmam-.._a_b-seed-2");
    }
}
