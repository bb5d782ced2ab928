use std::path::PathBuf;

use anyhow::{Result, bail};
use fmam::output::{EvaluationFolder, Figures, TestFindings, metrics_table};
use fmam::{EvaluationConfig, Resolution};
use fmam_core::shown;
use fmam_experiment::export_map;
use fmam_record::{MapExport, MapLayout};

use crate::compute::ComputeArgs;
use crate::data::DataArgs;
use crate::region::RegionArgs;
use crate::stdout::{print, print_json};
use crate::threshold::ThresholdArgs;

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/eval.txt"))]
pub(crate) struct Args {
    /// Folder that `fmam fit` wrote, or `model` of a run of `fmam reproduce`
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    threshold: ThresholdArgs,
    #[command(flatten)]
    region: RegionArgs,
    /// Print JSON instead of a table; every metric is a fraction from 0 to 1
    #[arg(long)]
    json: bool,
    /// Also write metrics.json, scores.jsonl and pictures here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write the anomaly map of every test image, in `maps/` of --out: `mvtec` is the layout
    /// that the evaluation code of MVTec AD reads
    #[arg(long, value_name = "LAYOUT", requires = "out")]
    export_maps: Option<MapLayout>,
    /// Resolution of pixel figures: `network`, that of the model, or `original`, that of each image
    /// file, as the evaluation code of MVTec AD has it
    #[arg(long, value_name = "RESOLUTION", default_value = "network")]
    evaluate_at: Resolution,
    /// Leave all figures of pixels and regions out
    #[arg(long, conflicts_with = "evaluate_at")]
    no_pixel_metrics: bool,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, registry: &fmam::Registry) -> Result<()> {
    let (session, console) = args.compute.session(registry)?;
    let detector = args.region.on(session.load(&args.model)?)?;
    let detector = args.threshold.on(detector)?;
    let category = args.data.category(&session, &detector.card().preparation())?;
    let mut folder = args.out.as_deref().map(EvaluationFolder::begin).transpose()?;
    let config = EvaluationConfig { at: args.evaluate_at, pixel_metrics: !args.no_pixel_metrics };
    let test = category.test.as_ref();
    let maps_dir = folder.as_ref().map(EvaluationFolder::maps).unwrap_or_default();
    let mut export = args.export_maps.map(|layout| MapExport::new(layout, &maps_dir, &category.name));
    // Not in --out, whose disk may be full.
    let temporary = std::env::temp_dir();
    let evaluator = session.evaluator(config, &temporary);
    let evaluation = session.evaluate_by(&evaluator, &detector, test, |index, score, map| {
        if let Some(folder) = &mut folder {
            folder.add(test.sample(index), score);
            if let Some(export) = &mut export {
                folder.keep_map(|| export_map(export, test, index, map));
            }
        }
        Ok(())
    });
    console.clear();
    let evaluation = evaluation?;
    let findings = TestFindings::of(&detector, &category, &evaluation, args.region.path());
    // Before everything that may fail: the figures took all of the time.
    let figures = Figures::of(&evaluation, &findings);
    let written = folder.as_mut().map_or(Ok(()), |folder| folder.write_figures(&figures));
    let printed = if args.json {
        print_json(&figures)
    } else {
        let table = metrics_table(registry.metrics(), &evaluation.metrics, evaluation.decision.as_ref());
        print(&(table + &vanished_line(&findings.findings.vanished)))
    };
    written?;
    let omitted = folder.map_or_else(Vec::new, |folder| folder.draw(&detector, test, &evaluation));
    if let Some(first) = omitted.first() {
        console.warn(&first.one_line());
        bail!(
            "{} of the maps and pictures could not be written; scores and figures are complete",
            omitted.len()
        );
    }
    printed
}

/// Ids that the line about vanished masks names at most.
const MAX_IDS: usize = 5;

/// The line about images whose mask vanished, after an empty one; empty without such images.
fn vanished_line(ids: &[String]) -> String {
    let named = ids.iter().take(MAX_IDS).map(|id| shown(id)).collect::<Vec<_>>().join(", ");
    let others = match ids.len().saturating_sub(MAX_IDS) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let masks = match ids.len() {
        0 => return String::new(),
        1 => "The mask of 1 anomalous image has".to_owned(),
        n => format!("The masks of {n} anomalous images have"),
    };
    format!(
        "\n{masks} no pixel left at the resolution of the pixel figures, where all pixels of these images \
         count as normal; --evaluate-at original compares at the size of the files: {named}{others}.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vanished_masks_are_one_line_that_names_some_images() {
        assert_eq!(vanished_line(&[]), "");
        let ids: Vec<String> = (0..7).map(|k| format!("test/cut/{k}")).collect();
        let one = vanished_line(&ids[..1]);
        assert!(one.starts_with("\nThe mask of 1 anomalous image has no pixel left"), "{one}");
        assert!(
            one.ends_with("--evaluate-at original compares at the size of the files: test/cut/0.\n"),
            "{one}"
        );
        let many = vanished_line(&ids);
        assert!(many.contains("The masks of 7 anomalous images have"), "{many}");
        assert!(many.ends_with("test/cut/3, test/cut/4 and 2 more.\n"), "{many}");
        assert_eq!(many.trim().lines().count(), 1);
    }
}
