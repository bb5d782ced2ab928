use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fmam_core::{AnomalyMap, Label, Mask, RgbImage, Sample};
use fmam_datasets::Category;
use fmam_experiment::{ExperimentError, Registry, by_type, category_of, preparation_of};
use fmam_metrics::IMAGE_AUROC;
use fmam_record::RunRecord;
use fmam_record::read_maps;
use fmam_report::{
    ColourScale, Column, Figure, Heatmap, Localization, Report, Row, dataset_title, figure_stem, map_range,
    method_title, run_title,
};

use crate::Error;

/// Images of a figure, where nobody chose them.
const N_IMAGES: usize = 6;

/// The drawing of the localisation figures.
#[derive(Debug, Clone)]
pub struct FigureOptions {
    /// Test images of the figure, as the report names them (`test/cut/000`); `None` for the first
    /// of each kind of defect.
    pub images: Option<Vec<String>>,
    /// The maps that share a range of colours.
    pub scale: ColourScale,
}

impl Default for FigureOptions {
    fn default() -> Self {
        Self { images: None, scale: ColourScale::Method }
    }
}

/// Draws every figure of `report` into `figures/` under `out`: those that its records give, and
/// those that need the test images too, which lie in `data_root` where they are not where they lay
/// when the runs were done and are of a data set in `registry`. Gives the files, and a line for
/// each figure that cannot be drawn.
///
/// # Errors
/// [`Error::UnknownTestImage`] for an image of `options` that no run has.
pub fn write_figures(
    registry: &Registry,
    report: &Report,
    out: &Path,
    data_root: Option<&Path>,
    options: &FigureOptions,
) -> Result<(Vec<PathBuf>, Vec<String>), Error> {
    let (mut paths, mut gaps) = (Vec::new(), Vec::new());
    match report.write_figures(out) {
        Ok(drawn) => paths.extend(drawn),
        Err(error) => gaps.push(format!("no figures of all runs: {}", Error::from(error).one_line())),
    }
    let mut unknown: BTreeSet<&String> = options.images.iter().flatten().collect();
    let categories: BTreeSet<_> = report.runs().iter().map(|run| (&run.dataset, &run.category)).collect();
    for (dataset, category) in categories {
        let runs = shown_runs(report, dataset, category);
        let Some(&first) = runs.first() else { continue };
        let drawn = Gallery::open(registry, first, &runs, out, data_root).and_then(|gallery| {
            unknown.retain(|id| !gallery.samples.iter().any(|sample| sample.id == **id));
            gallery.write(out, options)
        });
        match drawn {
            Ok(drawn) => paths.extend(drawn),
            Err(error) => {
                gaps.push(format!("no localisation figure of {dataset} {category}: {}", error.one_line()));
            }
        }
    }
    if let Some(id) = unknown.first().filter(|_| gaps.is_empty()) {
        return Err(Error::UnknownTestImage { id: (*id).clone() });
    }
    Ok((paths, gaps))
}

/// The runs of a category whose maps are kept: of each method and backbone that with the lowest
/// seed. Variants are left out.
fn shown_runs<'a>(report: &'a Report, dataset: &str, category: &str) -> Vec<&'a RunRecord> {
    let mut seen = BTreeSet::new();
    let runs = report.runs().iter().filter(|run| {
        let is_shown = run.artefacts.maps.is_some() && run.method.variant().is_none();
        is_shown && run.dataset == dataset && run.category == category
    });
    runs.filter(|run| seen.insert((&run.method, &run.backbone))).collect()
}

/// An image of a figure.
#[derive(Debug, PartialEq)]
struct Shown {
    index: usize,
    /// Words beside its kind and its name.
    remark: Vec<String>,
}

/// Reads a test image and its ground truth.
type LoadImage = dyn Fn(usize) -> Result<(RgbImage, Option<Mask>), Error>;

/// The test images of a category and what some runs made of them.
struct Gallery<'a> {
    first: &'a RunRecord,
    runs: Vec<(&'a RunRecord, Vec<AnomalyMap>)>,
    load: Box<LoadImage>,
    samples: Vec<Sample>,
}

impl<'a> Gallery<'a> {
    /// The gallery of `runs`, the first of which is `first`.
    fn open(
        registry: &Registry,
        first: &'a RunRecord,
        runs: &[&'a RunRecord],
        out: &Path,
        data_root: Option<&Path>,
    ) -> Result<Self, Error> {
        let Category { test, .. } = category_of(registry, first, data_root, &preparation_of(first))?;
        let samples: Vec<Sample> = (0..test.len()).map(|index| test.sample(index).clone()).collect();
        let with_maps = |&run: &&'a RunRecord| {
            let listed = &run.artefacts.images;
            let is_same = listed.len() == samples.len()
                && listed.iter().zip(&samples).all(|(listed, sample)| listed.sample == sample.id);
            if !is_same {
                return Err(Error::OtherTestImages { run: run.key().to_string() });
            }
            let path = out.join(run.key().dir()).join(run.artefacts.maps.as_deref().unwrap_or_default());
            let maps = read_maps(&path)?;
            if maps.len() != samples.len() {
                return Err(Error::MapCount { path, maps: maps.len(), images: samples.len() });
            }
            Ok((run, maps))
        };
        let runs = runs.iter().map(with_maps).collect::<Result<_, Error>>()?;
        let load = move |index: usize| {
            let failed = |source| ExperimentError::Sample { id: test.sample(index).id.clone(), source };
            Ok((test.image(index).map_err(failed)?, test.mask(index).map_err(failed)?))
        };
        Ok(Self { first, runs, load: Box::new(load), samples })
    }

    /// Draws both figures. One of which there is nothing to show is removed, where it lies from
    /// before.
    fn write(&self, out: &Path, options: &FigureOptions) -> Result<Vec<PathBuf>, Error> {
        let first = self.first;
        let chosen = match &options.images {
            Some(ids) => self.named(ids),
            None => self.one_of_each(),
        };
        let mut paths = Vec::new();
        let runs: Vec<&RunRecord> = self.runs.iter().map(|(run, _)| *run).collect();
        for (kind, images) in [("localisation", chosen), ("failures", mistakes(&runs))] {
            let stem = figure_stem(out, kind, &[&first.dataset, &first.category]);
            if images.is_empty() {
                Figure::remove(&stem)?;
            } else {
                paths.extend(self.figure(&images, options.scale)?.draw()?.write(&stem)?);
            }
        }
        Ok(paths)
    }

    /// The first anomalous images of each kind in turn, and a normal one.
    fn one_of_each(&self) -> Vec<Shown> {
        let samples: Vec<&Sample> = self.samples.iter().collect();
        let order = by_type(&samples);
        let with = |label| order.iter().copied().filter(move |&index| self.samples[index].label == label);
        let mut chosen: Vec<usize> = with(Label::Anomalous).take(N_IMAGES - 1).collect();
        chosen.sort_unstable();
        chosen.extend(with(Label::Normal).take(1));
        chosen.into_iter().map(|index| Shown { index, remark: Vec::new() }).collect()
    }

    /// The images that are called one of `ids`, in that order.
    fn named(&self, ids: &[String]) -> Vec<Shown> {
        let position = |id: &String| self.samples.iter().position(|sample| sample.id == *id);
        ids.iter().filter_map(position).map(|index| Shown { index, remark: Vec::new() }).collect()
    }

    fn figure(&self, images: &[Shown], scale: ColourScale) -> Result<Localization, Error> {
        let first = self.first;
        let several = self.runs.iter().any(|(run, _)| run.backbone != first.backbone);
        let columns = self
            .runs
            .iter()
            .map(|(run, maps)| Column { title: run_title(run, first, several), range: map_range(maps) });
        let row = |Shown { index, remark }: &Shown| -> Result<Row, Error> {
            let (image, mask) = (self.load)(*index)?;
            let sample = &self.samples[*index];
            // A normal image has no defect, whether or not the data set says so in a file.
            let nothing = || (sample.label == Label::Normal).then(|| Mask::empty(image.size()));
            let mask = mask.or_else(nothing);
            let kind = sample.defect_type.as_deref().unwrap_or(match sample.label {
                Label::Normal => "normal",
                Label::Anomalous => "anomalous",
            });
            let name = sample.id.rsplit('/').next().unwrap_or_default();
            let caption = [kind, name].into_iter().map(str::to_owned).chain(remark.iter().cloned()).collect();
            let maps = self
                .runs
                .iter()
                .map(|(run, maps)| Heatmap { map: maps[*index].clone(), note: rank(run, *index) });
            Ok(Row { caption, image, mask, maps: maps.collect() })
        };
        Ok(Localization {
            title: format!(
                "{}, {}, seed {}; below each map, the share of normal test images with a lower score",
                dataset_title(&first.dataset),
                first.category,
                first.seed.value()
            ),
            columns: columns.collect(),
            rows: images.iter().map(row).collect::<Result<_, Error>>()?,
            scale,
        })
    }
}

/// The worst false alarm and the worst miss of each run, those of the best runs first: what they
/// get wrong tells most.
fn mistakes(runs: &[&RunRecord]) -> Vec<Shown> {
    let mut order: Vec<usize> = (0..runs.len()).collect();
    let auroc = |run: usize| runs[run].metrics.get(&IMAGE_AUROC).unwrap_or(f64::NEG_INFINITY);
    order.sort_by(|&a, &b| auroc(b).total_cmp(&auroc(a)).then(a.cmp(&b)));
    let mut shown: Vec<Shown> = Vec::new();
    for run in order {
        let run = runs[run];
        let scores = |label| {
            let listed = run.artefacts.images.iter().enumerate();
            let of_label = listed.filter(move |(_, listed)| listed.label == label);
            of_label.map(|(index, listed)| (index, listed.image_score))
        };
        let highest = scores(Label::Normal).max_by(|a, b| a.1.total_cmp(&b.1));
        let lowest = scores(Label::Anomalous).min_by(|a, b| a.1.total_cmp(&b.1));
        let (Some(alarm), Some(miss)) = (highest, lowest) else { continue };
        if alarm.1 < miss.1 {
            // A threshold between them makes no mistake.
            continue;
        }
        for (what, (index, _)) in [("false alarm of", alarm), ("missed by", miss)] {
            let method = method_title(run.method.as_str()).to_owned();
            if let Some(known) = shown.iter_mut().find(|shown| shown.index == index) {
                known.remark.push(method);
            } else if shown.len() < N_IMAGES {
                shown.push(Shown { index, remark: vec![what.to_owned(), method] });
            }
        }
    }
    shown
}

/// The rank of the score of an image among those of the other normal images.
fn rank(run: &RunRecord, index: usize) -> String {
    let listed = &run.artefacts.images;
    let own = listed[index].image_score;
    let normal = || {
        let others = listed.iter().enumerate().filter(|(other, _)| *other != index);
        others.filter(|(_, listed)| listed.label == Label::Normal)
    };
    let below = normal().filter(|(_, listed)| listed.image_score < own).count();
    match normal().count() {
        0 => String::new(),
        // Rounded down: only above all of them is above 100 per cent.
        n => format!("above {} % of normal", 100 * below / n),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A run whose test images, normal ones first, have these scores.
    fn run(method: &str, image_auroc: f64, normal: &[f32], anomalous: &[f32]) -> RunRecord {
        let listed = |label: &str, scores: &[f32]| -> Vec<_> {
            let one = |(k, score): (usize, &f32)| {
                json!({"sample": format!("test/{label}/{k}"), "label": label, "defect_type": null,
                       "image_score": score, "path": null})
            };
            scores.iter().enumerate().map(one).collect()
        };
        let images = [listed("normal", normal), listed("anomalous", anomalous)].concat();
        let record = json!({
            "schema": 1, "dataset": "demo", "category": "plain", "method": method, "backbone": "tiny", "seed": 0,
            "device": "cpu", "image_size": {"height": 64, "width": 64}, "n_train": 1,
            "n_test_normal": normal.len(), "n_test_anomalous": anomalous.len(),
            "metrics": {"image_auroc": image_auroc, "pixel_auroc": null, "aupro": null, "image_ap": 1.0,
                        "pixel_ap": null, "image_f1_max": 1.0},
            "fit_seconds": 1.0, "score_images_per_second": 1.0, "peak_rss_bytes": null, "started_at": 0,
            "config": {}, "versions": {}, "curve": [], "artefacts": {"model": null, "images": images},
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn the_mistakes_of_the_best_runs_come_first_and_an_image_once() {
        let runs = [
            run("rkd", 0.7, &[0.1, 0.9, 0.2], &[0.3, 0.8]),
            run("rkd+fmam", 0.9, &[0.1, 0.5, 0.2], &[0.9, 0.4]),
            run("padim", 1.0, &[0.1, 0.2, 0.3], &[0.4, 0.5]),
        ];
        let shown = |index, remark: &[&str]| Shown {
            index,
            remark: remark.iter().map(|r| (*r).to_owned()).collect(),
        };
        // PaDiM makes none. Normal 0, 1 and 2, anomalous 3 and 4.
        assert_eq!(
            mistakes(&runs.iter().collect::<Vec<_>>()),
            [
                shown(1, &["false alarm of", "RKD+FMAM", "RKD"]),
                shown(4, &["missed by", "RKD+FMAM"]),
                shown(3, &["missed by", "RKD"]),
            ]
        );
    }

    #[test]
    fn a_rank_is_among_the_other_normal_images() {
        let run = run("rkd", 0.5, &[0.1, 0.2, 0.3], &[0.25, 9.0]);
        let ranks: Vec<String> = (0..5).map(|index| rank(&run, index)).collect();
        let of = |share: u8| format!("above {share} % of normal");
        assert_eq!(ranks, [of(0), of(50), of(100), of(66), of(100)]);
    }
}
