// Dense convolution as products of matrices that are never written: each tile of a factor is gathered into shared memory.
//
// A block of 256 threads computes 64 x 64 values of the result, a thread 16 of them. Along the sum it proceeds 16 terms at a time.
// Weights are packed to [kh, kw, C_in, C_out] once a step by `pack_weight`.

// PITCH is the distance of two terms in shared memory: the threads of a warp then read from different banks.
enum { TILE = 64, DEPTH = 16, PITCH = 72 };

#ifdef FMAM_TENSOR
// A warp of 32 threads multiplies on tensor cores, in TF32: of a block's eight warps each has 16 rows and 32 columns, four fragments
// of 16 x 8. The places of values in the threads are those of mma.m16n8k8 in the PTX manual.
DEVICE float kept(float x) { return to_tf32(x); }

struct Tile {
    float sum[4][4] = {};
    DEVICE_MEMBER static int row(int, int i) { return THREAD / 32 % 4 * 16 + THREAD % 32 / 4 + i / 2 * 8; }
    DEVICE_MEMBER static int column(int fragment, int i) { return THREAD / 128 * 32 + fragment * 8 + THREAD % 4 * 2 + i % 2; }
    DEVICE_MEMBER void add(SHARED_ARRAY(float) lefts, SHARED_ARRAY(float) rights) {
        int place = THREAD % 32 / 4, row = THREAD / 32 % 4 * 16 + place, column = THREAD / 128 * 32 + place;
        for (int first = 0; first < DEPTH; first += 8) {
            int near = (first + THREAD % 4) * PITCH, far = near + 4 * PITCH;
            float a[4] = {lefts[near + row], lefts[near + row + 8], lefts[far + row], lefts[far + row + 8]};
            for (int j = 0; j < 4; j++) {
                float b[2] = {rights[near + column + j * 8], rights[far + column + j * 8]};
                multiply_fragments(sum[j], a, b);
            }
        }
    }
};
#else
DEVICE float kept(float x) { return x; }

struct Tile {
    float sum[4][4] = {};
    DEVICE_MEMBER static int row(int i, int) { return THREAD / 16 * 4 + i; }
    DEVICE_MEMBER static int column(int, int j) { return THREAD % 16 * 4 + j; }
    DEVICE_MEMBER void add(SHARED_ARRAY(float) lefts, SHARED_ARRAY(float) rights) {
        int y = row(0, 0), x = column(0, 0);
        for (int term = 0; term < DEPTH; term++) {
            float a[4], b[4];
            for (int i = 0; i < 4; i++) a[i] = lefts[term * PITCH + y + i];
            for (int i = 0; i < 4; i++) b[i] = rights[term * PITCH + x + i];
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) sum[i][j] += a[i] * b[j];
        }
    }
};
#endif

// Calls store(row, column, sum) for each value of this block's tile of a `rows` x `columns` product: `sum` is that of the terms
// first..last. `left.at` and `right.at` give factors, 0 outside of their matrix; `left.prepare` is called once for each of a thread's
// rows.
template <class Left, class Right, class Store>
DEVICE void product(Left left, Right right, int rows, int columns, int first, int last, Store store) {
    SHARED(float, lefts, DEPTH * PITCH);
    SHARED(float, rights, DEPTH * PITCH);
    Tile tile;
    int row = BLOCK_X * TILE, column = BLOCK_Y * TILE;
    for (int i = 0; i < 4; i++) left.prepare(i, row + Left::place(THREAD, i));
    for (int start = first; start < last; start += DEPTH) {
        for (int i = 0; i < 4; i++) {
            int term = Left::term(THREAD, i);
            lefts[term * PITCH + Left::place(THREAD, i)] = start + term < last ? kept(left.at(i, start + term)) : 0.0f;
        }
        for (int i = 0; i < 4; i++) {
            int term = Right::term(THREAD, i), at = Right::place(THREAD, i);
            rights[term * PITCH + at] = start + term < last ? kept(right.at(start + term, column + at)) : 0.0f;
        }
        BARRIER();
        tile.add(lefts, rights);
        BARRIER();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            int y = row + Tile::row(i, j), x = column + Tile::column(i, j);
            if (y < rows && x < columns) store(y, x, tile.sum[i][j]);
        }
}

// Which of a tile's elements a thread gathers: neighbouring threads take neighbouring terms of one place (a row of the left factor, a
// column of the right one), or neighbouring places of one term, whichever lie side by side in memory.
struct TermsFirst {
    static DEVICE_MEMBER int term(int thread, int) { return thread % DEPTH; }
    static DEVICE_MEMBER int place(int thread, int i) { return thread / DEPTH + i * 16; }
};
struct PlacesFirst {
    static DEVICE_MEMBER int term(int thread, int i) { return thread / TILE + i * 4; }
    static DEVICE_MEMBER int place(int thread, int) { return thread % TILE; }
};

// A value of an image, 0 outside of it.
DEVICE float pixel(IN(real) x, const Window& g, int image, int iy, int ix, int ci) {
    bool inside = iy >= 0 && iy < g.h && ix >= 0 && ix < g.w;
    return inside ? value(x[((image * g.h + iy) * g.w + ix) * g.ci + ci]) : 0.0f;
}

// Rows: output positions. Terms: (ky, kx, ci).
struct Windows : TermsFirst {
    IN(real) x;
    Window g;
    int image[4], y[4], x0[4];
    DEVICE_MEMBER void prepare(int i, int row) {
        image[i] = row < g.n * g.oh * g.ow ? row / g.ow / g.oh : -1;
        y[i] = row / g.ow % g.oh * g.stride - g.top;
        x0[i] = row % g.ow * g.stride - g.left;
    }
    DEVICE_MEMBER float at(int i, int term) const {
        if (image[i] < 0) return 0.0f;
        return pixel(x, g, image[i], y[i] + term / g.ci / g.kw, x0[i] + term / g.ci % g.kw, term % g.ci);
    }
};

// Rows: input positions. Terms: (ky, kx, co). The output position that reads the input position by this tap, if one does.
struct Readers : TermsFirst {
    IN(real) grad;
    Window g;
    int image[4], y[4], x0[4];
    DEVICE_MEMBER void prepare(int i, int row) {
        image[i] = row < g.n * g.h * g.w ? row / g.w / g.h : -1;
        y[i] = row / g.w % g.h + g.top;
        x0[i] = row % g.w + g.left;
    }
    DEVICE_MEMBER float at(int i, int term) const {
        int oy = reader(y[i] - term / g.co / g.kw, g.stride, g.oh), ox = reader(x0[i] - term / g.co % g.kw, g.stride, g.ow);
        if (image[i] < 0 || oy < 0 || ox < 0) return 0.0f;
        return value(grad[((image[i] * g.oh + oy) * g.ow + ox) * g.co + term % g.co]);
    }
};

// Rows: (ky, kx, ci). Terms: output positions.
struct Taps : PlacesFirst {
    IN(real) x;
    Window g;
    int ky[4], kx[4], ci[4];
    DEVICE_MEMBER void prepare(int i, int row) {
        ky[i] = row < g.kh * g.kw * g.ci ? row / g.ci / g.kw : -1;
        kx[i] = row / g.ci % g.kw;
        ci[i] = row % g.ci;
    }
    DEVICE_MEMBER float at(int i, int term) const {
        int iy = term / g.ow % g.oh * g.stride + ky[i] - g.top, ix = term % g.ow * g.stride + kx[i] - g.left;
        return ky[i] < 0 ? 0.0f : pixel(x, g, term / g.ow / g.oh, iy, ix, ci[i]);
    }
};

// Packed weights with terms (ky, kx, ci) and columns co.
struct Packed : PlacesFirst {
    IN(float) packed;
    int columns;
    DEVICE_MEMBER float at(int term, int column) const { return column < columns ? packed[term * columns + column] : 0.0f; }
};

// Packed weights with terms (ky, kx, co) and columns ci.
struct PackedTurned : TermsFirst {
    IN(float) packed;
    int ci, co;
    DEVICE_MEMBER float at(int term, int column) const {
        return column < ci ? packed[(term / co * ci + column) * co + term % co] : 0.0f;
    }
};

// The gradient of the result, with terms that are output positions.
struct Gradient : PlacesFirst {
    IN(real) grad;
    int columns;
    DEVICE_MEMBER float at(int term, int column) const { return column < columns ? value(grad[term * columns + column]) : 0.0f; }
};

// The place in a weight [C_out, C_in, kh, kw] of element `at` of the packed weight [kh, kw, C_in, C_out].
DEVICE int unpacked(int at, int co, int ci, int taps) { return (at % co * ci + at / co % ci) * taps + at / co / ci; }

KERNEL pack_weight(IN(float) weight, OUT(float) packed, int co, int ci, int taps) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at < co * ci * taps) packed[at] = weight[unpacked(at, co, ci, taps)];
}

// store(row, column, sum) for each value of a convolution.
template <class Store> DEVICE void convolve(IN(real) x, IN(float) packed, const Window& g, Store store) {
    Windows left;
    left.x = x, left.g = g;
    Packed right;
    right.packed = packed, right.columns = g.co;
    product(left, right, g.n * g.oh * g.ow, g.co, 0, g.kh * g.kw * g.ci, store);
}

KERNEL conv_forward(IN(real) x, IN(float) packed, OUT(real) y, Window g) {
    convolve(x, packed, g, [&](int row, int column, float sum) { y[row * g.co + column] = rounded(sum); });
}

// With what follows a frozen convolution: a bias [C_out], another image of the result's shape where `add` says so, and a nonlinearity.
KERNEL conv_frozen(IN(real) x, IN(float) packed, IN(float) bias, IN(real) added, OUT(real) y, Window g, int add, int kind) {
    convolve(x, packed, g, [&](int row, int column, float sum) {
        int at = row * g.co + column;
        y[at] = rounded(nonlinearity(sum + bias[column] + (add ? value(added[at]) : 0.0f), kind));
    });
}

// With `add`, plus a gradient that reaches the input on another way.
KERNEL conv_input_gradient(IN(real) grad, IN(float) packed, IN(real) added, OUT(real) dx, Window g, int add) {
    Readers left;
    left.grad = grad, left.g = g;
    PackedTurned right;
    right.packed = packed, right.ci = g.ci, right.co = g.co;
    product(left, right, g.n * g.h * g.w, g.ci, 0, g.kh * g.kw * g.co, [&](int row, int column, float sum) {
        int at = row * g.ci + column;
        dx[at] = rounded(sum + (add ? value(added[at]) : 0.0f));
    });
}

// Part BLOCK_Z of GRID_Z of the sum over all output positions, as packed weights: parts [GRID_Z, kh, kw, C_in, C_out].
KERNEL conv_weight_gradient(IN(real) x, IN(real) grad, OUT(float) parts, Window g) {
    Taps left;
    left.x = x, left.g = g;
    Gradient right;
    right.grad = grad, right.columns = g.co;
    int rows = g.kh * g.kw * g.ci, positions = g.n * g.oh * g.ow;
    int share = (positions + GRID_Z - 1) / GRID_Z, first = BLOCK_Z * share;
    int last = first + share < positions ? first + share : positions;
    product(left, right, rows, g.co, first, last,
            [&](int row, int column, float sum) { parts[(BLOCK_Z * rows + row) * g.co + column] = sum; });
}

// The sum of `count` parts of packed weights, as [C_out, C_in, kh, kw].
KERNEL sum_packed_parts(IN(float) parts, OUT(float) weight, int count, int co, int ci, int taps) {
    int at = BLOCK_X * THREADS + THREAD, length = co * ci * taps;
    if (at < length) weight[unpacked(at, co, ci, taps)] = sum_of_parts(parts, count, length, at);
}
