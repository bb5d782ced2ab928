// What every kernel is written with. The same sources compile three ways: by NVRTC on the machine with the GPU, by nvcc where only
// compilation is checked, and by g++ behind shim.hpp, which runs blocks and threads as loops (FMAM_SHIM).
//
// Images lie channels last, [N, H, W, C]. `real` is the type of activations, float or bfloat16 (FMAM_BF16); parameters, statistics
// and sums are float. A kernel reads IN(type) and writes OUT(type), each an array of known length in the shim.

#ifdef FMAM_SHIM
#include "shim.hpp"
#else
#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define IN(type) const type* __restrict__
#define OUT(type) type* __restrict__
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
