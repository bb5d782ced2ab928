//! A device that runs kernels, and the arguments of a launch.

use candle_core::Result;

use crate::error::OpsError;
use crate::geometry::Geometry;
use crate::nonlinearity::Nonlinearity;

/// A device that runs kernels, or something in its place.
pub(crate) trait Gpu {
    /// An array on the device.
    type Memory;

    /// An array of `length` activations, unset.
    fn reals(&self, length: usize) -> Result<Self::Memory>;

    /// An array of `length` numbers of another type, unset.
    fn array(&self, length: usize, element: Element) -> Result<Self::Memory>;

    /// An array of `length` f32, unset.
    fn floats(&self, length: usize) -> Result<Self::Memory> {
        self.array(length, Element::F32)
    }

    /// A table of unsigned integers.
    fn table(&self, values: &[u32]) -> Result<Self::Memory>;

    /// Bytes of the host.
    fn upload(&self, bytes: &[u8]) -> Result<Self::Memory>;

    /// Runs `kernel` on `grid` blocks of `threads` threads.
    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: usize,
        arguments: &[Argument<'_, Self::Memory>],
    ) -> Result<()>;
}

/// The type of activations and the numbers that dense convolutions multiply; parameters are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Real {
    F32,
    /// f32, of which convolutions multiply the 10 leading bits.
    Tf32,
    /// bf16, of which convolutions multiply all bits with the 10 leading ones of a weight.
    Bf16,
}

impl Real {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::Bf16];

    /// The name of the program.
    #[cfg(feature = "cuda")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "fmam-f32",
            Self::Tf32 => "fmam-tf32",
            Self::Bf16 => "fmam-bf16",
        }
    }
}

/// The types of arrays beside activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    U8,
    U32,
    F32,
}

/// An argument of a kernel.
#[derive(Debug)]
pub(crate) enum Argument<'a, M> {
    /// An array that the kernel reads.
    In(&'a M),
    /// An array that the kernel writes, and may read.
    Out(&'a M),
    /// Several arrays that the kernel reads.
    Ins(&'a [&'a M]),
    /// Several arrays that the kernel writes.
    Outs(&'a [&'a M]),
    Int(i32),
    Float(f32),
    Double(f64),
    /// The kernel's `Window`.
    Sizes([i32; 12]),
}

use Argument::{Int, Sizes};

/// Threads of a block.
pub(super) const THREADS: usize = 256;
/// Channels of a block in kernels that sum over rows, and rows that its threads take at once.
pub(super) const LANES: usize = 32;
pub(super) const LANE_ROWS: usize = THREADS / LANES;
/// Rows and columns of a product's tile.
pub(super) const TILE: usize = 64;
/// Blocks that keep all processors of a large GPU busy.
pub(super) const BUSY: usize = 264;

/// A number of elements, which kernels count with an `int`.
///
/// # Errors
/// Fails above 2^31 - 1.
pub(super) fn int(elements: usize) -> Result<i32> {
    i32::try_from(elements)
        .map_err(|_| OpsError::TooManyElements { op: "kernel", elements: elements as u64 }.into())
}

pub(super) fn number<'a, M>(elements: usize) -> Result<Argument<'a, M>> {
    Ok(Int(int(elements)?))
}

pub(super) fn sizes<'a, M>(g: &Geometry) -> Result<Argument<'a, M>> {
    let Geometry { n, h, w, ci, oh, ow, co, kh, kw, stride, top, left } = *g;
    for elements in [n * h * w * ci, n * oh * ow * co, co * ci * kh * kw] {
        int(elements)?;
    }
    let mut all = [0; 12];
    for (size, value) in all.iter_mut().zip([n, h, w, ci, oh, ow, co, kh, kw, stride, top, left]) {
        *size = int(value)?;
    }
    Ok(Sizes(all))
}

pub(super) fn kind<'a, M>(kind: Nonlinearity) -> Argument<'a, M> {
    Int(match kind {
        Nonlinearity::Identity => 0,
        Nonlinearity::Relu => 1,
        Nonlinearity::Relu6 => 2,
    })
}

/// Blocks for a thread an element.
pub(super) fn each(elements: usize) -> [usize; 3] {
    [elements.div_ceil(THREADS), 1, 1]
}

/// Parts of a sum over `rows` rows, for `blocks` blocks a part.
pub(super) fn parts(rows: usize, blocks: usize) -> usize {
    (2 * BUSY).div_ceil(blocks).min(rows.div_ceil(4 * LANE_ROWS)).max(1)
}
