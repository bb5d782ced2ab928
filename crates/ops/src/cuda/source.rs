//! The text of the kernels.

/// Files of kernels, behind the prelude that all of them need.
const FILES: [&str; 8] = [
    include_str!("kernels/prelude.cuh"),
    include_str!("kernels/depthwise.cu"),
    include_str!("kernels/convolution.cu"),
    include_str!("kernels/norm.cu"),
    include_str!("kernels/pointwise.cu"),
    include_str!("kernels/pool.cu"),
    include_str!("kernels/cosine.cu"),
    include_str!("kernels/update.cu"),
];

/// The type of activations; parameters are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Real {
    F32,
    Bf16,
}

impl Real {
    /// Bytes of an element.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// All kernels for activations of one type, as one program.
pub(crate) fn program(real: Real) -> String {
    let define = match real {
        Real::F32 => "",
        Real::Bf16 => "#define FMAM_BF16\n",
    };
    format!("{define}{}", FILES.join("\n"))
}

/// The names of all kernels.
pub(crate) fn kernels() -> impl Iterator<Item = &'static str> {
    let lines = FILES.iter().flat_map(|file| file.lines());
    lines.filter_map(|line| line.strip_prefix("KERNEL ")?.split('(').next())
}
