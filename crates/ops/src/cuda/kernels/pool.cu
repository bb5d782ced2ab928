// Max pooling. The first of equal values wins; a NaN wins over all numbers, and the first NaN over the others.

// `taken` is the tap that won, ky * kernel + kx, of at most 16 x 16.
KERNEL max_pool(IN(real) x, OUT(real) y, OUT(unsigned char) taken, Window g) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= g.n * g.oh * g.ow * g.co) return;
    int c = at % g.co, ox = at / g.co % g.ow, oy = at / g.co / g.ow % g.oh, n = at / g.co / g.ow / g.oh;
    float best = 0.0f;
    int tap = -1;
    each_tap(g, oy, ox, [&](int ky, int kx, int iy, int ix) {
        float v = value(x[((n * g.h + iy) * g.w + ix) * g.co + c]);
        if (tap < 0 || v > best || (v != v && best == best)) best = v, tap = ky * g.kw + kx;
    });
    y[at] = rounded(best);
    taken[at] = (unsigned char)tap;
}

KERNEL max_pool_gradient(IN(real) grad, IN(unsigned char) taken, OUT(real) dx, Window g) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= g.n * g.h * g.w * g.co) return;
    int c = at % g.co, ix = at / g.co % g.w, iy = at / g.co / g.w % g.h, n = at / g.co / g.w / g.h;
    float sum = 0.0f;
    each_reader(g, iy, ix, [&](int ky, int kx, int oy, int ox) {
        int from = ((n * g.oh + oy) * g.ow + ox) * g.co + c;
        if (taken[from] == ky * g.kw + kx) sum += value(grad[from]);
    });
    dx[at] = rounded(sum);
}
