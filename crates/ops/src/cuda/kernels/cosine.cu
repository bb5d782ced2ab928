// Cosine distance of two images at each position, 32 threads a position. `smallest` bounds each norm from below.

// a.b, a.a and b.b at a position, added up by its 32 threads in one order; 0 where `position` is none. `shared` has three rows of 256.
DEVICE void products(SHARED_ARRAY(float) shared, IN(real) a, IN(real) b, int position, int positions, int c, float& dot, float& aa,
                     float& bb) {
    dot = aa = bb = 0.0f;
    for (int k = THREAD % 32; position < positions && k < c; k += 32) {
        float left = value(a[position * c + k]), right = value(b[position * c + k]);
        dot += left * right, aa += left * left, bb += right * right;
    }
    shared[THREAD] = dot, shared[256 + THREAD] = aa, shared[512 + THREAD] = bb;
    BARRIER();
    int first = THREAD / 32 * 32;
    dot = aa = bb = 0.0f;
    for (int other = first; other < first + 32; other++) dot += shared[other], aa += shared[256 + other], bb += shared[512 + other];
}

KERNEL cosine_distance(IN(real) a, IN(real) b, OUT(float) distance, int positions, int c, float smallest) {
    SHARED(float, shared, 768);
    int position = BLOCK_X * 8 + THREAD / 32, lane = THREAD % 32;
    float dot, aa, bb;
    products(shared, a, b, position, positions, c, dot, aa, bb);
    if (lane == 0 && position < positions) distance[position] = 1.0f - dot / (larger(sqrtf(aa), smallest) * larger(sqrtf(bb), smallest));
}

// The gradient of `a`; that of `b` is the same with both exchanged. A norm at its bound is a constant.
KERNEL cosine_gradient(IN(real) a, IN(real) b, IN(float) grad, OUT(real) da, int positions, int c, float smallest) {
    SHARED(float, shared, 768);
    int position = BLOCK_X * 8 + THREAD / 32, lane = THREAD % 32;
    float dot, aa, bb;
    products(shared, a, b, position, positions, c, dot, aa, bb);
    if (position >= positions) return;
    float a_norm = larger(sqrtf(aa), smallest), b_norm = larger(sqrtf(bb), smallest);
    float across = -grad[position] / (a_norm * b_norm);
    float along = a_norm > smallest ? -across * dot / (a_norm * a_norm) : 0.0f;
    for (int k = lane; k < c; k += 32) {
        int at = position * c + k;
        da[at] = rounded(across * value(b[at]) + along * value(a[at]));
    }
}
