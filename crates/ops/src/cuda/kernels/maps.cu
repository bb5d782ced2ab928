// Maps [N, H, W], f32: resampling and blur.

// A position of an axis of `count`, as the input positions `near` and `far` of an axis of `size` and the part `t` of the second.
struct Between {
    int near, far;
    float t;
    DEVICE_MEMBER Between(int at, int count, int size, int align_corners) {
        double place = align_corners ? (count > 1 ? (double)at * (size - 1) / (count - 1) : 0.0) : (at + 0.5) * size / count - 0.5;
        if (place < 0.0) place = 0.0;
        near = (int)place < size - 1 ? (int)place : size - 1;
        far = near + 1 < size - 1 ? near + 1 : size - 1;
        t = (float)(place - near);
    }
    // The part that input position `at` has.
    DEVICE_MEMBER float part(int at) const { return (near == at ? 1.0f - t : 0.0f) + (far == at ? t : 0.0f); }
};

// `combine` 0 sets y, 1 adds to it, 2 multiplies it.
KERNEL upsample_bilinear(IN(float) x, OUT(float) y, int n, int h, int w, int height, int width, int align_corners, int combine) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= n * height * width) return;
    Between row(at / width % height, height, h, align_corners), column(at % width, width, w, align_corners);
    int image = at / width / height * h;
    int near = (image + row.near) * w, far = (image + row.far) * w;
    float above = x[near + column.near] + (x[near + column.far] - x[near + column.near]) * column.t;
    float below = x[far + column.near] + (x[far + column.far] - x[far + column.near]) * column.t;
    float v = above + (below - above) * row.t;
    y[at] = combine == 0 ? v : combine == 1 ? y[at] + v : y[at] * v;
}

// The output positions, from `first` to before `last`, that may read input position `at`; a few more do no harm.
struct Reading {
    int first, last;
    DEVICE_MEMBER Reading(int at, int count, int size, int align_corners) {
        double step = align_corners ? (size > 1 ? (double)(count - 1) / (size - 1) : (double)count) : (double)count / size;
        double middle = align_corners ? at * step : (at + 0.5) * step - 0.5;
        double from = middle - step - 2.0, to = middle + step + 3.0;
        first = from > 0.0 && at > 0 ? (int)from : 0;
        last = to < count && at < size - 1 ? (int)to : count;
    }
};

KERNEL upsample_bilinear_gradient(IN(float) grad, OUT(float) dx, int n, int h, int w, int height, int width, int align_corners) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= n * h * w) return;
    int x = at % w, y = at / w % h, image = at / w / h * height;
    Reading rows(y, height, h, align_corners), columns(x, width, w, align_corners);
    float sum = 0.0f;
    for (int oy = rows.first; oy < rows.last; oy++) {
        float part = Between(oy, height, h, align_corners).part(y);
        if (part == 0.0f) continue;
        for (int ox = columns.first; ox < columns.last; ox++)
            sum += part * Between(ox, width, w, align_corners).part(x) * grad[(image + oy) * width + ox];
    }
    dx[at] = sum;
}

// The position in an axis of `size` that stands at `at` of the axis mirrored at its borders.
DEVICE int mirrored(int at, int size) {
    int period = 2 * size, wrapped = (at % period + period) % period;
    return wrapped < size ? wrapped : period - 1 - wrapped;
}

// A weighted sum of the 2 radius + 1 values around each, along rows, or along columns where `along_columns` says so.
KERNEL blur(IN(float) x, IN(float) weights, OUT(float) y, int n, int h, int w, int radius, int along_columns) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= n * h * w) return;
    int column = at % w, row = at / w % h, image = at / w / h * h;
    float sum = 0.0f;
    for (int k = -radius; k <= radius; k++) {
        int from = along_columns ? (image + mirrored(row + k, h)) * w + column : (image + row) * w + mirrored(column + k, w);
        sum += weights[radius + k] * x[from];
    }
    y[at] = sum;
}
