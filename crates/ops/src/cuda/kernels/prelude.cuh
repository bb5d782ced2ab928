// What every kernel is written with. The same sources compile three ways: by NVRTC on the machine with the GPU, by nvcc where only
// compilation is checked, and by g++ behind shim.hpp, which runs blocks and threads as loops (FMAM_SHIM).
//
// Images lie channels last, [N, H, W, C]. `real` is the type of activations, float or bfloat16 (FMAM_BF16); parameters, statistics
// and sums are float. A kernel reads IN(type) and writes OUT(type), each an array of known length in the shim; INS and OUTS are several
// such arrays. With FMAM_TENSOR, dense convolutions multiply on tensor cores.

#ifdef FMAM_SHIM
#include "shim.hpp"
#else
#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define IN(type) const type* __restrict__
#define OUT(type) type* __restrict__
#define INS(type) const type* const* __restrict__
#define OUTS(type) type* const* __restrict__
#define SHARED(type, name, length) __shared__ type name[length]
#define SHARED_ARRAY(type) type*
#define BARRIER() __syncthreads()
#define BLOCK_X ((int)blockIdx.x)
#define BLOCK_Y ((int)blockIdx.y)
#define BLOCK_Z ((int)blockIdx.z)
#define GRID_X ((int)gridDim.x)
#define GRID_Y ((int)gridDim.y)
#define GRID_Z ((int)gridDim.z)
#define THREAD ((int)threadIdx.x)
#define THREADS ((int)blockDim.x)

#ifdef FMAM_TENSOR
// Rounded to the 10 bits of TF32, ties away from 0.
DEVICE float to_tf32(float x) {
    unsigned int bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
}

// sum += a b of a warp's fragments, as PTX's mma.m16n8k8 has them.
DEVICE void multiply_fragments(float* sum, const float* a, const float* b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
                   "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}
#endif
#endif

#ifdef FMAM_BF16
typedef unsigned short real;

DEVICE float value(real x) {
    union { unsigned int bits; float number; } both;
    both.bits = (unsigned int)x << 16;
    return both.number;
}

// To the nearest, ties to even; a NaN stays one.
DEVICE real rounded(float x) {
    union { unsigned int bits; float number; } both;
    both.number = x;
    if (x != x) return 0x7fc0;
    return (real)((both.bits + 0x7fffu + ((both.bits >> 16) & 1u)) >> 16);
}
#else
typedef float real;

DEVICE float value(real x) { return x; }
DEVICE real rounded(float x) { return x; }
#endif

DEVICE float larger(float a, float b) { return a > b ? a : b; }

// Sizes of a convolution, in the order of Geometry in geometry.rs.
struct Window {
    int n, h, w, ci, oh, ow, co, kh, kw, stride, top, left;
};

// Nonlinearity in nonlinearity.rs. Each keeps a NaN.
enum { IDENTITY = 0, RELU = 1, RELU6 = 2 };

DEVICE float nonlinearity(float x, int kind) {
    if (kind == IDENTITY) return x;
    if (x <= 0.0f) return 0.0f;
    return kind == RELU6 && x >= 6.0f ? 6.0f : x;
}

// True where the gradient of `nonlinearity` passes.
DEVICE bool passes(float x, int kind) {
    return kind == IDENTITY || (x > 0.0f && !(kind == RELU6 && x >= 6.0f));
}

// The output position, among `count`, whose window begins at `start` of the padded image; -1 where none does.
DEVICE int reader(int start, int stride, int count) {
    return start < 0 || start % stride != 0 || start / stride >= count ? -1 : start / stride;
}

// Calls visit(ky, kx, iy, ix) for each tap of the window of output position (oy, ox) that lies in the image.
template <class Visit> DEVICE void each_tap(const Window& g, int oy, int ox, Visit visit) {
    for (int ky = 0; ky < g.kh; ky++) {
        int iy = oy * g.stride + ky - g.top;
        if (iy < 0 || iy >= g.h) continue;
        for (int kx = 0; kx < g.kw; kx++) {
            int ix = ox * g.stride + kx - g.left;
            if (ix >= 0 && ix < g.w) visit(ky, kx, iy, ix);
        }
    }
}

// Calls visit(ky, kx, oy, ox) for each output position (oy, ox) that reads input position (iy, ix), by its tap (ky, kx).
template <class Visit> DEVICE void each_reader(const Window& g, int iy, int ix, Visit visit) {
    for (int ky = 0; ky < g.kh; ky++) {
        int oy = reader(iy + g.top - ky, g.stride, g.oh);
        if (oy < 0) continue;
        for (int kx = 0; kx < g.kw; kx++) {
            int ox = reader(ix + g.left - kx, g.stride, g.ow);
            if (ox >= 0) visit(ky, kx, oy, ox);
        }
    }
}

// The sum of element `at` of `count` parts of `length` values each, in their order.
DEVICE float sum_of_parts(IN(float) parts, int count, int length, int at) {
    float sum = 0.0f;
    for (int part = 0; part < count; part++) sum += parts[part * length + at];
    return sum;
}
