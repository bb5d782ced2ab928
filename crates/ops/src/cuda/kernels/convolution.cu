// Dense convolution as products of matrices that are never written: each tile of a factor is gathered into shared memory.
//
// A block of 256 threads computes 64 x 64 values of the result, a thread 4 x 4. Along the sum it proceeds 16 terms at a time.
// Weights are packed to [kh, kw, C_in, C_out] once a step by `pack_weight`.

enum { TILE = 64, DEPTH = 16 };

// Adds to `sum` the products of terms first..last, for rows from `row` and columns from `column`. `left(row, term)` and
// `right(term, column)` give factors, 0 outside of their matrix; `left.prepare(row)` is called once for each of a thread's rows.
template <class Left, class Right>
DEVICE void multiply(Left& left, const Right& right, int row, int column, int first, int last, float (&sum)[4][4]) {
    SHARED(float, rows, DEPTH * TILE);
    SHARED(float, columns, DEPTH * TILE);
    for (int i = 0; i < 4; i++) left.prepare(i, row + Left::row_of(THREAD, i));
    int ty = THREAD / 16 * 4, tx = THREAD % 16 * 4;
    for (int start = first; start < last; start += DEPTH) {
        for (int i = 0; i < 4; i++) {
            int term = Left::term_of(THREAD, i);
            rows[term * TILE + Left::row_of(THREAD, i)] = start + term < last ? left.at(i, start + term) : 0.0f;
        }
        for (int i = 0; i < 4; i++) {
            int term = Right::term_of(THREAD, i), at = Right::column_of(THREAD, i);
            columns[term * TILE + at] = start + term < last ? right.at(start + term, column + at) : 0.0f;
        }
        BARRIER();
        for (int term = 0; term < DEPTH; term++) {
            float a[4], b[4];
            for (int i = 0; i < 4; i++) a[i] = rows[term * TILE + ty + i];
            for (int i = 0; i < 4; i++) b[i] = columns[term * TILE + tx + i];
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) sum[i][j] += a[i] * b[j];
        }
        BARRIER();
    }
}

// Which of a tile's elements a thread gathers: neighbouring threads take neighbouring terms of one row, or neighbouring rows of one
// term, whichever lie side by side in memory.
struct TermsFirst {
    static DEVICE_MEMBER int term_of(int thread, int) { return thread % DEPTH; }
    static DEVICE_MEMBER int row_of(int thread, int i) { return thread / DEPTH + i * 16; }
    static DEVICE_MEMBER int column_of(int thread, int i) { return thread / DEPTH + i * 16; }
};
struct RowsFirst {
    static DEVICE_MEMBER int term_of(int thread, int i) { return thread / TILE + i * 4; }
    static DEVICE_MEMBER int row_of(int thread, int) { return thread % TILE; }
    static DEVICE_MEMBER int column_of(int thread, int) { return thread % TILE; }
};

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
        int ci = term % g.ci, iy = y[i] + term / g.ci / g.kw, ix = x0[i] + term / g.ci % g.kw;
        if (image[i] < 0 || iy < 0 || iy >= g.h || ix < 0 || ix >= g.w) return 0.0f;
        return value(x[((image[i] * g.h + iy) * g.w + ix) * g.ci + ci]);
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
        int co = term % g.co, oy = y[i] - term / g.co / g.kw, ox = x0[i] - term / g.co % g.kw;
        if (image[i] < 0 || oy < 0 || ox < 0 || oy % g.stride != 0 || ox % g.stride != 0) return 0.0f;
        oy /= g.stride, ox /= g.stride;
        if (oy >= g.oh || ox >= g.ow) return 0.0f;
        return value(grad[((image[i] * g.oh + oy) * g.ow + ox) * g.co + co]);
    }
};

// Rows: (ky, kx, ci). Terms: output positions.
struct Taps : RowsFirst {
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
        if (ky[i] < 0 || iy < 0 || iy >= g.h || ix < 0 || ix >= g.w) return 0.0f;
        return value(x[((term / g.ow / g.oh * g.h + iy) * g.w + ix) * g.ci + ci[i]]);
    }
};

// Packed weights with terms (ky, kx, ci) and columns co.
struct Packed : RowsFirst {
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
struct Gradient : RowsFirst {
    IN(real) grad;
    int columns;
    DEVICE_MEMBER float at(int term, int column) const { return column < columns ? value(grad[term * columns + column]) : 0.0f; }
};

// [C_out, C_in, kh, kw] to [kh, kw, C_in, C_out].
KERNEL pack_weight(IN(float) weight, OUT(float) packed, int co, int ci, int taps) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= co * ci * taps) return;
    packed[at] = weight[(at % co * ci + at / co % ci) * taps + at / co / ci];
}

KERNEL conv_forward(IN(real) x, IN(float) packed, OUT(real) y, Window g) {
    Windows left;
    left.x = x, left.g = g;
    Packed right;
    right.packed = packed, right.columns = g.co;
    float sum[4][4] = {};
    int row = BLOCK_X * TILE, column = BLOCK_Y * TILE;
    multiply(left, right, row, column, 0, g.kh * g.kw * g.ci, sum);
    row += THREAD / 16 * 4, column += THREAD % 16 * 4;
    for (int i = 0; i < 4 && row + i < g.n * g.oh * g.ow; i++)
        for (int j = 0; j < 4 && column + j < g.co; j++) y[(row + i) * g.co + column + j] = rounded(sum[i][j]);
}

// As `conv_forward`, with what follows a frozen convolution: a bias [C_out], another image of the result's shape where `add` says so,
// and a nonlinearity.
KERNEL conv_frozen(IN(real) x, IN(float) packed, IN(float) bias, IN(real) added, OUT(real) y, Window g, int add, int kind) {
    Windows left;
    left.x = x, left.g = g;
    Packed right;
    right.packed = packed, right.columns = g.co;
    float sum[4][4] = {};
    int row = BLOCK_X * TILE, column = BLOCK_Y * TILE;
    multiply(left, right, row, column, 0, g.kh * g.kw * g.ci, sum);
    row += THREAD / 16 * 4, column += THREAD % 16 * 4;
    for (int i = 0; i < 4 && row + i < g.n * g.oh * g.ow; i++) {
        for (int j = 0; j < 4 && column + j < g.co; j++) {
            int at = (row + i) * g.co + column + j;
            float z = sum[i][j] + bias[column + j] + (add ? value(added[at]) : 0.0f);
            y[at] = rounded(nonlinearity(z, kind));
        }
    }
}

// With `add`, plus a gradient that reaches the input on another way.
KERNEL conv_input_gradient(IN(real) grad, IN(float) packed, IN(real) added, OUT(real) dx, Window g, int add) {
    Readers left;
    left.grad = grad, left.g = g;
    PackedTurned right;
    right.packed = packed, right.ci = g.ci, right.co = g.co;
    float sum[4][4] = {};
    int row = BLOCK_X * TILE, column = BLOCK_Y * TILE;
    multiply(left, right, row, column, 0, g.kh * g.kw * g.co, sum);
    row += THREAD / 16 * 4, column += THREAD % 16 * 4;
    for (int i = 0; i < 4 && row + i < g.n * g.h * g.w; i++) {
        for (int j = 0; j < 4 && column + j < g.ci; j++) {
            int at = (row + i) * g.ci + column + j;
            dx[at] = rounded(sum[i][j] + (add ? value(added[at]) : 0.0f));
        }
    }
}

// Part BLOCK_Z of GRID_Z of the sum over all output positions, as packed weights: parts [GRID_Z, kh, kw, C_in, C_out].
KERNEL conv_weight_gradient(IN(real) x, IN(real) grad, OUT(float) parts, Window g) {
    Taps left;
    left.x = x, left.g = g;
    Gradient right;
    right.grad = grad, right.columns = g.co;
    float sum[4][4] = {};
    int row = BLOCK_X * TILE, column = BLOCK_Y * TILE, positions = g.n * g.oh * g.ow;
    int share = (positions + GRID_Z - 1) / GRID_Z, first = BLOCK_Z * share;
    int last = first + share < positions ? first + share : positions;
    multiply(left, right, row, column, first, last, sum);
    row += THREAD / 16 * 4, column += THREAD % 16 * 4;
    int rows = g.kh * g.kw * g.ci;
    for (int i = 0; i < 4 && row + i < rows; i++)
        for (int j = 0; j < 4 && column + j < g.co; j++) parts[(BLOCK_Z * rows + row + i) * g.co + column + j] = sum[i][j];
}

// The sum of `count` parts of packed weights, as [C_out, C_in, kh, kw].
KERNEL sum_packed_parts(IN(float) parts, OUT(float) weight, int count, int co, int ci, int taps) {
    int at = BLOCK_X * THREADS + THREAD, length = co * ci * taps;
    if (at >= length) return;
    float sum = 0.0f;
    for (int part = 0; part < count; part++) sum += parts[part * length + at];
    weight[(at % co * ci + at / co % ci) * taps + at / co / ci] = sum;
}
