use std::collections::BTreeSet;

use fmam_record::RunRecord;

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

/// The run's training length as its configuration has it: `10`, or by stage `mapping 5, student
/// 10`; empty for a method that does not train.
pub(crate) fn epochs(run: &RunRecord) -> String {
    match &run.config.stages[..] {
        [only] => only.epochs.to_string(),
        stages => stages
            .iter()
            .map(|stage| format!("{} {}", stage.id, stage.epochs).trim_start().to_owned())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// `256x256` as a person writes it.
pub(crate) fn image_size(run: &RunRecord) -> String {
    format!("{}×{}", run.image_size.height, run.image_size.width)
}

/// The precision of the run's networks; `f32` if the configuration has none.
pub(crate) fn precision(run: &RunRecord) -> String {
    run.config.precision().to_owned()
}

/// The device of the run, with its precision unless that is `f32`: `cuda:0, bf16`.
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
    use fmam_core::{StageId, StagePlan};

    use super::*;
    use crate::fixture::record;

    #[test]
    fn a_precision_stands_with_the_device_where_it_is_not_the_usual() {
        let mut run = record("mvtec", "screw", "nkd", 0);
        assert_eq!((precision(&run).as_str(), device(&run).as_str()), ("f32", "cpu"));
        run.config.precision = Some("bf16".to_owned());
        assert_eq!((precision(&run).as_str(), device(&run).as_str()), ("bf16", "cpu, bf16"));
    }

    #[test]
    fn epochs_are_told_by_stage_where_there_are_several() {
        let told = |stages: &[(&'static str, u64)]| {
            let mut run = record("mvtec", "screw", "nkd", 0);
            let stage = |&(id, epochs)| StagePlan { id: StageId::new(id), epochs };
            run.config.stages = stages.iter().map(stage).collect();
            epochs(&run)
        };
        assert_eq!(told(&[("student", 10)]), "10");
        assert_eq!(told(&[("mapping", 5), ("student", 20)]), "mapping 5, student 20");
        assert_eq!(told(&[("", 20), ("mapping", 5)]), "20, mapping 5");
        assert_eq!(told(&[]), "");
    }
}
