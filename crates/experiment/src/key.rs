use std::path::PathBuf;

use fmam_core::Seed;

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
    /// separator within a name becomes `_`, so that the folder always has this depth.
    pub fn dir(&self) -> PathBuf {
        let [dataset, category, method, backbone] = self.folder_names();
        ["runs", &dataset, &category, &method, &backbone, &self.seed_name()].iter().collect()
    }

    /// A name for this run that is a single path component.
    pub(crate) fn flat_name(&self) -> String {
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

/// Every combination: categories outermost, then methods, backbones and seeds, each in the order given.
pub(crate) fn keys(
    dataset: &str,
    categories: &[String],
    methods: &[String],
    backbones: &[String],
    seeds: &[u64],
) -> Vec<RunKey> {
    let mut keys = Vec::with_capacity(categories.len() * methods.len() * backbones.len() * seeds.len());
    for category in categories {
        for method in methods {
            for backbone in backbones {
                for &seed in seeds {
                    keys.push(RunKey {
                        dataset: dataset.to_owned(),
                        category: category.clone(),
                        method: method.clone(),
                        backbone: backbone.clone(),
                        seed: Seed::new(seed),
                    });
                }
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_category_method_backbone_seed() {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let keys = keys("demo", &own(&["twill", "plain"]), &own(&["rkd", "nkd"]), &own(&["tiny"]), &[1, 0]);
        let order: Vec<_> = keys.iter().map(ToString::to_string).collect();
        assert_eq!(
            order,
            [
                "twill rkd tiny seed 1",
                "twill rkd tiny seed 0",
                "twill nkd tiny seed 1",
                "twill nkd tiny seed 0",
                "plain rkd tiny seed 1",
                "plain rkd tiny seed 0",
                "plain nkd tiny seed 1",
                "plain nkd tiny seed 0",
            ]
        );
    }

    #[test]
    fn a_run_stays_inside_the_output_folder() {
        let key = RunKey {
            dataset: "folder".into(),
            category: "..".into(),
            method: "nkd+fmam".into(),
            backbone: "a/b".into(),
            seed: Seed::new(3),
        };
        assert_eq!(key.dir(), PathBuf::from("runs/folder/__/nkd+fmam/a_b/seed-3"));
        assert_eq!(key.flat_name(), "folder-__-nkd+fmam-a_b-seed-3");
    }
}
