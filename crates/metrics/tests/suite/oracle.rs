//! Fast against slow: every figure on random input against its definition, with no sort and no
//! sweep.

use fmam_metrics::{PixelRanking, Ranking};
use proptest::prelude::*;

/// Scores with many ties, both zeros, infinities and every magnitude.
fn score() -> impl Strategy<Value = f32> {
    let special = prop::sample::select(vec![-0.0, 0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, 1e-40, -1e-40]);
    prop_oneof![
        4 => (-4_i8..4).prop_map(|level| f32::from(level) / 4.0),
        2 => -1.0_f32..1.0,
        1 => special,
        1 => any::<f32>().prop_filter("not NaN", |score| !score.is_nan()),
    ]
}

/// Scores and labels of which both classes have one at least.
fn labelled_scores() -> impl Strategy<Value = Vec<(f32, u8)>> {
    (score(), score(), prop::collection::vec((score(), 0_u8..2), 0..60)).prop_map(|(a, b, mut samples)| {
        samples.extend([(a, 0), (b, 1)]);
        samples
    })
}

fn thresholds(samples: &[(f32, u8)]) -> Vec<f32> {
    let mut thresholds: Vec<f32> = samples.iter().map(|sample| sample.0).collect();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    thresholds
}

fn called(samples: &[(f32, u8)], threshold: f32, class: u8) -> f64 {
    samples.iter().filter(|sample| sample.0 >= threshold && sample.1 == class).count() as f64
}

fn slow_auroc(samples: &[(f32, u8)]) -> f64 {
    let class = |wanted| samples.iter().filter(move |sample| sample.1 == wanted).map(|sample| sample.0);
    let won = |anomalous: f32, normal: f32| {
        if anomalous > normal {
            1.0
        } else if anomalous == normal {
            0.5
        } else {
            0.0
        }
    };
    let wins: f64 = class(1).flat_map(|a| class(0).map(move |n| won(a, n))).sum();
    wins / (class(0).count() * class(1).count()) as f64
}

proptest! {
    #[test]
    fn ranked_figures_follow_their_definitions(samples in labelled_scores()) {
        let (scores, labels): (Vec<f32>, Vec<u8>) = samples.iter().copied().unzip();
        let ranking = Ranking::new(&scores, &labels).unwrap();
        prop_assert!((ranking.auroc() - slow_auroc(&samples)).abs() < 1e-12);

        let positives = labels.iter().filter(|&&label| label == 1).count() as f64;
        let (mut average_precision, mut f1_max, mut before) = (0.0, 0.0_f64, 0.0);
        for threshold in thresholds(&samples) {
            let (hits, alarms) = (called(&samples, threshold, 1), called(&samples, threshold, 0));
            average_precision += (hits - before) / positives * hits / (hits + alarms);
            f1_max = f1_max.max(2.0 * hits / (2.0 * hits + alarms + positives - hits));
            before = hits;
        }
        prop_assert!((ranking.average_precision() - average_precision).abs() < 1e-12);
        prop_assert!((ranking.f1_max().f1 - f1_max).abs() < 1e-12);
        let best = ranking.f1_max().threshold;
        let (hits, alarms) = (called(&samples, best, 1), called(&samples, best, 0));
        prop_assert!((2.0 * hits / (hits + alarms + positives) - f1_max).abs() < 1e-12);
    }

    #[test]
    fn the_roc_curve_encloses_the_auroc(samples in labelled_scores()) {
        let (scores, labels): (Vec<f32>, Vec<u8>) = samples.into_iter().unzip();
        let ranking = Ranking::new(&scores, &labels).unwrap();
        let curve = ranking.roc_curve();
        let area: f64 = curve.windows(2).map(|w| (w[1].fpr - w[0].fpr) * (w[1].tpr + w[0].tpr) / 2.0).sum();
        prop_assert!((area - ranking.auroc()).abs() < 1e-12);
        prop_assert_eq!((curve[curve.len() - 1].fpr, curve[curve.len() - 1].tpr), (1.0, 1.0));
    }

    #[test]
    fn aupro_follows_its_definition_threshold_by_threshold(
        (height, width) in (1_usize..7, 1_usize..7).prop_filter("two pixels", |(h, w)| h * w > 1),
        pixels in prop::collection::vec((score(), prop::bool::weighted(0.35)), 3 * 36),
        limit in prop_oneof![Just(0.3), Just(1.0), 0.01..1.0],
    ) {
        let size = height * width;
        let mut images: Vec<(Vec<f32>, Vec<u8>)> = pixels
            .chunks(36)
            .map(|image| image[..size].iter().map(|&(score, anomalous)| (score, u8::from(anomalous))).unzip())
            .collect();
        images[2].1 = vec![0; size];
        images[1].1[0] = 1;
        let fast = PixelRanking::new(images.iter().map(|(map, mask)| (map, mask)), height, width).unwrap();
        let (slow, n_regions) = slow_aupro(&images, width, limit);
        prop_assert_eq!(fast.n_regions(), n_regions);
        prop_assert!((fast.aupro(limit).unwrap() - slow).abs() < 1e-9);
    }
}

/// Regions by letting the smallest pixel index spread between neighbours until nothing changes.
fn slow_regions(mask: &[u8], width: usize) -> Vec<Vec<usize>> {
    let pixels: Vec<usize> = (0..mask.len()).filter(|&p| mask[p] == 1).collect();
    let mut name: Vec<usize> = (0..mask.len()).collect();
    let touch =
        |p: usize, q: usize| (p / width).abs_diff(q / width) <= 1 && (p % width).abs_diff(q % width) <= 1;
    for _ in &pixels {
        for &p in &pixels {
            for &q in pixels.iter().filter(|&&q| touch(p, q)) {
                name[p] = name[p].min(name[q]);
            }
        }
    }
    let members = |root: usize| pixels.iter().copied().filter(|&p| name[p] == root).collect::<Vec<_>>();
    pixels.iter().filter(|&&p| name[p] == p).map(|&p| members(p)).collect()
}

fn slow_aupro(images: &[(Vec<f32>, Vec<u8>)], width: usize, limit: f64) -> (f64, usize) {
    let samples: Vec<(f32, u8)> =
        images.iter().flat_map(|(map, mask)| map.iter().copied().zip(mask.iter().copied())).collect();
    let normal = samples.iter().filter(|sample| sample.1 == 0).count() as f64;
    let regions: Vec<Vec<f32>> = images
        .iter()
        .flat_map(|(map, mask)| {
            slow_regions(mask, width).into_iter().map(|r| r.iter().map(|&p| map[p]).collect())
        })
        .collect();
    let mut integral = 0.0;
    let (mut x0, mut y0) = (0.0, 0.0);
    for threshold in thresholds(&samples) {
        let x1 = called(&samples, threshold, 0) / normal;
        let share = |region: &Vec<f32>| {
            region.iter().filter(|&&score| score >= threshold).count() as f64 / region.len() as f64
        };
        let y1 = regions.iter().map(share).sum::<f64>() / regions.len() as f64;
        if x0 < limit && x1 > x0 {
            let end = x1.min(limit);
            let y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0);
            integral += (end - x0) * (y0 + y_end) / 2.0;
        }
        (x0, y0) = (x1, y1);
    }
    (integral / limit, regions.len())
}
