//! A vision transformer of operators that write themselves down: what candle's network computes,
//! for a graph.

use std::collections::HashMap;

use candle_core::Tensor;
use fmam_ops::{Activation, Conv2dConfig, Padding, conv2d, traced};

use crate::ModelError;

/// The epsilon of candle's normalisations.
const EPSILON: f64 = 1e-5;

/// The network of tensors under the names of the original checkpoint.
pub(super) struct TracedVit<'a> {
    pub(super) tensors: &'a HashMap<String, Tensor>,
    /// Side of a patch.
    pub(super) patch: usize,
    /// Heads of an attention.
    pub(super) heads: usize,
}

impl TracedVit<'_> {
    /// The patch tokens behind the blocks `taps` of `depth`, each under the last normalisation,
    /// `[1, width, rows, columns]`, of one traced image, `[1, 3, H, W]`. `positions`: those of the
    /// class token and of each patch, `[1 + rows columns, width]`.
    pub(super) fn features(
        &self,
        image: &Tensor,
        positions: &Tensor,
        depth: usize,
        taps: &[usize],
    ) -> Result<Vec<Tensor>, ModelError> {
        let config = Conv2dConfig { stride: self.patch, padding: Padding::Symmetric(0), groups: 1 };
        let image = Activation::from_nchw(image)?;
        let patches = conv2d(&image, self.tensor("patch_embed.proj.weight"), &config)?.to_nchw()?;
        let (_, width, rows, columns) = patches.dims4()?;
        let patches = traced::permute(&traced::reshape(&patches, &[width, rows * columns])?, [1, 0])?;
        let patches = traced::add(&patches, self.tensor("patch_embed.proj.bias"))?;
        let class = self.tensor("cls_token").reshape((1, width))?;
        let mut x = traced::add(&traced::cat(&[&class, &patches], 0)?, positions)?;
        let mut features = Vec::with_capacity(taps.len());
        for block in 0..depth {
            x = self.block(&x, &format!("blocks.{block}"))?;
            if taps.contains(&block) {
                let tokens = traced::narrow(&self.norm(&x, "norm")?, 0, 1, rows * columns)?;
                let tokens = traced::permute(&tokens, [1, 0])?;
                features.push(traced::reshape(&tokens, &[1, width, rows, columns])?);
            }
        }
        Ok(features)
    }

    fn block(&self, x: &Tensor, name: &str) -> Result<Tensor, ModelError> {
        let scaled = |y: &Tensor, scale: &str| traced::mul(y, self.tensor(&format!("{name}.{scale}.gamma")));
        let y = self.attention(&self.norm(x, &format!("{name}.norm1"))?, &format!("{name}.attn"))?;
        let x = traced::add(&scaled(&y, "ls1")?, x)?;
        let y = self.linear(&self.norm(&x, &format!("{name}.norm2"))?, &format!("{name}.mlp.fc1"))?;
        let y = self.linear(&gelu(&y)?, &format!("{name}.mlp.fc2"))?;
        Ok(traced::add(&scaled(&y, "ls2")?, &x)?)
    }

    /// `x`: `[tokens, width]`.
    fn attention(&self, x: &Tensor, name: &str) -> Result<Tensor, ModelError> {
        let (tokens, width) = x.dims2()?;
        let part = width / self.heads;
        let all = self.linear(x, &format!("{name}.qkv"))?;
        let all = traced::permute(&traced::reshape(&all, &[tokens, 3, self.heads, part])?, [1, 2, 0, 3])?;
        let third =
            |which: usize| traced::reshape(&traced::narrow(&all, 0, which, 1)?, &[self.heads, tokens, part]);
        let query = traced::affine(&third(0)?, 1.0 / (part as f64).sqrt(), 0.0)?;
        let key = traced::permute(&third(1)?, [0, 2, 1])?;
        let weights = traced::softmax(&traced::matmul(&query, &key)?)?;
        let y = traced::permute(&traced::matmul(&weights, &third(2)?)?, [1, 0, 2])?;
        self.linear(&traced::reshape(&y, &[tokens, width])?, &format!("{name}.proj"))
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor, ModelError> {
        let weight = self.tensor(&format!("{name}.weight")).t()?.contiguous()?;
        Ok(traced::add(&traced::matmul(x, &weight)?, self.tensor(&format!("{name}.bias")))?)
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor, ModelError> {
        let centred = traced::sub(x, &traced::mean_keepdim(x, &[1])?)?;
        let variance = traced::mean_keepdim(&traced::sqr(&centred)?, &[1])?;
        let y = traced::div(&centred, &traced::sqrt(&traced::affine(&variance, 1.0, EPSILON)?)?)?;
        let y = traced::mul(&y, self.tensor(&format!("{name}.weight")))?;
        Ok(traced::add(&y, self.tensor(&format!("{name}.bias")))?)
    }

    /// A tensor that the backbone was loaded with.
    fn tensor(&self, name: &str) -> &Tensor {
        &self.tensors[name]
    }
}

/// The approximation by a hyperbolic tangent, as candle computes GELU.
fn gelu(x: &Tensor) -> Result<Tensor, ModelError> {
    let cube = traced::mul(&traced::sqr(x)?, x)?;
    let inner = traced::add(x, &traced::affine(&cube, 0.044_715, 0.0)?)?;
    let gate = traced::tanh(&traced::affine(&inner, (2.0 / std::f64::consts::PI).sqrt(), 0.0)?)?;
    Ok(traced::mul(&traced::affine(x, 0.5, 0.0)?, &traced::affine(&gate, 1.0, 1.0)?)?)
}
