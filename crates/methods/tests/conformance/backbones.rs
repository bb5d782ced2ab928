//! Methods on the backbones that other tests leave out: those that have no students. A fit on every
//! other backbone would cost minutes and run the same code as on the small one.

use fmam_models::ModelError;

use super::*;

#[test]
fn a_backbone_without_students_serves_the_methods_that_need_none() {
    for spec in BACKBONES.iter().filter(|spec| !spec.has_students()) {
        let backbone = Arc::new(random_backbone(spec.name, Seed::new(3), device()).unwrap());
        let coarsest = spec.strides.iter().copied().max().unwrap();
        let size = ImageSize::square(2 * coarsest);
        let train = striped_train(1, size, Seed::new(1));
        let run =
            RunContext { backbone: backbone.clone(), preparation: size.into(), ..context(0, 1, &Silent) };
        for entry in methods() {
            let needs = quick_plan(entry, train.len()).needs;
            let pair = format!("{} on {}", entry.name, spec.name);
            let fitted = quick(entry, 1).fit(&train, &run);
            if needs.student {
                let is_refused = matches!(&fitted, Err(MethodError::Model(ModelError::NoStudent { .. })));
                assert!(is_refused, "{pair}: `needs.student` of the plan is set, so the fit must be refused");
            } else if needs.backbone {
                let fitted = fitted.unwrap_or_else(|e| {
                    panic!("{pair}: use what the backbone has, or set `needs.student` in the plan: {e}")
                });
                let predictions = fitted.detector.score(&[train.image(0).unwrap()]).unwrap();
                assert_eq!(predictions[0].anomaly_map.size(), size, "{pair}");
            }
        }
    }
}
