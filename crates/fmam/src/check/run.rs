use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use fmam_core::{Frame, ImageSize, Label, Progress, Reading, Sample, ValueRange};
use fmam_datasets::{CategoryFiles, Choice, Duplicate, ImageHeader, Repeated, Told};

use super::facts::{Areas, Checked, CheckedCategory, CheckedClass, Vanishing, counted};
use super::finding::Finding;
use super::images::{Header, Pixels, depth, headers, pixels};
use super::quiet::hearing;
use super::subject::Subject;
use super::unused::unused;
use crate::Error;

/// Options of a check.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CheckOptions {
    /// The way that values are read.
    pub reading: Reading,
    /// The size of the detector that the data are meant for.
    pub image_size: ImageSize,
    /// Threads that decode. The results do not depend on the number.
    pub threads: usize,
}

impl Default for CheckOptions {
    /// Values as files have them, 256x256, one thread.
    fn default() -> Self {
        Self { reading: Reading::default(), image_size: ImageSize::square(256), threads: 1 }
    }
}

/// Sides at which it is told what vanishes.
const SIDES: [usize; 4] = [128, 256, 512, 1024];

/// Names that a finding has of several.
const FEW: usize = 3;

/// A larger change of the aspect ratio is told of.
const MOST_SQUEEZE: f64 = 1.5;

/// Reads every file of `subject` once, headers first, and tells what is in them and what is wrong
/// with them. A fault of a file does not keep the others from being read. At most `2 * threads`
/// decoded images are in memory.
///
/// # Errors
/// [`Error::Cancelled`]; [`Error::NoImages`] and the like for a folder without any image.
pub fn check(subject: &Subject, options: &CheckOptions, progress: &dyn Progress) -> Result<Checked, Error> {
    let (mut categories, mut findings) = (Vec::new(), Vec::new());
    let mut all_files = Vec::new();
    for name in &subject.categories {
        let (files, told) = hearing(|| subject.files(name));
        findings.extend(told.iter().filter_map(|told| choice(name, told)));
        let n_errors = findings.len();
        let files = match files {
            Ok((files, faults)) => {
                findings.extend(
                    faults
                        .into_iter()
                        .map(|fault| Finding::Refused { path: fault_path(&fault), error: fault.one_line() }),
                );
                files
            }
            Err(error) if subject.dataset.is_none() => return Err(error),
            Err(error) => {
                findings.push(layout(name, &error));
                let Some(files) = subject.training_files(name) else { continue };
                files
            }
        };
        let is_listed = findings.len() == n_errors || subject.dataset.is_none();
        let of_category = category(name, &files, options, progress)?;
        categories.push(of_category.0);
        findings.extend(of_category.1);
        let has_errors =
            findings[n_errors..].iter().any(|finding| finding.severity() == super::Severity::Error);
        if let Some(error) = subject.refusal(name).filter(|_| !has_errors) {
            findings.push(layout(name, &error));
        }
        if is_listed {
            all_files.push(files);
        }
    }
    // Files of a category that was not listed would seem to be used nowhere.
    let is_complete = all_files.len() == subject.n_categories();
    if is_complete {
        findings.extend(unused_files(&all_files));
    }
    findings.sort_by_key(Finding::severity);
    let (folder, taken_for) = (subject.folder.clone(), subject.taken_for.clone());
    Ok(Checked { folder, taken_for, categories, findings })
}

/// The finding of a choice; `None` for one that other findings tell with more facts.
fn choice(category: &str, told: &Told) -> Option<Finding> {
    let is_told_otherwise = matches!(
        told.choice,
        Choice::Depth
            | Choice::FirstFrame
            | Choice::Transparent
            | Choice::Squeezed
            | Choice::SoftMask
            | Choice::BlankMask
            | Choice::NoNormalTest
            | Choice::NoAnomalousTest
            | Choice::NoMasks
            | Choice::OtherFiles
    );
    (!is_told_otherwise).then(|| Finding::Choice {
        category: category.to_owned(),
        choice: told.choice,
        clause: told.clause(),
        path: told.path.clone(),
        n: told.n,
    })
}

fn layout(category: &str, error: &Error) -> Finding {
    Finding::Layout { category: category.to_owned(), error: error.one_line() }
}

fn fault_path(fault: &Error) -> PathBuf {
    match fault {
        Error::Read { path, .. } | Error::NotRegular { path } => path.clone(),
        _ => PathBuf::new(),
    }
}

fn unused_files(all_files: &[CategoryFiles]) -> Vec<Finding> {
    let samples = || all_files.iter().flat_map(|files| files.train.iter().chain(&files.test));
    let images = samples().map(|sample| sample.image_path.as_path());
    let masks = samples().flat_map(|sample| &sample.mask_paths).map(PathBuf::as_path);
    let used: HashSet<&Path> = images.chain(masks).collect();
    let folders: BTreeSet<&Path> = all_files.iter().map(|files| files.folder.as_path()).collect();
    unused(folders, &used)
}

/// The facts and the findings of a category.
fn category(
    name: &str,
    files: &CategoryFiles,
    options: &CheckOptions,
    progress: &dyn Progress,
) -> Result<(CheckedCategory, Vec<Finding>), Error> {
    let train: Vec<&Sample> = files.train.iter().collect();
    let samples: Vec<&Sample> = files.train.iter().chain(&files.test).collect();
    let (reading, threads) = (options.reading, options.threads);
    let headers = headers(&samples, reading.max_bytes, threads, progress)?;
    let depth = depth(&train, &headers);
    let bits = match reading.values {
        ValueRange::Auto => depth.map(|(_, _, bits)| bits),
        ValueRange::Bits(bits) => Some(bits),
        ValueRange::Between { .. } => None,
    };
    let reading = Reading { values: bits.map_or(reading.values, ValueRange::Bits), ..reading };
    let mut sizes: Vec<ImageSize> = SIDES.map(ImageSize::square).to_vec();
    if !sizes.contains(&options.image_size) {
        sizes.push(options.image_size);
        sizes.sort_by_key(|size| size.pixels());
    }
    let pixels = pixels(&samples, &headers, (&reading, files.masks, &sizes), threads, progress)?;
    let read = Read { samples, headers, pixels, image_size: options.image_size };

    let pairs = read.repeated();
    let mut findings = read.faults();
    if let (ValueRange::Auto, Some((sample, highest, bits @ ..16))) = (options.reading.values, depth) {
        findings.push(Finding::Depth { path: sample.image_path.clone(), bits, highest });
    }
    findings.extend(bits.and_then(|bits| read.above(bits)));
    findings.extend(read.peculiar());
    findings.extend(read.choices(bits.is_some()).iter().filter_map(|told| choice(name, told)));
    findings.extend(classes_of_test(name, &files.test));
    findings.extend(read.repetitions(&pairs));
    let classes: Vec<CheckedClass> =
        read.classes().into_iter().map(|members| read.class(&members, &sizes, &pairs)).collect();
    findings.extend(vanishing(name, &classes, options.image_size));
    Ok((CheckedCategory { name: name.to_owned(), bits, classes }, findings))
}

/// The samples of a category and the facts of each.
struct Read<'a> {
    samples: Vec<&'a Sample>,
    headers: Vec<Result<Header, String>>,
    pixels: Vec<Option<Pixels>>,
    /// The size that images would be resized to.
    image_size: ImageSize,
}

impl Read<'_> {
    fn header(&self, index: usize) -> Option<&ImageHeader> {
        self.headers[index].as_ref().ok().map(|header| &header.header)
    }

    /// The change of the aspect ratio of an image of `size`.
    fn squeeze(&self, size: ImageSize) -> f64 {
        Frame::squeeze(size, self.image_size)
    }

    fn is_refused(&self, index: usize) -> bool {
        self.pixels[index].as_ref().is_none_or(|pixels| pixels.digest.is_err())
    }

    /// Images and masks that are refused, and blank masks.
    fn faults(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (index, sample) in self.samples.iter().enumerate() {
            let path = sample.image_path.clone();
            let of_pixels = self.pixels[index].as_ref();
            let error = match (&self.headers[index], of_pixels.map(|pixels| &pixels.digest)) {
                (Err(error), _) | (_, Some(Err(error))) => Some(error.clone()),
                _ => None,
            };
            findings.extend(error.map(|error| Finding::Refused { path: path.clone(), error }));
            match of_pixels.and_then(|pixels| pixels.mask.as_ref()) {
                Some(Err(error)) => findings.push(Finding::MaskRefused { path, error: error.clone() }),
                Some(Ok(mask)) if mask.areas.is_empty() => {
                    findings.push(Finding::BlankMask { mask: sample.mask_paths[0].clone() });
                }
                _ => {}
            }
        }
        findings
    }

    /// The first sample for which `is` is true, and the number of them.
    fn first(&self, is: impl Fn(&ImageHeader) -> bool) -> Option<(usize, usize)> {
        let is = |index: &usize| self.header(*index).is_some_and(&is);
        let mut found = (0..self.samples.len()).filter(is);
        found.next().map(|first| (first, 1 + found.count()))
    }

    /// Properties of files that are worth a line.
    fn peculiar(&self) -> Vec<Finding> {
        let path = |index: usize| self.samples[index].image_path.clone();
        let mut findings = Vec::new();
        if let Some((first, n)) = self.first(|header| header.orientation() != 1) {
            let orientation = self.header(first).map_or(1, ImageHeader::orientation);
            findings.push(Finding::Turned { path: path(first), orientation, n });
        }
        let alpha = self.told(Choice::Transparent);
        findings.extend(alpha.map(|Told { path, n, .. }| Finding::Alpha { path, n }));
        let frames = self.told(Choice::FirstFrame);
        findings.extend(frames.map(|Told { path, n, .. }| Finding::Frames { path, n }));
        let soft = |index: &usize| {
            self.pixels[*index]
                .as_ref()
                .and_then(|pixels| pixels.mask.as_ref()?.as_ref().ok())
                .map_or(0, |m| m.n_soft)
        };
        let n = (0..self.samples.len()).map(|index| soft(&index)).sum();
        if let Some(first) = (0..self.samples.len()).find(|index| soft(index) > 0) {
            findings.push(Finding::SoftMasks { path: self.samples[first].mask_paths[0].clone(), n });
        }
        let squeezed = (0..self.samples.len())
            .filter_map(|index| Some((index, self.squeeze(self.header(index)?.size()))));
        let squeezed: Vec<(usize, f64)> = squeezed.filter(|(_, factor)| *factor > MOST_SQUEEZE).collect();
        let most = squeezed.iter().copied().reduce(|most, next| if next.1 > most.1 { next } else { most });
        if let Some((index, factor)) = most
            && let Some(size) = self.header(index).map(ImageHeader::size)
        {
            findings.push(Finding::Squeezed {
                path: path(index),
                size,
                to: self.image_size,
                factor,
                n: squeezed.len(),
            });
        }
        findings
    }

    /// The files about which `choice` was made; `None` without one.
    fn told(&self, choice: Choice) -> Option<Told> {
        let told = self.pixels.iter().flatten().flat_map(|pixels| &pixels.told);
        let mut seen = HashSet::new();
        let mut files = told.filter(|told| told.choice == choice && seen.insert(&told.path));
        let mut first = files.next()?.clone();
        first.n = 1 + files.count();
        Some(first)
    }

    /// The choices that were made in reading pixels. Values beyond a depth have a finding of their
    /// own.
    fn choices(&self, has_depth: bool) -> Vec<Told> {
        let clamped = (!has_depth).then_some(Choice::Clamped);
        let choices = [Choice::FewLevels, Choice::MaskOrientation].into_iter().chain(clamped);
        choices.filter_map(|choice| self.told(choice)).collect()
    }

    /// True for an image whose file holds further frames or pages.
    fn has_more_frames(&self, index: usize) -> bool {
        let path = &self.samples[index].image_path;
        let is_told = |told: &Told| told.choice == Choice::FirstFrame && told.path == *path;
        self.pixels[index].as_ref().is_some_and(|pixels| pixels.told.iter().any(is_told))
    }

    /// The images with values above `bits`.
    fn above(&self, bits: u8) -> Option<Finding> {
        let highest = |index: usize| self.headers[index].as_ref().ok()?.highest;
        let is_above = |index: &usize| highest(*index).is_some_and(|value| u32::from(value) >= 1 << bits);
        let mut above = (0..self.samples.len()).filter(is_above);
        let first = above.next()?;
        let path = self.samples[first].image_path.clone();
        Some(Finding::AboveDepth { path, n: 1 + above.count(), bits, highest: highest(first)? })
    }

    fn repeated(&self) -> Vec<Duplicate> {
        let mut repeated = Repeated::default();
        let mut pairs = Vec::new();
        for (sample, pixels) in self.samples.iter().zip(&self.pixels) {
            if let Some(Ok(digest)) = pixels.as_ref().map(|pixels| &pixels.digest) {
                pairs.extend(repeated.add(sample, *digest));
            }
        }
        pairs
    }

    fn repetitions(&self, pairs: &[Duplicate]) -> Vec<Finding> {
        let paths: HashMap<&str, &PathBuf> =
            self.samples.iter().map(|sample| (sample.id.as_str(), &sample.image_path)).collect();
        let path = |id: &String| paths.get(id.as_str()).map_or_else(|| id.into(), |path| (*path).clone());
        let told = |pair: &Duplicate| Finding::Repeated {
            first: path(&pair.first),
            second: path(&pair.second),
            duplicate: pair.kind,
        };
        pairs.iter().map(told).collect()
    }

    /// The samples of each class, in the order of their first.
    fn classes(&self) -> Vec<Vec<usize>> {
        let key = |index: usize| (self.samples[index].split, class_of(self.samples[index]));
        let mut classes: Vec<Vec<usize>> = Vec::new();
        let mut places = HashMap::new();
        for index in 0..self.samples.len() {
            let place = *places.entry(key(index)).or_insert(classes.len());
            if place == classes.len() {
                classes.push(Vec::new());
            }
            classes[place].push(index);
        }
        classes
    }

    /// The facts of the samples `members`, of one class.
    fn class(&self, members: &[usize], sizes: &[ImageSize], pairs: &[Duplicate]) -> CheckedClass {
        let repeated: HashSet<&str> = pairs.iter().map(|pair| pair.second.as_str()).collect();
        let headers = || members.iter().filter_map(|&index| self.header(index));
        let count = |is: &dyn Fn(usize) -> bool| members.iter().filter(|&&index| is(index)).count();
        let masks = || {
            members.iter().filter_map(|&index| {
                Some((index, self.pixels[index].as_ref()?.mask.as_ref()?.as_ref().ok()?))
            })
        };
        let mut areas: Vec<usize> = masks().flat_map(|(_, mask)| mask.areas.iter().copied()).collect();
        areas.sort_unstable();
        let vanishing = |(at, &size): (usize, &ImageSize)| {
            let is_gone = |mask: &super::masks::MaskFacts| {
                !mask.areas.is_empty() && mask.n_gone[at] == mask.areas.len()
            };
            let n_regions = masks().map(|(_, mask)| mask.n_gone[at]).sum();
            let gone: Vec<usize> =
                masks().filter(|(_, mask)| is_gone(mask)).map(|(index, _)| index).collect();
            let partly =
                masks().filter(|(_, mask)| !is_gone(mask) && mask.n_gone[at] > 0).map(|(index, _)| index);
            let first = gone.iter().copied().chain(partly).take(FEW);
            let first = first.map(|index| self.samples[index].image_path.clone()).collect();
            Vanishing { size, n_images: gone.len(), n_regions, first }
        };
        let first = members.first().map(|&index| self.samples[index]);
        let as_pair = |size: ImageSize| (size.height, size.width);
        CheckedClass {
            split: first.map_or(fmam_core::Split::Train, |sample| sample.split),
            class: first.map(class_of).unwrap_or_default().to_owned(),
            n_images: members.len(),
            n_refused: count(&|index| self.is_refused(index)),
            sizes: counted(headers().map(|header| as_pair(header.size())))
                .into_iter()
                .map(|c| super::Counted { value: ImageSize::new(c.value.0, c.value.1), n: c.n })
                .collect(),
            files: counted(headers().map(kind)),
            orientations: counted(headers().map(ImageHeader::orientation).filter(|turned| *turned != 1)),
            n_alpha: headers().filter(|header| header.has_alpha()).count(),
            n_more_frames: count(&|index| self.has_more_frames(index)),
            squeeze: headers().map(|header| self.squeeze(header.size())).reduce(f64::max),
            n_repeated: count(&|index| repeated.contains(self.samples[index].id.as_str())),
            n_masks: count(&|index| !self.samples[index].mask_paths.is_empty()),
            n_soft: masks().map(|(_, mask)| mask.n_soft).sum(),
            n_blank: masks().filter(|(_, mask)| mask.areas.is_empty()).count(),
            areas: areas.first().map(|&smallest| Areas {
                n_regions: areas.len(),
                smallest,
                median: areas[(areas.len() - 1) / 2],
                largest: areas[areas.len() - 1],
            }),
            vanishing: if masks().next().is_some() {
                sizes.iter().enumerate().map(vanishing).collect()
            } else {
                Vec::new()
            },
        }
    }
}

fn class_of(sample: &Sample) -> &str {
    match (sample.label, &sample.defect_type) {
        (Label::Anomalous, Some(defect_type)) => defect_type,
        (Label::Anomalous, None) => "anomalous",
        (Label::Normal, _) => "normal",
    }
}

/// Format and depth of a file: `PNG, 8-bit grey`.
fn kind(header: &ImageHeader) -> String {
    let numbers = if header.is_float() { "float" } else { "bit" };
    let colour = match header.channels() {
        _ if header.is_cmyk() => "CMYK",
        1 => "grey",
        2 => "grey with alpha",
        4 => "colour with alpha",
        _ => "colour",
    };
    format!("{}, {}-{numbers} {colour}", header.format(), header.bits())
}

/// Warnings of a test split without normal or anomalous images, or without masks.
fn classes_of_test(name: &str, test: &[Sample]) -> Vec<Finding> {
    let n_anomalous = test.iter().filter(|sample| sample.label == Label::Anomalous).count();
    let mut findings = Vec::new();
    let category = name.to_owned();
    if !test.is_empty() && (n_anomalous == 0 || n_anomalous == test.len()) {
        findings.push(Finding::OneClass { category: category.clone(), lacks_normal: n_anomalous > 0 });
    }
    if n_anomalous > 0 && test.iter().all(|sample| sample.mask_paths.is_empty()) {
        findings.push(Finding::NoMasks { category });
    }
    findings
}

/// The defects that vanish at `size`.
fn vanishing(name: &str, classes: &[CheckedClass], size: ImageSize) -> Option<Finding> {
    let of_size = || classes.iter().flat_map(|class| &class.vanishing).filter(|gone| gone.size == size);
    let n_images = of_size().map(|gone| gone.n_images).sum();
    let n_regions = of_size().map(|gone| gone.n_regions).sum();
    // Images that vanish as a whole come first.
    let mut order: Vec<&Vanishing> = of_size().collect();
    order.sort_by_key(|gone| gone.n_images == 0);
    let first = order.into_iter().flat_map(|gone| &gone.first).take(FEW).cloned().collect();
    (n_regions > 0).then(|| Finding::Vanishing {
        category: name.to_owned(),
        size,
        n_images,
        n_regions,
        first,
    })
}
