// Sums of gradients.

// The gradient of a nonlinearity's input, from the gradients that reach its result `y` on two ways; on one without `both`.
KERNEL sum_masked(IN(real) first, IN(real) second, IN(real) y, OUT(real) sum, int length, int both, int kind) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= length) return;
    float total = value(first[at]) + (both ? value(second[at]) : 0.0f);
    sum[at] = rounded(passes(value(y[at]), kind) ? total : 0.0f);
}
