//! The text of the kernels.

use super::gpu::Real;

/// Files of kernels, behind the prelude that all of them need.
const FILES: [&str; 10] = [
    include_str!("kernels/prelude.cuh"),
    include_str!("kernels/depthwise.cu"),
    include_str!("kernels/convolution.cu"),
    include_str!("kernels/norm.cu"),
    include_str!("kernels/pointwise.cu"),
    include_str!("kernels/pool.cu"),
    include_str!("kernels/cosine.cu"),
    include_str!("kernels/update.cu"),
    include_str!("kernels/maps.cu"),
    include_str!("kernels/rows.cu"),
];

/// All kernels for activations of one type, as one program.
pub(crate) fn program(real: Real) -> String {
    let define = match real {
        Real::F32 => "",
        Real::Tf32 => "#define FMAM_TENSOR\n",
        Real::Bf16 => "#define FMAM_TENSOR\n#define FMAM_BF16\n",
    };
    format!("{define}{}", FILES.join("\n"))
}

/// The names of all kernels.
#[cfg(test)]
pub(crate) fn kernels() -> impl Iterator<Item = &'static str> {
    let lines = FILES.iter().flat_map(|file| file.lines());
    lines.filter_map(|line| line.strip_prefix("KERNEL ")?.split('(').next())
}
