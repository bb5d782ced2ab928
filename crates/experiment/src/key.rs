use fmam_core::{MethodId, Seed};
use fmam_record::RunKey;

/// Every combination: categories outermost, then methods, backbones and the seeds of the method,
/// each in the order given.
pub(crate) fn keys<'a>(
    dataset: &str,
    categories: &[String],
    methods: &[MethodId],
    backbones: &[String],
    seeds: impl Fn(&MethodId) -> &'a [u64],
) -> Vec<RunKey> {
    let mut keys = Vec::new();
    for category in categories {
        for method in methods {
            for backbone in backbones {
                for &seed in seeds(method) {
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
        let methods = ["rkd", "nkd"].map(MethodId::from);
        let keys = keys("demo", &own(&["twill", "plain"]), &methods, &own(&["tiny"]), |method| {
            if *method == "rkd" { &[1, 0] } else { &[1] }
        });
        let order: Vec<_> = keys.iter().map(ToString::to_string).collect();
        assert_eq!(
            order,
            [
                "twill rkd tiny seed 1",
                "twill rkd tiny seed 0",
                "twill nkd tiny seed 1",
                "plain rkd tiny seed 1",
                "plain rkd tiny seed 0",
                "plain nkd tiny seed 1",
            ]
        );
    }
}
