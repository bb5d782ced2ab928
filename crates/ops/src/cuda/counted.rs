//! Launches and memory traffic of a training step, by replaying its launches on a device that only
//! counts.

use std::cell::Cell;

use candle_core::{DType, Device, Result, Tensor};

use super::launch::{self, AdamStep, Argument, Gpu, Moments, Norm};
use crate::geometry::Geometry;
use crate::{Conv2dConfig, Nonlinearity, Padding};

/// Counts launches, and bytes as if each kernel read and wrote each of its arrays once.
#[derive(Default)]
struct Counter {
    launches: Cell<usize>,
    bytes: Cell<usize>,
}

/// An array's bytes.
struct Bytes(usize);

impl Gpu for Counter {
    type Memory = Bytes;

    fn reals(&self, length: usize) -> Result<Bytes> {
        Ok(Bytes(4 * length))
    }

    fn floats(&self, length: usize) -> Result<Bytes> {
        Ok(Bytes(4 * length))
    }

    fn bytes(&self, length: usize) -> Result<Bytes> {
        Ok(Bytes(length))
    }

    fn launch(
        &self,
        _: &'static str,
        grid: [usize; 3],
        threads: usize,
        arguments: &[Argument<'_, Bytes>],
    ) -> Result<()> {
        assert!(threads <= 1024 && grid.iter().all(|&blocks| blocks > 0) && grid[1].max(grid[2]) < 65536);
        let bytes = arguments.iter().map(|argument| match argument {
            Argument::In(bytes) | Argument::Out(bytes) => bytes.0,
            _ => 0,
        });
        self.launches.set(self.launches.get() + 1);
        self.bytes.set(self.bytes.get() + bytes.sum::<usize>());
        Ok(())
    }
}

/// A convolution with its normalisation.
#[derive(Clone, Copy)]
struct Layer {
    g: Geometry,
    depthwise: bool,
    kind: Nonlinearity,
}

impl Layer {
    /// On an input of `(n, side, channels)`.
    fn new(
        input: (usize, usize, usize),
        co: usize,
        kernel: usize,
        stride: usize,
        kind: Nonlinearity,
    ) -> Self {
        Self::grouped(input, co, kernel, stride, kind, 1)
    }

    fn depthwise(input: (usize, usize, usize), kernel: usize, stride: usize) -> Self {
        Self::grouped(input, input.2, kernel, stride, Nonlinearity::Relu6, input.2)
    }

    fn grouped(
        (n, side, ci): (usize, usize, usize),
        co: usize,
        kernel: usize,
        stride: usize,
        kind: Nonlinearity,
        groups: usize,
    ) -> Self {
        let config = Conv2dConfig { stride, padding: Padding::Symmetric(kernel / 2), groups };
        let weight = Tensor::zeros((co, ci / groups, kernel, kernel), DType::F32, &Device::Cpu).unwrap();
        let g = Geometry::of(&config, (n, ci, side, side), &weight).unwrap();
        Self { g, depthwise: groups > 1, kind }
    }

    fn output(&self) -> (usize, usize, usize) {
        (self.g.n, self.g.oh, self.g.co)
    }

    fn output_len(&self) -> usize {
        self.g.n * self.g.oh * self.g.ow * self.g.co
    }

    fn weight_len(&self) -> usize {
        self.g.co * self.g.kh * self.g.kw * if self.depthwise { 1 } else { self.g.ci }
    }

    fn norm(&self) -> Norm {
        Norm { rows: self.g.n * self.g.oh * self.g.ow, c: self.g.co, epsilon: 1e-5, kind: self.kind }
    }
}

/// Layers one after the other, a shortcut around them with its own layer or none, and whether the
/// result is a scale of the pyramid.
struct Block {
    layers: Vec<Layer>,
    shortcut: Option<Option<Layer>>,
    /// The function of the sum with the shortcut.
    of_sum: Nonlinearity,
    is_scale: bool,
}

/// A network: its blocks, and the max pooling after its first one.
struct Network {
    blocks: Vec<Block>,
    pooled: bool,
}

/// ResNet-18 to layer 3.
fn resnet18(n: usize) -> Network {
    use Nonlinearity::{Identity, Relu};
    let stem = Layer::new((n, 256, 3), 64, 7, 2, Relu);
    let mut blocks = vec![Block { layers: vec![stem], shortcut: None, of_sum: Identity, is_scale: false }];
    let mut at = (n, 64, 64);
    for channels in [64, 128, 256] {
        for block in 0..2 {
            let stride = if block == 0 && channels > 64 { 2 } else { 1 };
            let first = Layer::new(at, channels, 3, stride, Relu);
            let down = (stride == 2).then(|| Layer::new(at, channels, 1, 2, Identity));
            let second = Layer::new(first.output(), channels, 3, 1, Identity);
            at = second.output();
            let layers = vec![first, second];
            blocks.push(Block { layers, shortcut: Some(down), of_sum: Relu, is_scale: block == 1 });
        }
    }
    Network { blocks, pooled: true }
}

/// EfficientNet-Lite0 to stride 16.
fn lite0(n: usize) -> Network {
    use Nonlinearity::{Identity, Relu6};
    let stem = Layer::new((n, 256, 3), 32, 3, 2, Relu6);
    let mut at = stem.output();
    let mut blocks = vec![Block { layers: vec![stem], shortcut: None, of_sum: Identity, is_scale: false }];
    for (expand, channels, kernel, stride, count, is_scale) in [
        (1, 16, 3, 1, 1, false),
        (6, 24, 3, 2, 2, true),
        (6, 40, 5, 2, 2, true),
        (6, 80, 3, 2, 3, false),
        (6, 112, 5, 1, 3, true),
    ] {
        for index in 0..count {
            let stride = if index == 0 { stride } else { 1 };
            let (mut layers, inner) = (Vec::new(), (at.0, at.1, at.2 * expand));
            if expand > 1 {
                layers.push(Layer::new(at, inner.2, 1, 1, Relu6));
            }
            layers.push(Layer::depthwise(inner, kernel, stride));
            layers.push(Layer::new(layers[layers.len() - 1].output(), channels, 1, 1, Identity));
            at = layers[layers.len() - 1].output();
            let shortcut = (index > 0).then_some(None);
            let is_scale = is_scale && index == count - 1;
            blocks.push(Block { layers, shortcut, of_sum: Identity, is_scale });
        }
    }
    Network { blocks, pooled: false }
}

/// A layer after its forward pass, with the arrays that its backward pass reads.
struct Kept {
    layer: Layer,
    weight: Bytes,
    z: Bytes,
    statistics: Bytes,
    affine: [Bytes; 2],
}

fn forward(
    gpu: &Counter,
    layer: Layer,
    x: &Bytes,
    shortcut: Option<(&Bytes, Nonlinearity)>,
) -> Result<(Bytes, Kept)> {
    let (g, weight) = (layer.g, Bytes(4 * layer.weight_len()));
    let (weight, z) = if layer.depthwise {
        let z = launch::depthwise(gpu, x, &weight, &g)?;
        (weight, z)
    } else {
        let packed = launch::packed(gpu, &weight, &g)?;
        let z = launch::conv(gpu, x, &packed, &g)?;
        (packed, z)
    };
    let c = layer.g.co;
    let statistics = layer.norm().statistics(gpu, &z, &Bytes(8 * c), 0.1)?;
    let affine = [Bytes(4 * c), Bytes(4 * c)];
    let y = layer.norm().apply(gpu, &z, [&statistics, &affine[0], &affine[1]], shortcut)?;
    Ok((y, Kept { layer, weight, z, statistics, affine }))
}

/// The gradient of the layer's input, plus `added`; `None` where the input is an image.
fn backward(
    gpu: &Counter,
    kept: &Kept,
    x: &Bytes,
    grad: &Bytes,
    added: Option<&Bytes>,
    image: bool,
) -> Result<Option<Bytes>> {
    let g = kept.layer.g;
    let layer = [&kept.statistics, &kept.affine[0], &kept.affine[1]];
    let (dz, _) = kept.layer.norm().gradients(gpu, [&kept.z, grad], layer)?;
    if kept.layer.depthwise {
        launch::depthwise_weight_gradient(gpu, x, &dz, &g)?;
        return launch::depthwise_input_gradient(gpu, &dz, &kept.weight, &g).map(Some);
    }
    launch::conv_weight_gradient(gpu, x, &dz, &g)?;
    if image { Ok(None) } else { launch::conv_input_gradient(gpu, &dz, &kept.weight, added, &g).map(Some) }
}

/// One step of a student of the teacher's architecture: both forward passes, the cosine distances
/// of all scales, the backward pass, and Adam.
fn step(gpu: &Counter, network: &Network) -> Result<()> {
    let image = || Bytes(4 * network.blocks[0].layers[0].g.n * 3 * 256 * 256);
    // The teacher.
    let mut x = image();
    let mut teacher = Vec::new();
    for (index, block) in network.blocks.iter().enumerate() {
        let input = Bytes(x.0);
        let frozen = |layer: &Layer, x: &Bytes, added: Option<&Bytes>, function| {
            let (weight, bias) = (Bytes(4 * layer.weight_len()), Bytes(4 * layer.g.co));
            if layer.depthwise {
                launch::depthwise_frozen(gpu, x, (&weight, &bias), function, &layer.g)
            } else {
                launch::conv_frozen(gpu, x, (&weight, &bias), added, function, &layer.g)
            }
        };
        let down = block.shortcut.as_ref().and_then(Option::as_ref);
        let down = down.map(|layer| frozen(layer, &input, None, layer.kind)).transpose()?;
        for (at, layer) in block.layers.iter().enumerate() {
            let last = at + 1 == block.layers.len() && block.shortcut.is_some();
            let added = last.then(|| down.as_ref().unwrap_or(&input));
            x = frozen(layer, &x, added, if last { block.of_sum } else { layer.kind })?;
        }
        if index == 0 && network.pooled {
            x = launch::max_pool(gpu, &x, &pooling(network))?.0;
        }
        if block.is_scale {
            teacher.push(Bytes(x.0));
        }
    }
    // The student.
    let (mut x, mut passes, mut taken) = (image(), Vec::new(), None);
    let mut teacher = teacher.iter();
    for (index, block) in network.blocks.iter().enumerate() {
        let input = Bytes(x.0);
        let down = block.shortcut.as_ref().and_then(Option::as_ref);
        let down = down.map(|&layer| forward(gpu, layer, &input, None)).transpose()?;
        let mut kept = Vec::new();
        for (at, &layer) in block.layers.iter().enumerate() {
            let last = at + 1 == block.layers.len() && block.shortcut.is_some();
            let added = last.then(|| (down.as_ref().map_or(&input, |(y, _)| y), block.of_sum));
            let from = Bytes(x.0);
            let (y, pass) = forward(gpu, layer, &x, added)?;
            kept.push((from, pass));
            x = y;
        }
        if index == 0 && network.pooled {
            let (y, winners) = launch::max_pool(gpu, &x, &pooling(network))?;
            (x, taken) = (y, Some(winners));
        }
        let last = block.layers[block.layers.len() - 1];
        let (positions, c) = (last.norm().rows, last.g.co);
        let scale_grad = block.is_scale.then(|| -> Result<Bytes> {
            let scale = teacher.next().unwrap();
            let distance = launch::cosine_distance(gpu, [&x, scale], positions, c, 1e-8)?;
            launch::mean(gpu, &distance, positions)?;
            launch::cosine_gradient(gpu, [&x, scale, &distance], positions, c, 1e-8)
        });
        passes.push((input, down.map(|(_, kept)| kept), kept, scale_grad.transpose()?, Bytes(x.0)));
    }
    // The gradients.
    let mut grad: Option<Bytes> = None;
    for (index, (input, down, kept, scale_grad, y)) in passes.into_iter().enumerate().rev() {
        let block = &network.blocks[index];
        let length = y.0 / 4;
        let mut dy = match (grad, scale_grad) {
            (Some(grad), Some(scale)) => {
                launch::sum_masked(gpu, (&grad, Some(&scale)), (&y, block.of_sum), length)?
            }
            (Some(only), None) | (None, Some(only)) if block.of_sum == Nonlinearity::Identity => only,
            (Some(only), None) | (None, Some(only)) => {
                launch::sum_masked(gpu, (&only, None), (&y, block.of_sum), length)?
            }
            (None, None) => unreachable!("the last block is a scale"),
        };
        if let (0, Some(taken)) = (index, &taken) {
            dy = launch::max_pool_gradient(gpu, &dy, taken, &pooling(network))?;
        }
        let around = match (&block.shortcut, &down) {
            (None, _) => None,
            (Some(None), _) => Some(Bytes(dy.0)),
            (Some(Some(_)), Some(kept)) => backward(gpu, kept, &input, &dy, None, false)?,
            (Some(Some(_)), None) => unreachable!("the shortcut's layer ran forward"),
        };
        let mut next = Some(dy);
        for (at, (x, pass)) in kept.iter().enumerate().rev() {
            let added = around.as_ref().filter(|_| at == 0);
            next = backward(gpu, pass, x, next.as_ref().unwrap(), added, index == 0 && at == 0)?;
        }
        grad = next;
    }
    let layers = network.blocks.iter().flat_map(|block| &block.layers);
    let downs = network.blocks.iter().filter_map(|block| block.shortcut.as_ref()?.as_ref());
    let length = layers.chain(downs).map(|layer| layer.weight_len() + 2 * layer.g.co).sum();
    let array = || Bytes(4 * length);
    let (parameters, grads, means, squares) = (&array(), &array(), &array(), &array());
    let step = AdamStep { betas: (0.5, 0.999), step: 1.0, root: 1.0, epsilon: 1e-8, decay: 0.0 };
    launch::adam(gpu, &Moments { parameters, grads, means, squares, length }, &step)
}

fn pooling(network: &Network) -> Geometry {
    let stem = network.blocks[0].layers[0];
    let config = Conv2dConfig { stride: 2, padding: Padding::Symmetric(1), groups: stem.g.co };
    let weight = Tensor::zeros((stem.g.co, 1, 3, 3), DType::F32, &Device::Cpu).unwrap();
    Geometry::of(&config, (stem.g.n, stem.g.co, stem.g.oh, stem.g.ow), &weight).unwrap()
}

#[test]
fn a_step_takes_few_launches() {
    for (name, network, launches, gigabytes) in
        [("resnet18", resnet18(16), 200, 6.0), ("lite0", lite0(16), 400, 12.0)]
    {
        let gpu = Counter::default();
        step(&gpu, &network).unwrap();
        let found = (gpu.launches.get(), gpu.bytes.get() as f64 / 1e9);
        println!("{name}: {} launches, {:.2} GB a step of 16 images", found.0, found.1);
        assert!(found.0 <= launches && found.1 <= gigabytes, "{name}: {found:?}");
        assert_eq!(network.blocks.iter().filter(|block| block.is_scale).count(), 3);
    }
}

#[test]
fn outputs_have_the_size_of_their_scales() {
    for (network, sides) in [(resnet18(1), [64, 32, 16]), (lite0(1), [64, 32, 16])] {
        let scales = network.blocks.iter().filter(|block| block.is_scale);
        let found: Vec<usize> = scales.map(|block| block.layers[block.layers.len() - 1].output().1).collect();
        assert_eq!(found, sides);
        let last = network.blocks[network.blocks.len() - 1].layers.last().unwrap();
        assert_eq!(last.output_len(), 16 * 16 * last.g.co);
    }
}
