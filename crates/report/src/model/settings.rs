use std::collections::BTreeSet;

use fmam_record::RunRecord;
use serde_json::Value;

/// The distinct values of `of` over `runs` in order of appearance, ` / ` between them.
pub(crate) fn distinct<'a>(
    runs: impl IntoIterator<Item = &'a RunRecord>,
    of: impl Fn(&RunRecord) -> String,
) -> String {
    let mut seen = Vec::new();
    for run in runs {
        let value = of(run);
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen.join(" / ")
}

/// The run's training length as its configuration has it: `10`, or by stage `mapping 5, student 10`; empty for a
/// method that does not train.
///
/// Every number under a key `epochs` counts, wherever it stands: a report must not know the methods' layouts.
pub(crate) fn epochs(run: &RunRecord) -> String {
    let mut found = Vec::new();
    collect_epochs(&run.config, "", &mut found);
    match &found[..] {
        [(_, only)] => only.to_string(),
        _ => found
            .iter()
            .map(|(stage, n)| format!("{stage} {n}").trim_start().to_owned())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn collect_epochs(value: &Value, name: &str, found: &mut Vec<(String, u64)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.strip_suffix("epochs"), value.as_u64()) {
                    (Some(""), Some(n)) => found.push((name.to_owned(), n)),
                    (Some(stage), Some(n)) => found.push((stage.trim_end_matches('_').to_owned(), n)),
                    _ => collect_epochs(value, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_epochs(item, name, found)),
        _ => {}
    }
}

/// `256x256` as a person writes it.
pub(crate) fn image_size(run: &RunRecord) -> String {
    format!("{}×{}", run.image_size.height, run.image_size.width)
}

/// What the run's networks computed in; `f32` where its configuration does not say.
pub(crate) fn precision(run: &RunRecord) -> String {
    run.config["precision"].as_str().unwrap_or("f32").to_owned()
}

/// Where the run computed, and in which precision where that is not the usual: `cuda:0, bf16`.
pub(crate) fn device(run: &RunRecord) -> String {
    match precision(run).as_str() {
        "f32" => run.device.clone(),
        precision => format!("{}, {precision}", run.device),
    }
}

/// `candle 0.11.1`, one for each part and version in use.
pub(crate) fn versions(runs: &[RunRecord]) -> BTreeSet<String> {
    runs.iter().flat_map(|run| &run.versions).map(|(name, version)| format!("{name} {version}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::record;

    fn check_epochs(config: Value, expected: &str) {
        let mut run = record("mvtec", "screw", "nkd", 0);
        run.config = config;
        assert_eq!(epochs(&run), expected);
    }

    #[test]
    fn a_precision_stands_with_the_device_where_it_is_not_the_usual() {
        let mut run = record("mvtec", "screw", "nkd", 0);
        assert_eq!((precision(&run).as_str(), device(&run).as_str()), ("f32", "cpu"));
        run.config = json!({"precision": "bf16"});
        assert_eq!((precision(&run).as_str(), device(&run).as_str()), ("bf16", "cpu, bf16"));
    }

    #[test]
    fn epochs_are_found_wherever_the_configuration_has_them() {
        check_epochs(json!({"method": {"train": {"epochs": 10}}}), "10");
        check_epochs(json!({"mapping": {"epochs": 5}, "student": {"epochs": 20}}), "mapping 5, student 20");
        check_epochs(json!({"epochs": 20, "mapping_epochs": 5}), "20, mapping 5");
        check_epochs(json!({"k": 50, "epochs": null}), "");
    }
}
