// Functions of each element.

// kind(x scale + shift + added), of images with C channels. Bits of `what` say which of the three there are: 1 a scale [C], 2 a shift
// [C], 4 another image.
KERNEL pointwise(IN(real) x, IN(float) scale, IN(float) shift, IN(real) added, OUT(real) y, int length, int c, int what, int kind) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= length) return;
    float z = value(x[at]);
    if (what & 1) z *= scale[at % c];
    if (what & 2) z += shift[at % c];
    if (what & 4) z += value(added[at]);
    y[at] = rounded(nonlinearity(z, kind));
}

// The gradient of a nonlinearity's input, from the gradients that reach its result `y` on two ways; on one without `both`.
KERNEL sum_masked(IN(real) first, IN(real) second, IN(real) y, OUT(real) sum, int length, int both, int kind) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= length) return;
    float total = value(first[at]) + (both ? value(second[at]) : 0.0f);
    sum[at] = rounded(passes(value(y[at]), kind) ? total : 0.0f);
}

// Pixels [N, H, W, 3] of 8 bits as the input of a network: (pixel / 255 - mean) / deviation of each channel.
KERNEL normalized_pixels(IN(unsigned char) pixels, IN(float) mean, IN(float) deviation, OUT(real) y, int length) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at < length) y[at] = rounded(((float)pixels[at] / 255.0f - mean[at % 3]) / deviation[at % 3]);
}
