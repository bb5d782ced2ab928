//! Trains a small network of inverted residuals to tell stripes from checks, once on the operators
//! of this crate and once as one would write it with candle alone, and compares the time of a step.
//!
//! `cargo run --release --package fmam-ops --example small_cnn`

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor, Var};
use fmam_ops::{
    Activation, Adam, AdamConfig, Conv2dConfig, LayerKind, Nonlinearity, Optimizer, TrainLayer, train_layers,
};

const SIDE: usize = 64;
const BATCH: usize = 8;
const CHANNELS: usize = 32;

/// A convolution with its normalisation.
struct Layer {
    weight: Var,
    scale: Var,
    shift: Var,
    config: Conv2dConfig,
    nonlinearity: Nonlinearity,
}

impl Layer {
    fn new(seed: u32, (input, output): (usize, usize), config: Conv2dConfig, kernel: usize) -> Result<Self> {
        let shape = (output, input / config.groups, kernel, kernel);
        let fan_in = (input / config.groups * kernel * kernel) as f32;
        let weight = (noise(seed, output * input / config.groups * kernel * kernel)?.reshape(shape)?
            * f64::from((6.0 / fan_in).sqrt()))?;
        Ok(Self {
            weight: Var::from_tensor(&weight)?,
            scale: Var::ones(output, DType::F32, &Device::Cpu)?,
            shift: Var::zeros(output, DType::F32, &Device::Cpu)?,
            config,
            nonlinearity: Nonlinearity::Relu,
        })
    }

    fn as_train_layer(&self) -> TrainLayer<'_> {
        TrainLayer {
            weight: &self.weight,
            kind: LayerKind::Conv(self.config),
            norm_weight: &self.scale,
            norm_bias: &self.shift,
            epsilon: 1e-5,
            nonlinearity: self.nonlinearity,
            running: None,
        }
    }

    /// With candle's own operators.
    fn plain(&self, x: &Tensor) -> Result<Tensor> {
        let c = self.scale.elem_count();
        let padding = self.weight.dim(2)? / 2;
        let z = x.conv2d(&self.weight, padding, self.config.stride, 1, self.config.groups)?;
        let mean = z.mean_keepdim((0, 2, 3))?;
        let centred = z.broadcast_sub(&mean)?;
        let deviation = (centred.sqr()?.mean_keepdim((0, 2, 3))? + 1e-5)?.sqrt()?;
        let y = centred.broadcast_div(&deviation)?;
        y.broadcast_mul(&self.scale.reshape((1, c, 1, 1))?)?
            .broadcast_add(&self.shift.reshape((1, c, 1, 1))?)?
            .relu()
    }
}

/// A stem and three blocks (expansion, depthwise convolution, projection), then the mean and a
/// linear classifier.
struct Network {
    layers: Vec<Layer>,
    classifier: Var,
}

impl Network {
    fn new() -> Result<Self> {
        let hidden = 4 * CHANNELS;
        let mut layers =
            vec![Layer::new(1, (3, CHANNELS), Conv2dConfig { stride: 1, ..Conv2dConfig::same(3) }, 3)?];
        for block in 0..3 {
            let depthwise = Conv2dConfig { groups: hidden, ..Conv2dConfig::same(3) };
            layers.push(Layer::new(10 * block + 2, (CHANNELS, hidden), Conv2dConfig::same(1), 1)?);
            layers.push(Layer::new(10 * block + 3, (hidden, hidden), depthwise, 3)?);
            layers.push(Layer::new(10 * block + 4, (hidden, CHANNELS), Conv2dConfig::same(1), 1)?);
        }
        Ok(Self { layers, classifier: Var::zeros((CHANNELS, 1), DType::F32, &Device::Cpu)? })
    }

    fn vars(&self) -> Vec<Var> {
        let layers = self.layers.iter().flat_map(|l| [l.weight.clone(), l.scale.clone(), l.shift.clone()]);
        layers.chain([self.classifier.clone()]).collect()
    }

    /// Logits `[N]`, through this crate's operators.
    fn fused(&self, images: &Tensor) -> Result<Tensor> {
        let layers: Vec<_> = self.layers.iter().map(Layer::as_train_layer).collect();
        let mut x = train_layers(&Activation::from_nchw(images)?, &layers[..1], None)?.0;
        for block in layers[1..].chunks_exact(3) {
            x = train_layers(&x, block, None)?.0;
        }
        self.classify(&x.to_nchw()?)
    }

    fn plain(&self, images: &Tensor) -> Result<Tensor> {
        self.classify(&self.layers.iter().try_fold(images.clone(), |x, layer| layer.plain(&x))?)
    }

    fn classify(&self, x: &Tensor) -> Result<Tensor> {
        x.mean((2, 3))?.matmul(&self.classifier)?.squeeze(1)
    }
}

/// Numbers in -0.5..0.5 without a pattern.
fn noise(seed: u32, count: usize) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let data: Vec<f32> = (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 - 0.5
        })
        .collect();
    Tensor::from_vec(data, count, &Device::Cpu)
}

/// Noisy diagonal stripes (target 1) and checks (target 0), in turn.
fn batch(seed: u32) -> Result<(Tensor, Tensor)> {
    let pattern = |i: usize| {
        let (n, y, x) = (i / (3 * SIDE * SIDE), i / SIDE % SIDE, i % SIDE);
        let on = if n % 2 == 1 { (x + y) % 8 < 4 } else { (x % 8 < 4) ^ (y % 8 < 4) };
        if on { 0.5 } else { -0.5 }
    };
    let shape = (BATCH, 3, SIDE, SIDE);
    let clean: Vec<f32> = (0..BATCH * 3 * SIDE * SIDE).map(pattern).collect();
    let images = (Tensor::from_vec(clean, shape, &Device::Cpu)?
        + noise(seed, BATCH * 3 * SIDE * SIDE)?.reshape(shape)?)?;
    let targets: Vec<f32> = (0..BATCH).map(|n| (n % 2) as f32).collect();
    Ok((images, Tensor::from_vec(targets, BATCH, &Device::Cpu)?))
}

/// Trains for `steps` steps; gives the last loss and the mean time of a step after the first.
fn train(steps: u32, forward: impl Fn(&Network, &Tensor) -> Result<Tensor>) -> Result<(f32, Duration)> {
    let network = Network::new()?;
    let mut optimizer =
        Adam::new(network.vars(), AdamConfig { learning_rate: 3e-3, ..AdamConfig::default() })?;
    let (mut last, mut start) = (f32::NAN, Instant::now());
    for step in 0..steps {
        if step == 1 {
            start = Instant::now();
        }
        let (images, targets) = batch(step + 1)?;
        let logits = forward(&network, &images)?;
        // Binary cross-entropy: softplus(logit) - target * logit.
        let softplus = (logits.exp()? + 1.0)?.log()?;
        let loss = (softplus - (&logits * targets)?)?.mean_all()?;
        optimizer.step(&loss.backward()?)?;
        last = loss.to_scalar()?;
    }
    Ok((last, start.elapsed() / (steps - 1)))
}

fn main() -> Result<()> {
    fmam_ops::tune_process();
    let (ours, ours_step) = train(20, Network::fused)?;
    let (plain, plain_step) = train(4, Network::plain)?;
    let (again, _) = train(4, Network::fused)?;
    println!("loss after 20 steps {ours:.4}; after 4 steps {again:.4}, with candle alone {plain:.4}");
    println!("a step: {ours_step:.1?}, with candle alone {plain_step:.1?}");
    println!("{:.1} times as fast", plain_step.as_secs_f64() / ours_step.as_secs_f64());
    Ok(())
}
