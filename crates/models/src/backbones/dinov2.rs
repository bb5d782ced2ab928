//! DINOv2's ViT-S/14 without registers, as candle-transformers computes it.
//!
//! Oquab et al. 2023, arXiv:2304.07193. Features are the patch tokens behind blocks 3, 7 and 11,
//! counted from 0, each under the network's last normalisation. Weights bear the names of the
//! original checkpoint, which timm shares, or those of Hugging Face.
//!
//! candle's network takes the nearest of the 37x37 position embeddings where transformers'
//! `Dinov2Model` interpolates them bicubically, which moves features by 4.4 to 4.7% of their norm
//! at 224x224 and by 2.2 to 2.5% at 448x448 (weights from a formula, smooth embeddings). Here it is
//! given embeddings among which the nearest are the interpolated ones. What remains are GELU's tanh
//! approximation and normalisations that add 1e-5 instead of 1e-6: together 0.02%. Facebook's own
//! code and timm interpolate a little otherwise (a scale of n + 0.1, antialiasing): by that their
//! features lie 0.3% away at 448x448, 0.7 and 1.5% at 224x224.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::dinov2::{DinoVisionTransformer, vit_small};
use fmam_ops::{Activation, traced};

use super::dinov2_traced::TracedVit;
use super::spec::{BackboneSpec, PublishedWeights, Students, Weights};
use crate::layers::Encoder;
use crate::{Init, ModelError, Params, Preprocess};

pub(super) static SMALL: BackboneSpec = BackboneSpec {
    name: NAME,
    summary: "DINOv2 ViT-S/14, blocks 4, 8 and 12 of 12; needs DINOv2's, timm's or Hugging Face's weights",
    channels: &[WIDTH; 3],
    strides: &[PATCH; 3],
    preprocess: Preprocess::IMAGENET,
    weights: Weights::File(Some(PublishedWeights {
        title: "DINOv2 ViT-S/14 without registers, facebook/dinov2-small",
        url: "https://huggingface.co/facebook/dinov2-small/resolve/\
              ed25f3a31f01632728cabb09d1542f84ab7b0056/model.safetensors",
        sha256: "ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
        licence: "Apache-2.0",
    })),
    has_signed_features: true,
    largest_side: Some(GRID * PATCH),
    // candle does not mix types, and the weights are f32.
    bf16_error: None,
    last_block: "blocks.11",
    unused_keys: &["mask_token", "embeddings.mask_token", "head.{weight,bias}"],
    idle_parameters: &[],
    encoder: |params| Ok(Box::new(Frozen::new(tensors(params)?)?)),
    // candle's layer normalisation has no backward.
    students: Students::None,
};

const NAME: &str = "dinov2-small";
const TAPS: [usize; 3] = [3, 7, 11];
const DEPTH: usize = 12;
const WIDTH: usize = 384;
const HEADS: usize = 6;
const PATCH: usize = 14;
const POSITIONS: &str = "pos_embed";
/// Patches along a side of 518 pixels, for which there are position embeddings, beside the class
/// token's.
const GRID: usize = 37;

/// The classifier that candle asks for, unused here: inputs (the class token and the patches'
/// mean), outputs.
const HEAD: (usize, usize) = (2 * WIDTH, 1000);

const WEIGHT: Init = Init::Normal { std: 0.02 };
const ONE: Init = Init::Const(1.0);
const ZERO: Init = Init::Const(0.0);

/// Parts of original names, and what Hugging Face calls them.
const RENAMED: [(&str, &str); 7] = [
    ("cls_token", "embeddings.cls_token"),
    (POSITIONS, "embeddings.position_embeddings"),
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("blocks.", "encoder.layer."),
    ("attn.proj", "attention.output.dense"),
    ("ls1.gamma", "layer_scale1.lambda1"),
    ("ls2.gamma", "layer_scale2.lambda1"),
];

/// The network's tensors by their original names.
fn tensors(params: &Params) -> Result<HashMap<String, Tensor>, ModelError> {
    let names = Names::of(params);
    let mut tensors = HashMap::new();
    let mut get = |name: &str, shape: Shape, init| -> Result<(), ModelError> {
        tensors.insert(name.to_owned(), names.get(params, name, shape, init)?);
        Ok(())
    };
    get("cls_token", (1, 1, WIDTH).into(), WEIGHT)?;
    get(POSITIONS, (1, 1 + GRID * GRID, WIDTH).into(), WEIGHT)?;
    get("patch_embed.proj.weight", (WIDTH, 3, PATCH, PATCH).into(), WEIGHT)?;
    get("patch_embed.proj.bias", WIDTH.into(), ZERO)?;
    get("norm.weight", WIDTH.into(), ONE)?;
    get("norm.bias", WIDTH.into(), ZERO)?;
    for block in (0..DEPTH).map(|i| format!("blocks.{i}")) {
        for norm in ["norm1", "norm2"] {
            get(&format!("{block}.{norm}.weight"), WIDTH.into(), ONE)?;
            get(&format!("{block}.{norm}.bias"), WIDTH.into(), ZERO)?;
        }
        for scale in ["ls1", "ls2"] {
            get(&format!("{block}.{scale}.gamma"), WIDTH.into(), ONE)?;
        }
        for (linear, input, output) in [
            ("attn.qkv", WIDTH, 3 * WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", WIDTH, 4 * WIDTH),
            ("mlp.fc2", 4 * WIDTH, WIDTH),
        ] {
            get(&format!("{block}.{linear}.weight"), (output, input).into(), WEIGHT)?;
            get(&format!("{block}.{linear}.bias"), output.into(), ZERO)?;
        }
    }
    Ok(tensors)
}

/// Whose names the parameters bear.
enum Names {
    Original,
    HuggingFace,
}

impl Names {
    /// Hugging Face's when only its class token is there.
    fn of(params: &Params) -> Self {
        let is_missing = |name| {
            let token = params.get(name, (1, 1, WIDTH), WEIGHT);
            matches!(token, Err(ModelError::MissingKey { .. }))
        };
        if is_missing("cls_token") && !is_missing("embeddings.cls_token") {
            Self::HuggingFace
        } else {
            Self::Original
        }
    }

    /// The parameter with the original name `name`.
    fn get(&self, params: &Params, name: &str, shape: Shape, init: Init) -> Result<Tensor, ModelError> {
        match self {
            Self::Original => params.get(name, shape, init),
            Self::HuggingFace if name.contains("attn.qkv") => {
                let mut part = shape.into_dims();
                part[0] /= 3;
                let parts = ["query", "key", "value"].map(|which| {
                    let name = name.replace("attn.qkv", &format!("attention.attention.{which}"));
                    params.get(&hugging_face(&name), part.as_slice(), init)
                });
                let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
                Ok(Tensor::cat(&parts, 0)?)
            }
            Self::HuggingFace => params.get(&hugging_face(name), shape, init),
        }
    }
}

fn hugging_face(name: &str) -> String {
    match name.strip_prefix("norm.") {
        Some(rest) => format!("layernorm.{rest}"),
        None => RENAMED.iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs)),
    }
}

struct Frozen {
    /// By their original names, with a head.
    tensors: HashMap<String, Tensor>,
    /// The network of the last size that was built.
    last: Mutex<Option<SizedNetwork>>,
}

/// A network with the position embeddings for images of one size.
struct SizedNetwork {
    /// Patches down and across.
    patches: (usize, usize),
    network: Arc<DinoVisionTransformer>,
}

impl Frozen {
    /// From tensors by their original names.
    fn new(mut tensors: HashMap<String, Tensor>) -> Result<Self, ModelError> {
        // One zero in memory.
        let zero = Tensor::zeros((), DType::F32, tensors[POSITIONS].device())?;
        let (input, output) = HEAD;
        tensors.insert("head.weight".to_owned(), zero.broadcast_as((output, input))?);
        tensors.insert("head.bias".to_owned(), zero.broadcast_as(output)?);
        for tensor in tensors.values_mut() {
            *tensor = tensor.detach();
        }
        Ok(Self { tensors, last: Mutex::new(None) })
    }

    /// The network for images of `patches` down and across.
    ///
    /// No lock is held while a network is built: the matrix products of `placed` are parallel, and
    /// a worker of rayon that waits for its part takes the task of another image, which comes here
    /// too. Two threads may build the same network; the later one stays.
    fn network(&self, patches: (usize, usize)) -> Result<Arc<DinoVisionTransformer>, ModelError> {
        if let Some(last) = self.last().as_ref().filter(|last| last.patches == patches) {
            return Ok(last.network.clone());
        }
        let mut tensors = self.tensors.clone();
        let positions = placed(&tensors[POSITIONS], patches)?;
        let device = positions.device().clone();
        tensors.insert(POSITIONS.to_owned(), positions);
        let network = Arc::new(vit_small(VarBuilder::from_tensors(tensors, DType::F32, &device))?);
        *self.last() = Some(SizedNetwork { patches, network: network.clone() });
        Ok(network)
    }

    fn last(&self) -> MutexGuard<'_, Option<SizedNetwork>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Encoder for Frozen {
    fn forward(&self, images: &Activation) -> Result<Vec<Activation>, ModelError> {
        let kernels = images.kernels();
        let images = traced::detach(&traced::contiguous(&images.to_nchw()?)?);
        let (n, _, height, width) = images.dims4()?;
        let (rows, columns) = (height / PATCH, width / PATCH);
        if rows.max(columns) > GRID {
            let actual = images.dims().to_vec();
            return Err(ModelError::TooLarge { backbone: NAME, largest: GRID * PATCH, actual });
        }
        if traced::is_known(&images) {
            let network = TracedVit { tensors: &self.tensors, patch: PATCH, heads: HEADS };
            let positions = positions(&self.tensors[POSITIONS], (rows, columns))?;
            let scales = network.features(&images, &positions, DEPTH, &TAPS)?;
            return scales.iter().map(|scale| Ok(Activation::from_nchw_with(scale, kernels)?)).collect();
        }
        let network = self.network((rows, columns))?;
        // One by one: candle puts its one class token before the patches of one image only.
        let scales = (0..n).map(|i| {
            let image = images.narrow(0, i, 1)?;
            network.get_intermediate_layers(&image, &TAPS, true, false, true)
        });
        let scales = Tensor::cat(&scales.collect::<candle_core::Result<Vec<_>>>()?, 1)?;
        (0..TAPS.len()).map(|k| Ok(Activation::from_nchw_with(&scales.get(k)?, kernels)?)).collect()
    }
}

/// Position embeddings `[1, 1 + 37 * 37, C]` of which candle takes, for an image of `rows` by
/// `columns` patches, those that the published network interpolates from `embeddings`.
fn placed(embeddings: &Tensor, (rows, columns): (usize, usize)) -> Result<Tensor, ModelError> {
    if (rows, columns) == (GRID, GRID) {
        return Ok(embeddings.clone());
    }
    let device = embeddings.device();
    let interpolated = interpolated(embeddings, (rows, columns))?;
    // Candle itself tells which of the 37x37 it takes for each patch. It counts columns before rows
    // here and rows before columns everywhere else, so the patch is told by its number.
    let numbers = Tensor::arange(0_f32, (GRID * GRID) as f32, device)?.reshape((1, 1, GRID, GRID))?;
    let taken = numbers.upsample_nearest2d(columns, rows)?.flatten_all()?.to_vec1::<f32>()?;
    let mut patch_at = vec![0_u32; GRID * GRID];
    for (patch, position) in (0..).zip(taken) {
        patch_at[position as usize] = patch;
    }
    let patch_at = Tensor::new(patch_at, device)?;
    let patches = interpolated.index_select(&patch_at, 0)?.unsqueeze(0)?;
    Ok(Tensor::cat(&[&embeddings.narrow(1, 0, 1)?, &patches], 1)?)
}

/// The embeddings of as many patches, row by row, `[rows columns, width]`: bicubic interpolation
/// of those of the trained grid.
fn interpolated(embeddings: &Tensor, (rows, columns): (usize, usize)) -> Result<Tensor, ModelError> {
    let (device, width) = (embeddings.device(), embeddings.dim(2)?);
    let patches = embeddings.narrow(1, 1, GRID * GRID)?.reshape((GRID, GRID * width))?;
    let across = bicubic(columns, device)?;
    let interpolated = bicubic(rows, device)?.matmul(&patches)?.reshape((rows, GRID, width))?;
    Ok(across.broadcast_matmul(&interpolated)?.reshape((rows * columns, width))?)
}

/// The embeddings of the class token and of as many patches, `[1 + rows columns, width]`.
fn positions(embeddings: &Tensor, patches: (usize, usize)) -> Result<Tensor, ModelError> {
    if patches == (GRID, GRID) {
        return Ok(embeddings.get(0)?);
    }
    Ok(Tensor::cat(&[&embeddings.get(0)?.narrow(0, 0, 1)?, &interpolated(embeddings, patches)?], 0)?)
}

/// The matrix `[n, 37]` that brings 37 values to `n`: cubic convolution with a = -0.75 on the
/// centres of pixels, the border repeated, as PyTorch interpolates.
fn bicubic(n: usize, device: &Device) -> Result<Tensor, ModelError> {
    const A: f64 = -0.75;
    let near = |d: f64| ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0;
    let far = |d: f64| ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A;
    let mut matrix = vec![0.0_f32; n * GRID];
    for (to, row) in matrix.chunks_exact_mut(GRID).enumerate() {
        let at = (to as f64 + 0.5) * GRID as f64 / n as f64 - 0.5;
        let (first, t) = (at.floor() as isize - 1, at - at.floor());
        for (from, weight) in (first..).zip([far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]) {
            row[from.clamp(0, GRID as isize - 1) as usize] += weight as f32;
        }
    }
    Ok(Tensor::from_vec(matrix, (n, GRID), device)?)
}
