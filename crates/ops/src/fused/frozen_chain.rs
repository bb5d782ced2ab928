//! Frozen layers that run together.

use candle_core::Result;
use pulp::{Arch, Simd, WithSimd};

use crate::activation::Activation;
use crate::cpu::panels::machine_lanes;
use crate::cpu::parallel::with_scratch;
use crate::cpu::target::Target;
use crate::error::OpsError;
use crate::fused::frozen::FrozenConv2d;
use crate::fused::inference::infer;
use crate::fused::inverted_residual::{InvertedResidual, Part};
use crate::fused::stage::{Kernel, Source, Stage, Window};
use crate::kernels::Path;
use crate::nonlinearity::Nonlinearity;

/// Frozen layers one after the other, with a shortcut added to the result:
/// `nonlinearity(layers(x) + shortcut)`.
///
/// Pointwise and depthwise layers, as in an inverted residual, run together on native kernels, also
/// behind a dense layer: a few rows, of a few channels of an inverted residual, go through all
/// layers while they are in the cache, and the wide maps between the layers never exist as a whole.
/// For finite weights the result has the same bits as that of the layers one by one.
///
/// # Shapes and units
/// `x`: (N, C, H, W); the shortcut has the result's shape. Gives the result, detached.
///
/// # Errors
/// As [`FrozenConv2d::forward`]; when there is no layer.
pub fn frozen_layers(
    x: &Activation,
    layers: &[&FrozenConv2d],
    shortcut: Option<(&Activation, Nonlinearity)>,
) -> Result<Activation> {
    let Some((last, first)) = layers.split_last() else {
        return Err(OpsError::NoLayer { op: "frozen_layers" }.into());
    };
    if let Some(chain) = Chain::of(x, layers, shortcut.map(|(_, kind)| kind))? {
        let g = &chain.last().geometry;
        let (residual, dims) = (shortcut.map(|(residual, _)| residual), (g.n, g.co, g.oh, g.ow));
        return infer("frozen_layers", x, residual, dims, |x, residual, y| chain.compute(x, residual, y));
    }
    let y = first.iter().try_fold(x.clone(), |y, layer| layer.forward(&y))?;
    match shortcut {
        None => last.forward(&y),
        Some((shortcut, kind)) => last.forward_add(&y, shortcut, kind),
    }
}

/// Layers that run together on one shape of input.
struct Chain<'a> {
    stages: Vec<Stage<'a>>,
    /// Rows of the result to a segment, which is one thread's.
    segment: usize,
    /// Rows of the result that are computed at a time.
    strip: usize,
    /// Rows kept of each stage's result but the last's.
    kept: Vec<usize>,
}

impl<'a> Chain<'a> {
    /// The chain for `layers` on `x`, if native kernels can run it and it pays.
    fn of(x: &Activation, layers: &[&'a FrozenConv2d], last: Option<Nonlinearity>) -> Result<Option<Self>> {
        if x.path() != Path::Cpu {
            return Ok(None);
        }
        let mut dims = x.dims()?;
        let mut stages = Vec::with_capacity(layers.len());
        for layer in layers {
            let Some(stage) = layer.stage(dims)? else { return Ok(None) };
            let g = &stage.geometry;
            dims = (g.n, g.co, g.oh, g.ow);
            stages.push(stage);
        }
        if let (Some(kind), Some(last)) = (last, stages.last_mut()) {
            // `forward_add` applies two nonlinearities; a chain applies one.
            if last.nonlinearity != Nonlinearity::Identity {
                return Ok(None);
            }
            last.nonlinearity = kind;
        }
        let is_dense = stages.iter().any(|stage| matches!(stage.kernel, Kernel::Dense(_)));
        if is_dense && InvertedResidual::of(&stages).is_none() {
            return Ok(None);
        }
        let overlap: usize = stages.iter().map(Stage::overlap).sum();
        if stages.len() < 2 || overlap == 0 {
            return Ok(None);
        }
        let Some(segment) = segment_rows(&stages) else { return Ok(None) };
        let kept = |strip| {
            let mut rows = strip;
            let mut kept: Vec<_> = stages
                .iter()
                .rev()
                .map(|stage| {
                    rows = stage.reach(rows);
                    rows
                })
                .collect();
            // The last number counts rows of the chain's input, which are not kept.
            kept.pop();
            kept.reverse();
            kept
        };
        // The rows stay in the second-level cache together with a panel of a weight.
        const KEPT_ELEMENTS: usize = 1 << 16;
        let size = |strip: &usize| -> usize {
            kept(*strip).iter().zip(&stages).map(|(rows, stage)| rows * stage.row_len()).sum()
        };
        let strip = (1..=segment).take_while(|strip| size(strip) <= KEPT_ELEMENTS).last().unwrap_or(1);
        let kept = kept(strip);
        Ok(Some(Self { segment, strip, kept, stages }))
    }

    fn last(&self) -> &Stage<'a> {
        &self.stages[self.stages.len() - 1]
    }

    /// Writes every element of `y`.
    fn compute(&self, x: &[f32], residual: Option<&[f32]>, y: Target<'_>) {
        let (first, last) = (&self.stages[0].geometry, &self.last().geometry);
        let (input, image) = (first.h * first.w * first.ci, last.oh * self.last().row_len());
        let block = self.segment * self.last().row_len();
        let inverted = InvertedResidual::of(&self.stages);
        let scratch = match &inverted {
            Some(layers) => layers.scratch(machine_lanes()),
            None => self.kept.iter().zip(&self.stages).map(|(rows, stage)| rows * stage.row_len()).sum(),
        };
        y.pieces(image, block, |n, index, y| {
            let (x, first) = (&x[n * input..][..input], index * self.segment);
            let residual = residual.map(|r| &r[n * image + index * block..][..y.len()]);
            with_scratch(scratch, |scratch| match &inverted {
                Some(layers) => Arch::new().dispatch(Part { layers, x, first, y, residual, scratch }),
                None => Arch::new().dispatch(Segment { chain: self, x, residual, y, first, scratch }),
            });
        });
    }
}

/// Rows of the result for one thread: enough that a layer computes at most 1/8 of its rows twice,
/// or 1/4 where the layers are an inverted residual, and otherwise so many that all threads have
/// the same work or several pieces. `None` if no number is both.
fn segment_rows(stages: &[Stage<'_>]) -> Option<usize> {
    let last = &stages[stages.len() - 1].geometry;
    let threads = rayon::current_num_threads();
    if threads == 1 {
        return Some(last.oh);
    }
    let shared_part = if InvertedResidual::of(stages).is_some() { 4 } else { 8 };
    // From the last layer up: rows of its input that two neighbouring segments read, and the stride
    // from them to the result. The input of the first layer is not computed.
    let (mut halo, mut stride, mut fewest) = (0, 1, 1);
    for stage in stages.iter().skip(1).rev() {
        halo = stage.overlap() + stage.geometry.stride * halo;
        stride *= stage.geometry.stride;
        fewest = fewest.max((shared_part * halo).div_ceil(stride)).min(last.oh.max(1));
    }
    let most = (last.oh / fewest).max(1);
    let pieces = |segments: usize| last.n * last.oh.div_ceil(last.oh.div_ceil(segments));
    let is_even =
        |&segments: &usize| pieces(segments).is_multiple_of(threads) || pieces(segments) >= 4 * threads;
    let segments = (1..=most).find(is_even).unwrap_or(most);
    (pieces(segments) >= threads).then(|| last.oh.div_ceil(segments))
}

/// Rows of one image's result, computed by one thread.
struct Segment<'a, 's> {
    chain: &'a Chain<'a>,
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    y: &'s mut [f32],
    /// First row of the result.
    first: usize,
    scratch: &'s mut [f32],
}

impl WithSimd for Segment<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { chain, x, residual, y, first, scratch } = self;
        let stages = &chain.stages;
        let mut rest = scratch;
        let mut windows = Vec::with_capacity(stages.len());
        for (stage, &kept) in stages.iter().zip(&chain.kept) {
            let row_len = stage.row_len();
            let (data, others) = rest.split_at_mut(kept * row_len);
            rest = others;
            windows.push(Window { data, row_len, base: 0, kept, next: 0 });
        }
        let row_len = chain.last().row_len();
        let count = y.len() / row_len;
        windows.push(Window { data: y, row_len, base: first, kept: count, next: first });
        let mut needed = vec![0..0; stages.len()];
        for start in (first..first + count).step_by(chain.strip) {
            let mut rows = start..(start + chain.strip).min(first + count);
            for (needed, stage) in needed.iter_mut().zip(stages).rev() {
                *needed = rows.clone();
                rows = stage.sources(&rows);
            }
            for (index, stage) in stages.iter().enumerate() {
                let (before, after) = windows.split_at_mut(index);
                let Some(to) = after.first_mut() else { return };
                let rows = needed[index].start.max(to.next)..needed[index].end;
                // A pointwise layer reads these rows alone, so that they may begin at the start of
                // the window.
                if stages.get(index + 1).is_some_and(|next| matches!(next.kernel, Kernel::Pointwise(_))) {
                    to.base = rows.start;
                }
                to.next = needed[index].end.max(to.next);
                let g = &stage.geometry;
                let from = match before.last() {
                    None => Source { data: x, row_len: g.w * g.ci, base: 0, kept: g.h },
                    Some(w) => Source { data: &*w.data, row_len: w.row_len, base: w.base, kept: w.kept },
                };
                let residual = residual.filter(|_| index + 1 == stages.len());
                stage.run(simd, &from, rows, residual, to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::conv2d_config::{Conv2dConfig, Padding};
    use crate::cpu::winograd::tests::values as numbers;
    use crate::pointwise::add_nonlinearity;

    fn values(shape: &[usize], seed: u64) -> Tensor {
        Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu).unwrap()
    }

    fn layer(channels: (usize, usize), kernel: usize, config: Conv2dConfig, seed: u64) -> FrozenConv2d {
        let weight = values(&[channels.1, channels.0 / config.groups, kernel, kernel], seed);
        let bias = values(&[channels.1], seed + 1);
        let kind = if kernel > 1 { Nonlinearity::Relu6 } else { Nonlinearity::Identity };
        FrozenConv2d::new(&weight, Some(&bias), config, kind).unwrap()
    }

    fn pointwise(input: usize, output: usize, seed: u64) -> FrozenConv2d {
        layer((input, output), 1, Conv2dConfig::same(1), seed)
    }

    fn depthwise(c: usize, kernel: usize, stride: usize, padding: Padding, seed: u64) -> FrozenConv2d {
        layer((c, c), kernel, Conv2dConfig { stride, padding, groups: c }, seed)
    }

    fn bits(y: &Activation) -> Vec<u32> {
        let values: Vec<f32> = y.to_nchw().unwrap().flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    /// Runs `layers` together on several numbers of threads and compares with the layers one by
    /// one. The images are tall, so that two threads get several segments each and a segment
    /// several strips.
    fn check(layers: &[FrozenConv2d], shape: &[usize], with_shortcut: bool) {
        let layers: Vec<_> = layers.iter().collect();
        let x = Activation::from_nchw(&values(shape, 99)).unwrap();
        let y = layers.iter().try_fold(x.clone(), |y, layer| layer.forward(&y)).unwrap();
        let shortcut = values(&<[usize; 4]>::from(y.dims().unwrap()), 98);
        let shortcut = Activation::from_nchw(&shortcut).unwrap();
        let shortcut = with_shortcut.then_some((&shortcut, Nonlinearity::Relu));
        let expected = match shortcut {
            None => y,
            Some((shortcut, kind)) => add_nonlinearity(&y, shortcut, kind).unwrap(),
        };
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let actual = pool.install(|| {
                let chain = Chain::of(&x, &layers, shortcut.map(|(_, kind)| kind)).unwrap().unwrap();
                assert!(threads == 1 || chain.segment < chain.last().geometry.oh || shape[0] > 1);
                let is_inverted = InvertedResidual::of(&chain.stages).is_some();
                assert!(is_inverted || chain.strip < chain.segment, "one strip only");
                frozen_layers(&x, &layers, shortcut).unwrap()
            });
            assert_eq!(bits(&actual), bits(&expected), "{threads} threads");
        }
    }

    #[test]
    fn layers_that_run_together_give_the_bits_of_the_layers_alone() {
        for (kernel, stride, padding) in [
            (3, 1, Padding::TfSame),
            (3, 2, Padding::TfSame),
            (5, 2, Padding::Symmetric(2)),
            (5, 1, Padding::Symmetric(0)),
            (4, 3, Padding::Symmetric(1)),
            // Whole strips lie in the zeros.
            (3, 1, Padding::Symmetric(30)),
        ] {
            let layers =
                [pointwise(7, 150, 1), depthwise(150, kernel, stride, padding, 3), pointwise(150, 9, 5)];
            check(&layers, &[1, 7, 131, 61], false);
            check(&layers, &[3, 7, 130, 40], true);
        }
    }

    #[test]
    fn several_depthwise_layers_run_together() {
        let same = |seed, kernel, stride| depthwise(44, kernel, stride, Padding::TfSame, seed);
        check(&[same(1, 3, 2), pointwise(44, 44, 3), same(5, 5, 1)], &[1, 44, 301, 90], false);
        check(&[pointwise(5, 44, 1), same(3, 5, 1), same(5, 3, 2)], &[2, 5, 301, 90], false);
        check(
            &[same(1, 5, 1), pointwise(44, 44, 3), same(5, 3, 1), pointwise(44, 4, 7)],
            &[1, 44, 301, 90],
            true,
        );
    }

    #[test]
    fn a_dense_layer_runs_before_them() {
        let dense = |channels, kernel, stride, padding, seed| {
            layer(channels, kernel, Conv2dConfig { stride, padding, groups: 1 }, seed)
        };
        for (kernel, stride, padding) in [
            (3, 2, Padding::TfSame),
            (3, 1, Padding::Symmetric(1)),
            (5, 2, Padding::Symmetric(0)),
            (1, 2, Padding::Symmetric(0)),
            // Whole windows lie in the zeros.
            (3, 2, Padding::Symmetric(30)),
        ] {
            let layers = [
                dense((3, 40), kernel, stride, padding, 1),
                depthwise(40, 3, 1, Padding::TfSame, 3),
                pointwise(40, 9, 5),
            ];
            check(&layers, &[1, 3, 131, 70], false);
            check(&layers, &[3, 3, 130, 7], true);
        }
        let narrow = [
            dense((3, 40), 3, 2, Padding::TfSame, 1),
            depthwise(40, 5, 1, Padding::TfSame, 3),
            pointwise(40, 9, 5),
        ];
        check(&narrow, &[1, 3, 131, 1], false);
        check(&[depthwise(44, 5, 2, Padding::TfSame, 3), pointwise(44, 9, 5)], &[1, 44, 131, 70], false);
    }

    #[test]
    fn small_images_and_other_layers_go_one_by_one() {
        let layers = [pointwise(4, 8, 1), depthwise(8, 5, 1, Padding::TfSame, 3)];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let x = Activation::from_nchw(&values(&[1, 4, 9, 9], 9)).unwrap();
        pool.install(|| assert!(Chain::of(&x, &[&layers[0], &layers[1]], None).unwrap().is_none()));
        let dense = layer((4, 4), 3, Conv2dConfig::same(3), 5);
        assert!(Chain::of(&x, &[&dense, &layers[0]], None).unwrap().is_none());
        let wrong = Activation::from_nchw(&values(&[1, 8, 9, 8], 9)).unwrap();
        assert!(frozen_layers(&x, &[&layers[0], &layers[1]], Some((&wrong, Nonlinearity::Relu))).is_err());
        assert!(frozen_layers(&x, &[], None).is_err());
    }
}
