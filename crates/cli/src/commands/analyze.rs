use std::path::PathBuf;

use anyhow::Result;
use fmam_core::Seed;
use fmam_experiment::{Analysis, DefectAnalysis, FeatureScatter, analyze};
use fmam_methods::load_detector;
use fmam_synthesis::{SynthesisConfig, Synthesizer};
use serde_json::{Map, Value};

use crate::compute::ComputeArgs;
use crate::data::{self, DataArgs};
use crate::progress::Console;
use crate::stdout::{print, print_json};

const EXAMPLES: &str = "\
Example:
  fmam analyze --model runs/demo/runs/demo/plain/rkd+fmam/efficientnet-lite0/seed-0/model --dataset demo --category plain

Features are scaled to length 1. Bias is the mean distance of defective features to the mean normal one, variance the mean
squared distance of normal features to it, both at positions of test images; bias/dev is the bias in normal deviations.
In the rows `student` they are distances to what the student expects at the same position: the discrepancy that is scored.
Defects are the test images' own (real) and synthetic ones in normal test images.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folders that `fmam fit` wrote, or `model` of runs of `fmam reproduce`
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    model: Vec<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Origin of the synthetic defects and of the choice of positions
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.compute.prepare()?;
    let device = args.compute.device.unwrap_or_default().open()?;
    let console = Console::new(args.compute.quiet, []);
    let mut found = Vec::new();
    for model in &args.model {
        let detector = load_detector(model, &device)?;
        let size = detector.image_size();
        let test = args.data.category(size)?.test;
        let textures = data::textures(args.data.data_root.as_deref(), size)?;
        let synthesizer = Synthesizer::new(SynthesisConfig::default(), textures)?;
        let (seed, threads) = (Seed::new(args.seed).derive("analysis"), args.compute.loader_threads());
        let analysis = analyze(detector.as_ref(), test.as_ref(), &synthesizer, seed, threads, &console);
        console.clear();
        found.push((model.display().to_string(), analysis?));
    }
    if args.json {
        let entry =
            |(model, analysis): &(String, Analysis)| Ok((model.clone(), serde_json::to_value(analysis)?));
        return print_json(&found.iter().map(entry).collect::<Result<Map<String, Value>>>()?);
    }
    for (model, analysis) in &found {
        print(&table(model, analysis))?;
    }
    Ok(())
}

fn table(model: &str, analysis: &Analysis) -> String {
    let mut text = format!("{model}\n\n");
    text += "stride  channels  defects     features     bias  variance  bias/dev\n";
    for scale in &analysis.scales {
        let kinds: [(&str, &Option<DefectAnalysis>); 2] =
            [("real", &scale.real), ("synthetic", &scale.synthetic)];
        for (kind, defects) in kinds.into_iter().filter_map(|(kind, defects)| Some((kind, defects.as_ref()?)))
        {
            let rows = [
                ("teacher", Some(defects.before)),
                ("adapted", defects.after),
                ("student", defects.discrepancy),
            ];
            for (name, scatter) in rows.into_iter().filter_map(|(name, scatter)| Some((name, scatter?))) {
                let FeatureScatter { bias, variance, bias_per_deviation } = scatter;
                text += &format!(
                    "{:>6}  {:>8}  {kind:<10}  {name:<9}  {bias:>7.3}  {variance:>8.4}  {bias_per_deviation:>8.2}\n",
                    scale.stride, scale.channels
                );
            }
        }
    }
    text += "\nscores       overlap  Fisher's ratio  KS distance\n";
    for (name, scores) in [("of images", Some(analysis.image_scores)), ("of pixels", analysis.pixel_scores)] {
        if let Some(scores) = scores {
            text += &format!(
                "{name:<11}  {:>7.3}  {:>14.3}  {:>11.3}\n",
                scores.overlap, scores.fisher_ratio, scores.ks_distance
            );
        }
    }
    text + "\n"
}
