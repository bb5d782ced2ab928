//! Saved models: an edited card, and edited network files.

use std::path::Path;
use std::sync::LazyLock;

use fmam::{Detector, Fit, ImageSize, RgbImage, Session};
use tempfile::TempDir;

use super::bytes::Choices;
use super::bytes::Seed;
use super::scratch::scratch;

const METHODS: [&str; 4] = ["padim", "rkd+fmam", "patchcore", "fcdd"];

const SIZE: ImageSize = ImageSize::new(32, 32);

/// Networks of larger images than this are loaded and not run.
const LARGEST: usize = 256;

/// A model in its folder, and its files by name.
struct Model {
    files: Vec<(String, Vec<u8>)>,
    _folder: TempDir,
}

static MODELS: LazyLock<[Model; METHODS.len()]> = LazyLock::new(|| METHODS.map(fit));

static SESSION: LazyLock<Session> = LazyLock::new(session);

pub(super) fn session() -> Session {
    Session::builder().threads(1).build().unwrap()
}

/// An image of stripes, another one for each `number`.
pub(super) fn stripes(size: ImageSize, number: usize) -> RgbImage {
    RgbImage::from_fn(size, |y, x| {
        let value = (17 * y + 5 * x * (1 + number % 3) + 29 * number) % 200;
        [value as u8, (value / 2) as u8, (y * x % 251) as u8]
    })
}

/// Fits a small model of `method` on images of `size` and saves it in `folder`.
pub(super) fn fit_into(folder: &Path, method: &str, size: ImageSize) {
    let images: Vec<RgbImage> = (0..24).map(|number| stripes(size, number)).collect();
    let mut fit = Fit::new().method(method).backbone("tiny").image_size(32).seed(1).epochs(1);
    if method.ends_with("+fmam") {
        fit = fit.set("mapping.epochs", 1).unwrap();
    }
    SESSION.fit(images, &fit).unwrap().save(folder).unwrap();
}

fn fit(method: &str) -> Model {
    let scratch = scratch();
    let folder = scratch.path().join("model");
    fit_into(&folder, method, SIZE);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (name_of(&path), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    Model { files, _folder: scratch }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

const CARD: &str = "model.toml";

impl Model {
    fn card(&self) -> &str {
        let card = self.files.iter().find(|(name, _)| name == CARD);
        str::from_utf8(&card.expect("a model has a card").1).unwrap()
    }

    /// The card as it was before there were digests, so that an edited network is read.
    fn card_without_digests(&self) -> String {
        let mut card: toml::Table = self.card().parse().unwrap();
        card.remove("files");
        card.insert("schema".to_owned(), 2.into());
        card.to_string()
    }
}

/// Applies an edit: its kind, its place, and a value.
fn edit(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let (kind, place, value) = (choices.below(6), choices.large(), choices.byte());
    let place = place % bytes.len().max(1);
    let number = [f32::NAN, f32::INFINITY, f32::MAX, -1e30, 0.0, 1e-40][usize::from(value) % 6];
    match kind {
        0 if !bytes.is_empty() => bytes[place] = value,
        1 => bytes.truncate(place),
        2 => bytes.insert(place, value),
        3 if bytes.len() > place + 4 => bytes[place & !3..][..4].copy_from_slice(&number.to_le_bytes()),
        4 if !bytes.is_empty() => bytes[place] ^= 1 << (value % 8),
        // The header of a safetensors file is at its start.
        _ if bytes.len() > 600 => bytes[place % 600] = value,
        _ => {}
    }
}

/// An input is the number of a method, the text of a card up to a NUL, and edits of the network
/// files. Without a text the card is the saved one, whose digests must show every edit. An accepted
/// model gives finite scores, the same ones after it was saved and loaded.
pub fn model(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let model = &MODELS[usize::from(*first) % METHODS.len()];
    let (text, edits) = match rest.iter().position(|&byte| byte == 0) {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (rest, &[][..]),
    };
    let mut files = model.files.clone();
    let mut choices = Choices(edits);
    let networks: Vec<usize> = (0..files.len()).filter(|&at| files[at].0 != CARD).collect();
    while !choices.is_over() && !networks.is_empty() {
        let network = networks[choices.below(networks.len())];
        edit(&mut files[network].1, &mut choices);
    }
    let is_edited = files != model.files;
    if !text.is_empty() {
        let card = files.iter_mut().find(|(name, _)| name == CARD).expect("a model has a card");
        card.1 = text.to_vec();
    }
    let scratch = scratch();
    let folder = scratch.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    for (name, bytes) in &files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let Ok(detector) = SESSION.load(&folder) else { return false };
    assert!(!(text.is_empty() && is_edited), "the digests of the card do not show an edit");
    check(&detector, &scratch.path().join("again"));
    true
}

fn check(detector: &Detector, again: &Path) {
    let ImageSize { height, width } = detector.image_size();
    if height.max(width) > LARGEST || detector.card().preparation().tile_overlap().is_some() {
        return;
    }
    let image = stripes(detector.image_size(), 3);
    let Ok(found) = detector.score(std::slice::from_ref(&image)) else { return };
    assert!(found[0].image_score.is_finite());
    assert!(found[0].anomaly_map.data().iter().all(|score| score.is_finite()));
    detector.save(again).unwrap();
    let loaded = SESSION.load(again).unwrap();
    let same = loaded.score(&[image]).unwrap();
    assert_eq!(same[0].image_score.to_bits(), found[0].image_score.to_bits());
}

pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (number, (method, model)) in METHODS.iter().zip(MODELS.iter()).enumerate() {
        let first = [number as u8];
        seeds.push((format!("{method}.saved"), first.to_vec()));
        let card = model.card_without_digests();
        seeds.push((format!("{method}.card"), [&first, card.as_bytes()].concat()));
        // One element of the last network, to a number near 0.
        let last = model.files.len() as u8 - 2;
        let edit = [0, last, 3, 0, 8, 0, 5];
        seeds.push((format!("{method}.edited"), [&first, card.as_bytes(), &edit].concat()));
    }
    seeds
}
