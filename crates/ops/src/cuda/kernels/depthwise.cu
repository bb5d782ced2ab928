// Depthwise convolution: a kernel of kh x kw for each channel, its weights [C, 1, kh, kw]. One thread computes one value of one
// channel; neighbouring threads have neighbouring channels.

DEVICE float depthwise(IN(real) x, IN(float) weight, const Window& g, int at) {
    int c = at % g.co, ox = at / g.co % g.ow, oy = at / g.co / g.ow % g.oh, n = at / g.co / g.ow / g.oh;
    float sum = 0.0f;
    each_tap(g, oy, ox, [&](int ky, int kx, int iy, int ix) {
        sum += value(x[((n * g.h + iy) * g.w + ix) * g.co + c]) * weight[(c * g.kh + ky) * g.kw + kx];
    });
    return sum;
}

KERNEL depthwise_forward(IN(real) x, IN(float) weight, OUT(real) y, Window g) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at < g.n * g.oh * g.ow * g.co) y[at] = rounded(depthwise(x, weight, g, at));
}

// With what follows a frozen convolution.
KERNEL depthwise_frozen(IN(real) x, IN(float) weight, IN(float) bias, OUT(real) y, Window g, int kind) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at < g.n * g.oh * g.ow * g.co) y[at] = rounded(nonlinearity(depthwise(x, weight, g, at) + bias[at % g.co], kind));
}

KERNEL depthwise_input_gradient(IN(real) grad, IN(float) weight, OUT(real) dx, Window g) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= g.n * g.h * g.w * g.co) return;
    int c = at % g.co, ix = at / g.co % g.w, iy = at / g.co / g.w % g.h, n = at / g.co / g.w / g.h;
    float sum = 0.0f;
    each_reader(g, iy, ix, [&](int ky, int kx, int oy, int ox) {
        sum += value(grad[((n * g.oh + oy) * g.ow + ox) * g.co + c]) * weight[(c * g.kh + ky) * g.kw + kx];
    });
    dx[at] = rounded(sum);
}

// Of a block, 32 neighbouring threads have 32 channels; its 8 rows of threads share the output positions of part BLOCK_Y of GRID_Y.
// BLOCK_Z is the tap. Gives one sum a part: parts [GRID_Y, C, kh, kw], which `sum_parts` adds up.
KERNEL depthwise_weight_gradient(IN(real) x, IN(real) grad, OUT(float) parts, Window g) {
    SHARED(float, sums, 256);
    int lane = THREAD % 32, row = THREAD / 32;
    int c = BLOCK_X * 32 + lane;
    int ky = BLOCK_Z / g.kw, kx = BLOCK_Z % g.kw;
    float sum = 0.0f;
    if (c < g.co) {
        for (int at = BLOCK_Y * 8 + row; at < g.n * g.oh * g.ow; at += 8 * GRID_Y) {
            int iy = at / g.ow % g.oh * g.stride + ky - g.top, ix = at % g.ow * g.stride + kx - g.left;
            if (iy < 0 || iy >= g.h || ix < 0 || ix >= g.w) continue;
            sum += value(x[((at / g.ow / g.oh * g.h + iy) * g.w + ix) * g.co + c]) * value(grad[at * g.co + c]);
        }
    }
    sums[THREAD] = sum;
    BARRIER();
    if (row != 0 || c >= g.co) return;
    for (int other = 1; other < 8; other++) sum += sums[other * 32 + lane];
    parts[(BLOCK_Y * g.co + c) * g.kh * g.kw + BLOCK_Z] = sum;
}

KERNEL sum_parts(IN(float) parts, OUT(float) sums, int count, int length) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at < length) sums[at] = sum_of_parts(parts, count, length, at);
}
