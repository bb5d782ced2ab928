//! Launches and memory traffic of a training step, by running its operators on a device that only
//! counts.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::simulated::{Counted, counted};
use crate::{
    Activation, Adam, AdamConfig, Conv2dConfig, FrozenConv2d, Kernels, LayerKind, Nonlinearity, Optimizer,
    Padding, TrainLayer, add_nonlinearity, cosine_distance, frozen_layers, gradients, max_pool2d,
    train_layers,
};

/// A convolution with its normalisation: channels in and out, kernel, stride, groups.
#[derive(Clone, Copy)]
struct Layer {
    channels: (usize, usize),
    kernel: usize,
    stride: usize,
    groups: usize,
    kind: Nonlinearity,
}

impl Layer {
    fn new(channels: (usize, usize), kernel: usize, stride: usize, kind: Nonlinearity) -> Self {
        Self { channels, kernel, stride, groups: 1, kind }
    }

    fn config(&self) -> Conv2dConfig {
        Conv2dConfig {
            stride: self.stride,
            padding: Padding::Symmetric(self.kernel / 2),
            groups: self.groups,
        }
    }

    fn weight(&self) -> Result<Tensor> {
        let shape = (self.channels.1, self.channels.0 / self.groups, self.kernel, self.kernel);
        Tensor::zeros(shape, DType::F32, &Device::Cpu)
    }

    fn frozen(&self) -> Result<FrozenConv2d> {
        let bias = Tensor::zeros(self.channels.1, DType::F32, &Device::Cpu)?;
        FrozenConv2d::new(&self.weight()?, Some(&bias), self.config(), self.kind)
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

/// A network: its blocks, and whether max pooling follows the first one.
struct Network {
    blocks: Vec<Block>,
    is_pooled: bool,
}

/// ResNet-18 to layer 3.
fn resnet18() -> Network {
    use Nonlinearity::{Identity, Relu};
    let stem = Layer::new((3, 64), 7, 2, Relu);
    let mut blocks = vec![Block { layers: vec![stem], shortcut: None, of_sum: Identity, is_scale: false }];
    let mut before = 64;
    for channels in [64, 128, 256] {
        for block in 0..2 {
            let stride = if block == 0 && channels > 64 { 2 } else { 1 };
            let first = Layer::new((before, channels), 3, stride, Relu);
            let down = (stride == 2).then(|| Layer::new((before, channels), 1, 2, Identity));
            let layers = vec![first, Layer::new((channels, channels), 3, 1, Identity)];
            before = channels;
            blocks.push(Block { layers, shortcut: Some(down), of_sum: Relu, is_scale: block == 1 });
        }
    }
    Network { blocks, is_pooled: true }
}

/// EfficientNet-Lite0 to stride 16.
fn lite0() -> Network {
    use Nonlinearity::{Identity, Relu6};
    let stem = Layer::new((3, 32), 3, 2, Relu6);
    let mut blocks = vec![Block { layers: vec![stem], shortcut: None, of_sum: Identity, is_scale: false }];
    let mut before = 32;
    for (expand, channels, kernel, stride, count, is_scale) in [
        (1, 16, 3, 1, 1, false),
        (6, 24, 3, 2, 2, true),
        (6, 40, 5, 2, 2, true),
        (6, 80, 3, 2, 3, false),
        (6, 112, 5, 1, 3, true),
    ] {
        for index in 0..count {
            let (stride, inner) = (if index == 0 { stride } else { 1 }, before * expand);
            let mut layers = Vec::new();
            if expand > 1 {
                layers.push(Layer::new((before, inner), 1, 1, Relu6));
            }
            layers.push(Layer { groups: inner, ..Layer::new((inner, inner), kernel, stride, Relu6) });
            layers.push(Layer::new((inner, channels), 1, 1, Identity));
            before = channels;
            let shortcut = (index > 0).then_some(None);
            let is_scale = is_scale && index == count - 1;
            blocks.push(Block { layers, shortcut, of_sum: Identity, is_scale });
        }
    }
    Network { blocks, is_pooled: false }
}

impl Network {
    /// The scales that frozen layers give.
    fn teacher(
        &self,
        frozen: &[(Vec<FrozenConv2d>, Option<FrozenConv2d>)],
        x: &Tensor,
    ) -> Result<Vec<Tensor>> {
        let mut x = Activation::from_nchw_with(x, Kernels::Native)?;
        let mut scales = Vec::new();
        for (index, (block, (layers, down))) in self.blocks.iter().zip(frozen).enumerate() {
            let around = match down {
                Some(down) => down.forward(&x)?,
                None => x.clone(),
            };
            let layers: Vec<_> = layers.iter().collect();
            let shortcut = block.shortcut.map(|_| (&around, block.of_sum));
            x = self.pooled(index, frozen_layers(&x, &layers, shortcut)?)?;
            if block.is_scale {
                scales.push(x.to_nchw()?);
            }
        }
        Ok(scales)
    }

    fn pooled(&self, block: usize, x: Activation) -> Result<Activation> {
        if block == 0 && self.is_pooled { max_pool2d(&x, 3, 2, 1) } else { Ok(x) }
    }

    /// The scales that layers in training give, whose parameters are `vars`.
    fn student(&self, vars: &[[Var; 3]], x: &Tensor) -> Result<Vec<Tensor>> {
        let mut parameters = vars.iter();
        let mut train = |layer: &Layer| {
            let [weight, norm_weight, norm_bias] = parameters.next().unwrap().each_ref().map(Var::as_tensor);
            let (kind, nonlinearity) = (LayerKind::Conv(layer.config()), layer.kind);
            TrainLayer { weight, kind, norm_weight, norm_bias, epsilon: 1e-5, nonlinearity, running: None }
        };
        let mut x = Activation::from_nchw_with(x, Kernels::Native)?;
        let mut scales = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            let layers: Vec<_> = block.layers.iter().map(&mut train).collect();
            let y = match block.shortcut {
                Some(Some(down)) => {
                    let around = train_layers(&x, &[train(&down)], None)?.0;
                    add_nonlinearity(&train_layers(&x, &layers, None)?.0, &around, block.of_sum)?
                }
                shortcut => train_layers(&x, &layers, shortcut.map(|_| block.of_sum))?.0,
            };
            x = self.pooled(index, y)?;
            if block.is_scale {
                scales.push(x.to_nchw()?);
            }
        }
        Ok(scales)
    }

    fn all_layers(&self) -> impl Iterator<Item = &Layer> {
        self.blocks.iter().flat_map(|block| block.layers.iter().chain(block.shortcut.iter().flatten()))
    }

    /// The launches of the second of two steps with a batch of `n` images: the first one makes what
    /// later ones use again.
    fn step(&self, n: usize) -> Result<Counted> {
        let vars: Vec<[Var; 3]> = self
            .all_layers()
            .map(|layer| {
                let channel = || Tensor::zeros(layer.channels.1, DType::F32, &Device::Cpu);
                Ok([layer.weight()?, channel()?, channel()?].map(|tensor| Var::from_tensor(&tensor).unwrap()))
            })
            .collect::<Result<_>>()?;
        let prepare = || -> Result<_> {
            let block = |block: &Block| -> Result<_> {
                let layers = block.layers.iter().map(Layer::frozen).collect::<Result<Vec<_>>>()?;
                Ok((layers, block.shortcut.flatten().as_ref().map(Layer::frozen).transpose()?))
            };
            let teacher = self.blocks.iter().map(block).collect::<Result<Vec<_>>>()?;
            let flat: Vec<Var> = vars.iter().flatten().cloned().collect();
            Ok((teacher, Adam::with_kernels(flat, AdamConfig::default(), Kernels::Native)?))
        };
        let images = Tensor::zeros((n, 3, 256, 256), DType::F32, &Device::Cpu)?;
        let ((teacher, mut adam), _) = {
            let (prepared, count) = counted(prepare);
            (prepared?, count)
        };
        let mut step = || -> Result<()> {
            let targets = self.teacher(&teacher, &images)?;
            let loss = || {
                let scales = self.student(&vars, &images)?;
                assert_eq!(scales.iter().map(|x| x.dims()[2]).collect::<Vec<_>>(), [64, 32, 16]);
                let losses = scales.iter().zip(&targets);
                let losses = losses.map(|(student, teacher)| cosine_distance(student, teacher)?.mean_all());
                Tensor::stack(&losses.collect::<Result<Vec<_>>>()?, 0)?.sum_all()
            };
            adam.step(&gradients(loss)?.1)
        };
        counted(&mut step).0?;
        let (done, count) = counted(&mut step);
        done.map(|()| count)
    }
}

#[test]
fn a_step_takes_few_launches() {
    for (name, network, launches, gigabytes) in
        [("resnet18", resnet18(), 200, 6.0), ("lite0", lite0(), 400, 12.0)]
    {
        let count = network.step(16).unwrap();
        let traffic = count.bytes as f64 / 1e9;
        println!("{name}: {} launches, {traffic:.2} GB a step of 16 images", count.launches);
        assert!(count.launches <= launches && traffic <= gigabytes, "{name}: {count:?}");
    }
}
