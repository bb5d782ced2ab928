use std::path::PathBuf;

use fmam_core::{MethodId, Seed};

use crate::RUNS_DIR;

/// The identity of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunKey {
    /// Registered name of the data set.
    pub dataset: String,
    /// Category within it.
    pub category: String,
    /// The method and the variant of its settings.
    pub method: MethodId,
    /// Registered name of the backbone.
    pub backbone: String,
    /// The run's seed.
    pub seed: Seed,
}

impl RunKey {
    /// The run's folder relative to the output folder:
    /// `runs/<dataset>/<category>/<method>/<backbone>/seed-<n>`. The folder always has this depth
    /// and stays inside the output folder, and no two runs share a folder: `a/b` becomes `a%2Fb`.
    pub fn dir(&self) -> PathBuf {
        let method = self.method.to_string();
        let names = [&self.dataset, &self.category, &method, &self.backbone].map(|name| folder_name(name));
        let [dataset, category, method, backbone] = names;
        let seed = format!("seed-{}", self.seed.value());
        [RUNS_DIR, &dataset, &category, &method, &backbone, &seed].iter().collect()
    }

    /// [`RunKey::dir`] with `/` between its parts on every system.
    pub fn path(&self) -> String {
        let parts: Vec<_> = self.dir().iter().map(|part| part.to_string_lossy().into_owned()).collect();
        parts.join("/")
    }
}

/// Escapes of text that cannot be part of a folder's name.
const ESCAPES: [(&str, &str); 2] = [("/", "%2F"), ("\\", "%5C")];
/// Names that are no folder's name as a whole, with their escapes.
const ESCAPED_NAMES: [(&str, &str); 3] = [("", "%00"), (".", "%2E"), ("..", "%2E%2E")];

/// A name as one component of a path. Names without a separator stay as they are; distinct names
/// stay distinct, since a `%` that could be read as the beginning of an escape is escaped itself.
fn folder_name(name: &str) -> String {
    if let Some((_, escape)) = ESCAPED_NAMES.iter().find(|(escaped, _)| *escaped == name) {
        return (*escape).to_owned();
    }
    let mut text = name.to_owned();
    for code in ["25", "00", "2E", "2F", "5C"] {
        text = text.replace(&format!("%{code}"), &format!("%25{code}"));
    }
    ESCAPES.iter().fold(text, |text, (separator, escape)| text.replace(separator, escape))
}

impl std::fmt::Display for RunKey {
    /// Writes `screw rkd+fmam resnet18 seed 0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {} seed {}", self.category, self.method, self.backbone, self.seed.value())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::{Component, Path};

    use super::*;

    #[test]
    fn a_run_has_one_folder_inside_the_output_folder() {
        let mut key = RunKey {
            dataset: "mvtec".into(),
            category: "screw 100%".into(),
            method: "rkd+fmam@wide".into(),
            backbone: "resnet18".into(),
            seed: Seed::new(2),
        };
        assert_eq!(key.dir(), Path::new("runs/mvtec/screw 100%/rkd+fmam@wide/resnet18/seed-2"));
        key.dataset = String::new();
        key.category = "..".into();
        key.backbone = "../a\\b".into();
        assert_eq!(key.dir(), Path::new("runs/%00/%2E%2E/rkd+fmam@wide/..%2Fa%5Cb/seed-2"));
        assert_eq!(key.path(), "runs/%00/%2E%2E/rkd+fmam@wide/..%2Fa%5Cb/seed-2");
    }

    #[test]
    fn no_two_names_share_a_folder() {
        let parts = ["a", "_", "/", "\\", "%", ".", "2F", "5C", "25", "2E", "00", "%25", "%2F"];
        let mut names = vec![String::new()];
        for _ in 0..3 {
            let longer = names.iter().flat_map(|name| parts.map(|part| format!("{name}{part}")));
            names = names.iter().cloned().chain(longer).collect();
            names.sort();
            names.dedup();
        }
        let mut folders: HashMap<String, &str> = HashMap::new();
        for name in &names {
            let folder = folder_name(name);
            let components: Vec<_> = Path::new(&folder).components().collect();
            assert!(matches!(&components[..], [Component::Normal(_)]), "{name:?}: {folder:?}");
            assert!(!folder.contains('\\'), "{folder:?}");
            if let Some(other) = folders.insert(folder.clone(), name) {
                panic!("{other:?} and {name:?} share {folder:?}");
            }
        }
        assert_eq!((folder_name("a_b"), folder_name("100%")), ("a_b".into(), "100%".into()));
    }
}
