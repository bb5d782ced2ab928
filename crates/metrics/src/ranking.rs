use crate::{MetricError, radix};

/// The scores of both classes, checked and sorted once; all that depends on their order comes out
/// of it.
///
/// It holds 4 bytes a score, and 8 while it sorts; time is linear. Since a ranking has scores of
/// both classes, every figure below is defined.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Keys of the normal scores, rising.
    pub(crate) normal: Vec<u32>,
    /// Keys of the anomalous scores, rising.
    pub(crate) anomalous: Vec<u32>,
}

/// The effect of a threshold: every score at or above it is called anomalous.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// The threshold, itself one of the scores.
    pub threshold: f32,
    /// Normal samples at or above it.
    pub false_positives: usize,
    /// Anomalous samples at or above it.
    pub true_positives: usize,
}

/// The best F1 and where it is reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestF1 {
    /// `2 TP / (2 TP + FP + FN)`, in 0..=1.
    pub f1: f64,
    /// The threshold; a score at or above it is called anomalous. The highest one if several do
    /// equally well.
    pub threshold: f32,
}

impl Ranking {
    /// Ranks `scores` with their `labels` (0 normal, 1 anomalous).
    ///
    /// # Errors
    /// [`MetricError::LengthMismatch`], [`MetricError::Nan`], [`MetricError::NotALabel`],
    /// [`MetricError::Empty`], and [`MetricError::NoNormal`] or [`MetricError::NoAnomalous`] when
    /// only one class is there.
    pub fn new(scores: &[f32], labels: &[u8]) -> Result<Self, MetricError> {
        // Exact capacities: at 100 million pixels the slack of growing vectors is worth a pass over
        // the labels.
        let n_anomalous = labels.iter().filter(|&&label| label == 1).count();
        let mut normal = Vec::with_capacity(labels.len() - n_anomalous);
        let mut anomalous = Vec::with_capacity(n_anomalous);
        separate(scores, labels, |_, key| normal.push(key), |_, key| anomalous.push(key))?;
        Self::from_keys(normal, anomalous)
    }

    /// Ranks the pixels of many maps and masks (0 normal, 1 anomalous) together, without joining
    /// them first. Maps may differ in size; each may be borrowed or, to be dropped at once, owned.
    ///
    /// # Errors
    /// As [`Ranking::new`]; what concerns one map comes wrapped in [`MetricError::InMap`].
    pub fn from_maps<S, L>(maps: impl IntoIterator<Item = (S, L)>) -> Result<Self, MetricError>
    where
        S: AsRef<[f32]>,
        L: AsRef<[u8]>,
    {
        let (mut normal, mut anomalous) = (Vec::new(), Vec::new());
        for (map, (scores, mask)) in maps.into_iter().enumerate() {
            separate(scores.as_ref(), mask.as_ref(), |_, key| normal.push(key), |_, key| anomalous.push(key))
                .map_err(|error| MetricError::InMap { map, source: Box::new(error) })?;
        }
        Self::from_keys(normal, anomalous)
    }

    pub(crate) fn from_keys(mut normal: Vec<u32>, mut anomalous: Vec<u32>) -> Result<Self, MetricError> {
        check_classes(normal.len(), anomalous.len())?;
        radix::sort_by_key(&mut normal, |&key| key);
        radix::sort_by_key(&mut anomalous, |&key| key);
        Ok(Self { normal, anomalous })
    }

    /// Number of normal scores, at least 1.
    pub fn n_normal(&self) -> usize {
        self.normal.len()
    }

    /// Number of anomalous scores, at least 1.
    pub fn n_anomalous(&self) -> usize {
        self.anomalous.len()
    }

    /// Every distinct score as a threshold, from the highest down. The last cut calls everything
    /// anomalous.
    pub fn cuts(&self) -> impl Iterator<Item = Cut> {
        let (mut normal, mut anomalous) = (self.normal.as_slice(), self.anomalous.as_slice());
        std::iter::from_fn(move || {
            let key = *normal.last().max(anomalous.last())?;
            normal = below(normal, key);
            anomalous = below(anomalous, key);
            Some(Cut {
                threshold: radix::score(key),
                false_positives: self.normal.len() - normal.len(),
                true_positives: self.anomalous.len() - anomalous.len(),
            })
        })
    }

    /// Area under the ROC curve, in 0..=1: the probability that a random anomalous sample scores
    /// above a random normal one, ties counting half. Counted in integers and divided once.
    pub fn auroc(&self) -> f64 {
        let (mut doubled_area, mut before) = (0_u128, (0, 0));
        for cut in self.cuts() {
            let width = (cut.false_positives - before.0) as u128;
            doubled_area += width * (cut.true_positives + before.1) as u128;
            before = (cut.false_positives, cut.true_positives);
        }
        doubled_area as f64 / (2.0 * self.n_normal() as f64 * self.n_anomalous() as f64)
    }

    /// Average precision, in 0..=1: precision at every threshold, weighted by the recall gained
    /// there. The step-wise sum of scikit-learn, not the trapezoidal area.
    pub fn average_precision(&self) -> f64 {
        let (mut sum, mut before) = (0.0, 0);
        for cut in self.cuts() {
            sum += (cut.true_positives - before) as f64 * self.precision(cut);
            before = cut.true_positives;
        }
        sum / self.n_anomalous() as f64
    }

    /// The best F1 over all thresholds. An *oracle*: the threshold is chosen on the very labels
    /// that it is judged by, so this is a bound, not what a deployed threshold reaches.
    pub fn f1_max(&self) -> BestF1 {
        let mut best = BestF1 { f1: 0.0, threshold: f32::INFINITY };
        for cut in self.cuts() {
            let called = cut.true_positives + cut.false_positives;
            let f1 = 2.0 * cut.true_positives as f64 / (called + self.n_anomalous()) as f64;
            if f1 > best.f1 {
                best = BestF1 { f1, threshold: cut.threshold };
            }
        }
        best
    }

    pub(crate) fn precision(&self, cut: Cut) -> f64 {
        cut.true_positives as f64 / (cut.true_positives + cut.false_positives) as f64
    }

    pub(crate) fn recall(&self, cut: Cut) -> f64 {
        cut.true_positives as f64 / self.n_anomalous() as f64
    }

    pub(crate) fn fpr(&self, cut: Cut) -> f64 {
        cut.false_positives as f64 / self.n_normal() as f64
    }
}

/// [`Ranking::auroc`] of `scores` with `labels` (0 normal, 1 anomalous).
///
/// # Errors
/// As [`Ranking::new`].
pub fn auroc(scores: &[f32], labels: &[u8]) -> Result<f64, MetricError> {
    Ok(Ranking::new(scores, labels)?.auroc())
}

/// [`Ranking::average_precision`] of `scores` with `labels` (0 normal, 1 anomalous).
///
/// # Errors
/// As [`Ranking::new`].
pub fn average_precision(scores: &[f32], labels: &[u8]) -> Result<f64, MetricError> {
    Ok(Ranking::new(scores, labels)?.average_precision())
}

/// [`Ranking::f1_max`], an oracle, of `scores` with `labels` (0 normal, 1 anomalous).
///
/// # Errors
/// As [`Ranking::new`].
pub fn f1_max(scores: &[f32], labels: &[u8]) -> Result<BestF1, MetricError> {
    Ok(Ranking::new(scores, labels)?.f1_max())
}

/// Checks every score and label and hands (index, key) to the sink of its class.
pub(crate) fn separate(
    scores: &[f32],
    labels: &[u8],
    mut normal: impl FnMut(usize, u32),
    mut anomalous: impl FnMut(usize, u32),
) -> Result<(), MetricError> {
    check_lengths(scores.len(), labels.len())?;
    for (index, (&score, &label)) in scores.iter().zip(labels).enumerate() {
        if score.is_nan() {
            return Err(MetricError::Nan { index });
        }
        match label {
            0 => normal(index, radix::key(score)),
            1 => anomalous(index, radix::key(score)),
            value => return Err(MetricError::NotALabel { index, value }),
        }
    }
    Ok(())
}

pub(crate) fn check_lengths(scores: usize, labels: usize) -> Result<(), MetricError> {
    if scores == labels { Ok(()) } else { Err(MetricError::LengthMismatch { scores, labels }) }
}

pub(crate) fn check_classes(n_normal: usize, n_anomalous: usize) -> Result<(), MetricError> {
    match (n_normal, n_anomalous) {
        (0, 0) => Err(MetricError::Empty),
        (0, _) => Err(MetricError::NoNormal),
        (_, 0) => Err(MetricError::NoAnomalous),
        _ => Ok(()),
    }
}

/// The part of rising `keys` below `key`, which none of them exceeds.
fn below(mut keys: &[u32], key: u32) -> &[u32] {
    while let [rest @ .., last] = keys
        && *last == key
    {
        keys = rest;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_auroc(scores: &[f32], labels: &[u8], expected: f64) {
        assert_eq!(auroc(scores, labels), Ok(expected));
    }

    #[test]
    fn auroc_counts_the_pairs_in_order() {
        check_auroc(&[0.1, 0.9], &[0, 1], 1.0);
        check_auroc(&[0.9, 0.1], &[0, 1], 0.0);
        // Of the four pairs only (0.35 anomalous, 0.4 normal) is the wrong way round.
        check_auroc(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1], 0.75);
    }

    #[test]
    fn tied_scores_count_half() {
        check_auroc(&[0.2, 0.2], &[0, 1], 0.5);
        check_auroc(&[0.2; 5], &[0, 1, 0, 1, 1], 0.5);
        check_auroc(&[-0.0, 0.0], &[0, 1], 0.5);
        // (1, 1) ties, (1, 2) is right: 1.5 of 2 pairs.
        check_auroc(&[1.0, 1.0, 2.0], &[0, 1, 1], 0.75);
    }

    #[test]
    fn infinities_are_scores_like_others() {
        check_auroc(&[f32::NEG_INFINITY, 0.0, f32::INFINITY], &[0, 0, 1], 1.0);
        check_auroc(&[f32::INFINITY, f32::INFINITY, 1.0], &[0, 1, 0], 0.75);
    }

    #[test]
    fn cuts_gather_ties_and_end_with_everything() {
        let cuts: Vec<Cut> = Ranking::new(&[3.0, 1.0, 3.0, 2.0], &[1, 0, 0, 1]).unwrap().cuts().collect();
        let cut =
            |threshold, true_positives, false_positives| Cut { threshold, false_positives, true_positives };
        assert_eq!(cuts, [cut(3.0, 1, 1), cut(2.0, 2, 1), cut(1.0, 2, 2)]);
    }

    #[test]
    fn average_precision_steps_over_groups_of_ties() {
        // Precision 1/2 over the first half of the recall, 2/3 over the second.
        assert_eq!(average_precision(&[3.0, 1.0, 3.0, 2.0], &[1, 0, 0, 1]), Ok((0.5 + 2.0 / 3.0) / 2.0));
        // A constant score has the share of anomalous samples.
        assert_eq!(average_precision(&[1.0; 4], &[1, 0, 0, 0]), Ok(0.25));
    }

    #[test]
    fn the_best_f1_is_the_highest_threshold_that_reaches_it() {
        // At 3: TP 1, FP 1, FN 1: 1/2. At 2: TP 2, FP 1: 4/5. At 1: TP 2, FP 2: 2/3.
        let best = f1_max(&[3.0, 1.0, 3.0, 2.0], &[1, 0, 0, 1]).unwrap();
        assert_eq!(best, BestF1 { f1: 0.8, threshold: 2.0 });
        // At 4: 2/3 (TP 1, FN 1). At 1: 2/3 (TP 2, FP 2). The lower ones in between do worse.
        let tied = f1_max(&[4.0, 3.0, 2.0, 1.0], &[1, 0, 0, 1]).unwrap();
        assert_eq!(tied, BestF1 { f1: 2.0 / 3.0, threshold: 4.0 });
    }

    #[test]
    fn maps_rank_as_if_they_were_joined() {
        let maps = [(vec![0.1, 0.4], vec![0, 0]), (vec![0.35, 0.8, 0.4], vec![1, 1, 1])];
        let joined = Ranking::new(&[0.1, 0.4, 0.35, 0.8, 0.4], &[0, 0, 1, 1, 1]).unwrap();
        let ranking = Ranking::from_maps(maps).unwrap();
        assert_eq!((ranking.normal, ranking.anomalous), (joined.normal, joined.anomalous));
    }

    #[test]
    fn undefined_input_is_an_error() {
        let error = |scores: &[f32], labels: &[u8]| Ranking::new(scores, labels).unwrap_err();
        assert_eq!(error(&[], &[]), MetricError::Empty);
        assert_eq!(error(&[1.0], &[0]), MetricError::NoAnomalous);
        assert_eq!(error(&[1.0], &[1]), MetricError::NoNormal);
        assert_eq!(error(&[1.0], &[0, 1]), MetricError::LengthMismatch { scores: 1, labels: 2 });
        assert_eq!(error(&[1.0, f32::NAN], &[0, 1]), MetricError::Nan { index: 1 });
        assert_eq!(error(&[1.0, -f32::NAN], &[0, 1]), MetricError::Nan { index: 1 });
        assert_eq!(error(&[1.0, 2.0], &[0, 255]), MetricError::NotALabel { index: 1, value: 255 });
        let maps = [([1.0, 2.0], [0, 1]), ([1.0, f32::NAN], [0, 1])];
        let in_map = Ranking::from_maps(maps).unwrap_err();
        assert_eq!(in_map.to_string(), "map 1: score 1 is NaN");
    }
}
