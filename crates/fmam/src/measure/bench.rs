use candle_core::{Device, Tensor, Var};
use fmam_core::Seed;
use fmam_experiment::device_name;
use fmam_losses::cosine_distillation;
use fmam_models::{AnyStudent, Backbone, LoadedBackbone, ModelError, Params, Precision, random_backbone};
use fmam_ops::{Adam, AdamConfig, Optimizer, free_memory, gpu, gradients, on_workers};
use serde::Serialize;

use super::timing::median_and_min_ms;
use crate::{Error, Session};

/// Side of the images in pixels.
const SIDE: usize = 256;

/// The kind of a student.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Student {
    /// The teacher's architecture, from image to features: the student of NKD.
    Symmetric,
    /// From features to features: the student of RKD.
    Reverse,
}

/// A workload of networks on images of 256 by 256 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// The features of a frozen backbone.
    Forward,
    /// Teacher, student and the anomaly map's distances.
    Score(Student),
    /// A training step: teacher, student, loss, gradients and Adam.
    TrainStep(Student),
    /// A training step with features of the teacher that are kept from an earlier epoch.
    CachedTrainStep(Student),
}

/// The speed of a workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speed {
    /// The backbone of [`Workload::Forward`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The method whose student is timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
    /// True if the teacher's features are kept from an earlier epoch.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached_teacher: bool,
    /// The backbone of that student.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<String>,
    /// Images in a batch.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// The device, `cpu` or `cuda:0`; `cuda+tf32:0` where convolutions multiply in TF32.
    pub device: String,
    /// The numbers of the convolutions.
    pub precision: Precision,
    /// The GPU, with the newest CUDA that its driver runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Bytes of the GPU's memory that the workload takes at its peak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_bytes: Option<u64>,
    /// The median time of a batch in milliseconds.
    pub median_ms: f64,
    /// The minimum.
    pub min_ms: f64,
    /// Images in a second at the median.
    pub images_per_second: f64,
}

impl Student {
    /// The method that has such a student.
    fn method(self) -> &'static str {
        match self {
            Self::Symmetric => "nkd",
            Self::Reverse => "rkd",
        }
    }

    fn build(self, teacher: &LoadedBackbone, params: &Params) -> Result<AnyStudent, ModelError> {
        Ok(match self {
            Self::Symmetric => AnyStudent::Symmetric(teacher.symmetric_student(params)?),
            Self::Reverse => AnyStudent::Reverse(teacher.reverse_student(params)?),
        })
    }
}

/// A workload with its sizes.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The kind of work.
    pub workload: Workload,
    /// The name of a backbone, whose weights are drawn at random.
    pub backbone: &'a str,
    /// The numbers of the convolutions.
    pub precision: Precision,
    /// Images in a batch.
    pub batch: usize,
}

/// Times a workload on the device and the threads of `session`: `n_repeats` times, at least once,
/// after two that are not measured.
///
/// # Errors
/// [`Error::Experiment`] for an unknown backbone or one without a student; [`Error::Tensor`].
pub fn measure_speed(session: &Session, load: &Load<'_>, n_repeats: usize) -> Result<Speed, Error> {
    let &Load { workload, backbone, precision, batch } = load;
    let device = session.device().clone();
    let free_before = gpu(&device).and_then(|_| free_memory(&device));
    let teacher = random_backbone(backbone, Seed::new(0), &device)?.with_precision(precision);
    let batch = batch.max(1);
    let images = images(batch, &device)?;
    let (median_ms, min_ms) = match workload {
        Workload::Forward => measure(session, n_repeats, || {
            teacher.features(&images)?;
            Ok(())
        })?,
        Workload::Score(kind) => {
            let params = Params::trainable(Seed::new(1), &device);
            kind.build(&teacher, &params)?;
            let params = Params::frozen(params.tensors()?, "random weights", &device);
            let student = kind.build(&teacher, &params)?;
            measure(session, n_repeats, || {
                let (features, output) = student.beside(&teacher, &images)?;
                for (teacher, student) in features.scales.iter().zip(&output.scales) {
                    fmam_ops::cosine_distance(teacher, student)?;
                }
                Ok(())
            })?
        }
        Workload::TrainStep(kind) | Workload::CachedTrainStep(kind) => {
            let params = Params::trainable(Seed::new(1), &device);
            let student = kind.build(&teacher, &params)?;
            let mut optimizer = Adam::new(params.vars(), AdamConfig::default())?;
            let is_cached = matches!(workload, Workload::CachedTrainStep(_));
            let cached = is_cached.then(|| teacher.features(&images)).transpose()?;
            measure(session, n_repeats, || {
                let features = cached.clone().map_or_else(|| teacher.features(&images), Ok)?;
                let (_, found) = gradients(|| {
                    let output = student.forward(&images, &features)?;
                    let losses = features.scales.iter().zip(&output.scales);
                    let losses =
                        losses.map(|(t, s)| cosine_distillation(t, s)).collect::<Result<Vec<_>, _>>()?;
                    Ok::<_, Error>(Tensor::stack(&losses, 0)?.sum_all()?)
                })?;
                Ok(optimizer.step(&found)?)
            })?
        }
    };
    let method = match workload {
        Workload::Forward => None,
        Workload::Score(student) | Workload::TrainStep(student) | Workload::CachedTrainStep(student) => {
            Some(student.method())
        }
    };
    let named = |is_wanted: bool| is_wanted.then(|| backbone.to_owned());
    Ok(Speed {
        network: named(method.is_none()),
        method,
        cached_teacher: matches!(workload, Workload::CachedTrainStep(_)),
        backbone: named(method.is_some()),
        batch,
        threads: session.loader_threads(),
        device: device_name(&device),
        precision,
        gpu: gpu(&device).map(|gpu| format!("{}, CUDA {}", gpu.name, gpu.driver)),
        // The pool gives nothing back: what is taken now is what was taken at the peak.
        gpu_bytes: free_before.zip(free_memory(&device)).map(|(before, after)| before.saturating_sub(after)),
        median_ms,
        min_ms,
        images_per_second: 1000.0 * batch as f64 / median_ms,
    })
}

/// A batch without a pattern that a kernel could profit from.
fn images(batch: usize, device: &Device) -> Result<Tensor, Error> {
    let count = batch * 3 * SIDE * SIDE;
    let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.618).fract() * 4.0 - 2.0).collect();
    // As a variable has been set, not as a view: what a loader gives.
    Ok(Var::from_vec(values, (batch, 3, SIDE, SIDE), device)?.as_detached_tensor())
}

/// Median and minimum of the times of `work` in milliseconds, after two runs that warm caches and
/// buffers.
fn measure(
    session: &Session,
    n_repeats: usize,
    mut work: impl FnMut() -> Result<(), Error> + Send,
) -> Result<(f64, f64), Error> {
    let device = session.device();
    // As scoring and training do, each time anew.
    session.on_threads(|| measure_here(device, n_repeats, || on_workers(&mut work)))
}

fn measure_here(
    device: &Device,
    n_repeats: usize,
    mut work: impl FnMut() -> Result<(), Error>,
) -> Result<(f64, f64), Error> {
    // A GPU works on after the host has submitted its work.
    let mut work = || {
        work()?;
        Ok::<_, Error>(device.synchronize()?)
    };
    for _ in 0..2 {
        work()?;
    }
    median_and_min_ms(n_repeats, work)
}
