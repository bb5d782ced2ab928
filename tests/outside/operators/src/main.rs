//! A convolution of fmam-ops between layers and an optimizer of candle-nn.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{Linear, Module, Optimizer, SGD};
use fmam_ops::{Activation, Conv2dConfig, conv2d};

fn main() -> Result<()> {
    let device = Device::Cpu;
    let ramp = |shape: &[usize]| -> Result<Tensor> {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| ((i * 7) % 11) as f32 / 11.0 - 0.4);
        Tensor::from_iter(values, &device)?.reshape(shape)
    };
    let images = ramp(&[2, 3, 8, 8])?;
    let targets = Tensor::new(&[[1.0_f32], [-1.0]], &device)?;
    let kernel = Var::from_tensor(&ramp(&[4, 3, 3, 3])?)?;
    let weight = Var::from_tensor(&ramp(&[1, 4])?)?;
    let head = Linear::new(weight.as_tensor().clone(), Some(Tensor::zeros(1, DType::F32, &device)?));

    let mut optimizer = SGD::new(vec![kernel.clone(), weight], 0.1)?;
    let mut losses = Vec::new();
    for _ in 0..20 {
        let x = Activation::from_nchw(&images)?;
        let x = conv2d(&x, &kernel, &Conv2dConfig::same(3))?.to_nchw()?.relu()?;
        let loss = (head.forward(&x.mean((2, 3))?)? - &targets)?.sqr()?.mean_all()?;
        losses.push(loss.to_scalar::<f32>()?);
        optimizer.backward_step(&loss)?;
    }
    println!("loss {:.4} -> {:.4}", losses[0], losses[losses.len() - 1]);
    assert!(losses[losses.len() - 1] < losses[0]);
    Ok(())
}
