//! Traces of operators.

use candle_core::{DType, Device, Result, Tensor};
use fmam_ops::{Activation, Conv2dConfig, Nonlinearity, Trace, conv2d, nonlinearity, traced};

fn input(trace: &Trace, start: f32) -> Tensor {
    let values = (0..24).map(|k| start + k as f32).collect();
    trace.input(&Tensor::from_vec(values, (1, 2, 3, 4), &Device::Cpu).unwrap()).unwrap()
}

fn operators(trace: &Trace) -> Vec<&'static str> {
    trace.graph().nodes().iter().map(|node| node.operator).collect()
}

fn layer(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let y = conv2d(&Activation::from_nchw(x)?, weight, &Conv2dConfig::same(3))?;
    nonlinearity(&y, Nonlinearity::Relu6)?.to_nchw()
}

#[test]
fn operators_on_a_traced_tensor_write_themselves_down_and_others_do_not() {
    let trace = Trace::new();
    let x = input(&trace, -9.0);
    let weight = Tensor::ones((5, 2, 3, 3), DType::F32, &Device::Cpu).unwrap();
    let y = layer(&x, &weight).unwrap();
    assert_eq!(operators(&trace), ["Conv", "Clip"]);
    let plain = layer(&x.copy().unwrap(), &weight).unwrap();
    assert_eq!(operators(&trace).len(), 2);
    assert_eq!(y.dims(), plain.dims());
    let close = (y - plain).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(close < 1e-4, "{close}");
}

#[test]
fn a_constant_is_kept_once_and_what_nothing_needs_is_left_out() {
    let trace = Trace::new();
    let x = input(&trace, 0.0);
    let two = Tensor::new(2.0_f32, &Device::Cpu).unwrap();
    let y = traced::mul(&traced::add(&x, &two).unwrap(), &two).unwrap();
    traced::exp(&y).unwrap();
    let graph = trace.graph();
    assert_eq!((graph.constants().len(), graph.nodes().len()), (1, 3));
    let needed = graph.needed_for(&[trace.value(&y).unwrap()]);
    assert_eq!(needed.nodes().len(), 2);
    assert_eq!(needed.constant_bytes(), 4);
}

#[test]
fn an_operator_that_writes_nothing_down_is_found_out() {
    let run = |start: f32, by_candle: bool| {
        let trace = Trace::new();
        let x = input(&trace, start);
        let square = if by_candle { x.sqr() } else { traced::sqr(&x) }.unwrap();
        if by_candle {
            let error = trace.value(&square).unwrap_err().to_string();
            assert!(error.contains("no trace writes down"), "{error}");
        }
        traced::add(&x, &square).unwrap();
        trace.graph()
    };
    assert!(run(0.0, false).is_same(&run(1.0, false)).unwrap());
    assert!(!run(0.0, true).is_same(&run(1.0, true)).unwrap());
}

#[test]
fn tensors_of_two_traces_do_not_mix_and_an_ended_trace_knows_none() {
    let (one, other) = (Trace::new(), Trace::new());
    let (x, y) = (input(&one, 0.0), input(&other, 0.0));
    let error = traced::add(&x, &y).unwrap_err().to_string();
    assert!(error.contains("two traces"), "{error}");
    drop(other);
    let sum = traced::add(&x, &y).unwrap();
    assert!(one.value(&sum).is_ok() && one.value(&y).is_err());
    assert_eq!(one.graph().constants().len(), 1);
}
