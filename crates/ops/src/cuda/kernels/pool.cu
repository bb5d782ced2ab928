// Max pooling. The first of equal values wins; a NaN wins over all numbers, and the first NaN over the others.

// `taken` is the tap that won, ky * kernel + kx, of at most 16 x 16.
KERNEL max_pool(IN(real) x, OUT(real) y, OUT(unsigned char) taken, Window g) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= g.n * g.oh * g.ow * g.co) return;
    int c = at % g.co, ox = at / g.co % g.ow, oy = at / g.co / g.ow % g.oh, n = at / g.co / g.ow / g.oh;
    float best = 0.0f;
    int tap = -1;
    for (int ky = 0; ky < g.kh; ky++) {
        int iy = oy * g.stride + ky - g.top;
        if (iy < 0 || iy >= g.h) continue;
        for (int kx = 0; kx < g.kw; kx++) {
            int ix = ox * g.stride + kx - g.left;
            if (ix < 0 || ix >= g.w) continue;
            float v = value(x[((n * g.h + iy) * g.w + ix) * g.co + c]);
            if (tap < 0 || v > best || (v != v && best == best)) best = v, tap = ky * g.kw + kx;
        }
    }
    y[at] = rounded(best);
    taken[at] = (unsigned char)tap;
}

KERNEL max_pool_gradient(IN(real) grad, IN(unsigned char) taken, OUT(real) dx, Window g) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= g.n * g.h * g.w * g.co) return;
    int c = at % g.co, ix = at / g.co % g.w, iy = at / g.co / g.w % g.h, n = at / g.co / g.w / g.h;
    float sum = 0.0f;
    for (int ky = 0; ky < g.kh; ky++) {
        int oy = iy + g.top - ky;
        if (oy < 0 || oy % g.stride != 0 || oy / g.stride >= g.oh) continue;
        for (int kx = 0; kx < g.kw; kx++) {
            int ox = ix + g.left - kx;
            if (ox < 0 || ox % g.stride != 0 || ox / g.stride >= g.ow) continue;
            int from = ((n * g.oh + oy / g.stride) * g.ow + ox / g.stride) * g.co + c;
            if (taken[from] == ky * g.kw + kx) sum += value(grad[from]);
        }
    }
    dx[at] = rounded(sum);
}
