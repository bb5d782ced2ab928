use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use fmam_core::SampleSource;
use fmam_datasets::Category;
use fmam_experiment::{Artist, Evaluation, Exhibit, evaluate, exhibits, write_maps};
use fmam_methods::load_detector;
use fmam_metrics::{METRICS, MetricEntry};
use fmam_record::{MAPS_DIR, MapLayout, Metrics, OVERLAYS_DIR};
use serde_json::json;

use crate::compute::ComputeArgs;
use crate::data::DataArgs;
use crate::out::check_writable;
use crate::overlays::Overlays;
use crate::progress::Console;
use crate::stdout::{print, print_json};

const EXAMPLES: &str = "\
Example:
  fmam eval --model model --data-root data --dataset folder --category screws --out evaluation";

/// Test images that are drawn.
const N_OVERLAYS: usize = 12;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder that `fmam fit` wrote, or `model` of a run of `fmam reproduce`
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Print JSON instead of a table; every figure is a fraction from 0 to 1
    #[arg(long)]
    json: bool,
    /// Also write metrics.json, scores.jsonl and pictures here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write the anomaly map of every test image, in `maps/` of --out: `mvtec` is the layout
    /// that the evaluation code of MVTec AD reads
    #[arg(long, value_name = "LAYOUT", requires = "out")]
    export_maps: Option<MapLayout>,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.compute.prepare()?;
    let detector = load_detector(&args.model, &args.compute.device.unwrap_or_default().open()?)?;
    let Category { name, test, .. } = args.data.category(detector.image_size())?;
    let _made = args.out.as_deref().map(check_writable).transpose()?;
    let console = Console::new(args.compute.quiet, []);
    let evaluation = evaluate(&detector, test.as_ref(), METRICS, args.compute.loader_threads(), &console);
    console.clear();
    let evaluation = evaluation?;
    if let Some(out) = &args.out {
        write(out, test.as_ref(), &evaluation)?;
        if let Some(layout) = args.export_maps {
            write_maps(layout, &out.join(MAPS_DIR), &name, test.as_ref(), &evaluation.maps)?;
        }
    }
    if args.json { print_json(&evaluation.metrics) } else { print(&table(&evaluation.metrics)) }
}

fn write(out: &std::path::Path, test: &dyn SampleSource, evaluation: &Evaluation) -> Result<()> {
    let exhibits = exhibits(test, &evaluation.image_scores, N_OVERLAYS)
        .into_iter()
        .map(|index| {
            let path = out.join(OVERLAYS_DIR).join(format!("{index:04}.png"));
            let image = test.image(index).map_err(|error| anyhow::anyhow!(error))?;
            Ok(Exhibit { index, image, mask: evaluation.masks[index].clone(), path })
        })
        .collect::<Result<Vec<_>>>()?;
    Overlays.draw(&evaluation.maps, &exhibits).map_err(|error| anyhow::anyhow!(error))?;
    let scores: String = evaluation
        .image_scores
        .iter()
        .enumerate()
        .map(|(index, score)| {
            let sample = test.sample(index);
            let overlay = exhibits.iter().any(|exhibit| exhibit.index == index);
            let line = json!({
                "sample": sample.id,
                "label": sample.label,
                "defect_type": sample.defect_type,
                "image_score": score,
                "overlay": overlay.then(|| format!("{OVERLAYS_DIR}/{index:04}.png")),
            });
            format!("{line}\n")
        })
        .collect();
    fmam_files::write_atomic(&out.join("scores.jsonl"), |file| file.write_all(scores.as_bytes()))?;
    let metrics = serde_json::to_string_pretty(&evaluation.metrics)?;
    Ok(fmam_files::write_atomic(&out.join("metrics.json"), |file| {
        file.write_all(format!("{metrics}\n").as_bytes())
    })?)
}

/// The figures in per cent: those of images, then of pixels, then of regions.
fn table(metrics: &Metrics) -> String {
    let mut rows: Vec<&MetricEntry> = METRICS.to_vec();
    rows.sort_by_key(|metric| metric.level);
    let width = rows.iter().map(|metric| metric.name_with_level().chars().count()).max().unwrap_or(0).max(22);
    rows.into_iter()
        .map(|metric| {
            let value = metrics.get(metric);
            let value = value.map_or_else(|| "–".to_owned(), |value| format!("{:.1}", 100.0 * value));
            format!("{:<width$} {value:>5}\n", metric.name_with_level())
        })
        .collect()
}
