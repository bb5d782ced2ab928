//! The reading of facts that older records hold only implicitly.

use fmam_core::{StageId, StagePlan};
use serde_json::Value;

/// The suffix of the settings that hold a length of training.
const SUFFIX: &str = "epochs";

/// The training stages of resolved settings that come without a list of stages: every number under
/// a key that ends in `epochs`, wherever it stands. A stage has the name of the table or of the
/// rest of the key: `mapping` of `mapping.epochs` and of `mapping_epochs`, nothing of a plain
/// `epochs`.
pub(crate) fn stages_of_settings(settings: &Value) -> Vec<StagePlan> {
    let mut found = Vec::new();
    collect(settings, "", &mut found);
    found
}

fn collect(value: &Value, parent: &str, found: &mut Vec<StagePlan>) {
    let Value::Object(fields) = value else { return };
    for (key, value) in fields {
        let mut add =
            |name: &str, epochs| found.push(StagePlan { id: StageId::from(name.to_owned()), epochs });
        match (key.strip_suffix(SUFFIX), value.as_u64()) {
            (Some(""), Some(epochs)) => add(parent, epochs),
            (Some(stage), Some(epochs)) => add(stage.trim_end_matches('_'), epochs),
            _ => collect(value, key, found),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stages_are_found_wherever_their_epochs_stand() {
        let found = |settings: Value| -> Vec<(String, u64)> {
            let stages = stages_of_settings(&settings).into_iter();
            stages.map(|stage| (stage.id.to_string(), stage.epochs)).collect()
        };
        let both = [(String::new(), 20), ("mapping".to_owned(), 5)];
        assert_eq!(found(json!({"epochs": 20, "mapping": {"epochs": 5, "margin": 0.3}})), both);
        assert_eq!(found(json!({"epochs": 20, "mapping_epochs": 5})), both);
        assert_eq!(found(json!({"k": 50, "epochs": null})), []);
    }
}
