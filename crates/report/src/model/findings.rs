//! Peculiarities of the images of several runs that bear on their figures.

use std::collections::{BTreeMap, BTreeSet};

use fmam_record::{Notice, RunRecord};

use crate::model::image_settings::resolution;

/// Anomalous images of a category without an anomalous pixel at a resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vanished<'a> {
    pub(crate) category: &'a str,
    /// The resolution of the pixel figures, in words.
    pub(crate) resolution: String,
    /// Number of all anomalous test images.
    pub(crate) n_anomalous: usize,
    /// Ids of the images, sorted.
    pub(crate) ids: Vec<&'a str>,
}

/// Pairs of samples of a category with the same pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Duplicates<'a> {
    pub(crate) category: &'a str,
    /// Ids of both samples, sorted by pair.
    pub(crate) pairs: Vec<&'a [String; 2]>,
}

/// The findings of runs of one data set, each told once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ImageFindings<'a> {
    /// Categories by the depth in bits of their 16-bit files.
    pub(crate) depths: BTreeMap<u8, BTreeSet<&'a str>>,
    /// By category and resolution.
    pub(crate) vanished: Vec<Vanished<'a>>,
    /// By category.
    pub(crate) duplicates: Vec<Duplicates<'a>>,
    /// Choices that were made in reading files, by category.
    pub(crate) notices: BTreeMap<&'a str, Vec<&'a Notice>>,
}

impl<'a> ImageFindings<'a> {
    /// The findings of `runs`.
    pub(crate) fn of(runs: impl IntoIterator<Item = &'a RunRecord>) -> Self {
        let mut depths: BTreeMap<u8, BTreeSet<&str>> = BTreeMap::new();
        let mut vanished: BTreeMap<(&str, String), (usize, BTreeSet<&str>)> = BTreeMap::new();
        let mut duplicates: BTreeMap<&str, BTreeSet<&[String; 2]>> = BTreeMap::new();
        let mut notices: BTreeMap<&str, Vec<&Notice>> = BTreeMap::new();
        for run in runs {
            let (category, findings) = (run.category.as_str(), &run.findings);
            if let Some(bits) = findings.bits {
                depths.entry(bits).or_default().insert(category);
            }
            if !findings.vanished.is_empty() {
                let (n_anomalous, ids) = vanished.entry((category, resolution(run))).or_default();
                *n_anomalous = run.n_test_anomalous.max(*n_anomalous);
                ids.extend(findings.vanished.iter().map(String::as_str));
            }
            for notice in &findings.notices {
                let known = notices.entry(category).or_default();
                if !known.contains(&notice) {
                    known.push(notice);
                }
            }
            if !findings.duplicates.is_empty() {
                duplicates.entry(category).or_default().extend(&findings.duplicates);
            }
        }
        let vanished = vanished.into_iter().map(|((category, resolution), (n_anomalous, ids))| Vanished {
            category,
            resolution,
            n_anomalous,
            ids: ids.into_iter().collect(),
        });
        let duplicates = duplicates
            .into_iter()
            .map(|(category, pairs)| Duplicates { category, pairs: pairs.into_iter().collect() });
        Self { depths, vanished: vanished.collect(), duplicates: duplicates.collect(), notices }
    }

    /// Images whose defect vanished at a resolution.
    pub(crate) fn n_vanished(&self) -> usize {
        let ids = self.vanished.iter().flat_map(|of| of.ids.iter().map(|&id| (of.category, id)));
        ids.collect::<BTreeSet<_>>().len()
    }

    /// Pairs of samples with the same pixels.
    pub(crate) fn n_duplicates(&self) -> usize {
        self.duplicates.iter().map(|of| of.pairs.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;
    use crate::fixture::{record, with_findings};

    #[test]
    fn findings_of_several_runs_are_told_once() {
        let mut runs: Vec<_> =
            (0..2).map(|seed| with_findings(record("mvtec", "screw", "nkd", seed))).collect();
        runs.push(record("mvtec", "cable", "nkd", 0));
        runs[2].findings.bits = Some(12);
        let mut small = with_findings(record("mvtec", "screw", "padim", 0));
        small.image_size = ImageSize::square(128);
        small.findings.vanished.push("test/cut/007".to_owned());
        runs.push(small);
        let found = ImageFindings::of(&runs);
        assert_eq!(found.depths, BTreeMap::from([(12, BTreeSet::from(["cable", "screw"]))]));
        let told: Vec<_> =
            found.vanished.iter().map(|of| (of.resolution.as_str(), of.n_anomalous, of.ids.len())).collect();
        assert_eq!(told, [("128×128", 119, 3), ("256×256", 119, 2)]);
        assert_eq!((found.n_vanished(), found.n_duplicates()), (3, 1));
        assert_eq!(ImageFindings::of(&[record("demo", "weave", "nkd", 0)]), ImageFindings::default());
    }
}
