// Batch normalisation of rows of C channels by the statistics of the batch, with the nonlinearity after it.
//
// In kernels that sum over rows, 32 neighbouring threads of a block have 32 channels; its 8 rows of threads share the rows of part
// BLOCK_Y of GRID_Y. Parts are merged in their order, so that a result has the same bits every time.

// Means and sums of squared differences from them, [GRID_Y, 2, C], merged as by Chan, Golub and LeVeque 1979: a large mean costs no
// digits. `counts` [GRID_Y] has the rows of each part.
KERNEL norm_parts(IN(real) x, OUT(float) parts, OUT(float) counts, int rows, int c) {
    SHARED(float, means, 256);
    SHARED(float, squares, 256);
    int lane = THREAD % 32, row = THREAD / 32, channel = BLOCK_X * 32 + lane;
    float mean = 0.0f, square = 0.0f, count = 0.0f;
    if (channel < c) {
        for (int at = BLOCK_Y * 8 + row; at < rows; at += 8 * GRID_Y) {
            float v = value(x[at * c + channel]), apart = v - mean;
            count += 1.0f;
            mean += apart / count;
            square += apart * (v - mean);
        }
    }
    means[THREAD] = mean, squares[THREAD] = square;
    BARRIER();
    if (row != 0 || channel >= c) return;
    for (int other = 1; other < 8; other++) {
        int first = BLOCK_Y * 8 + other, step = 8 * GRID_Y;
        float more = first < rows ? (float)((rows - first + step - 1) / step) : 0.0f;
        if (more == 0.0f) break;
        float apart = means[other * 32 + lane] - mean, both = count + more;
        mean += apart * more / both;
        square += squares[other * 32 + lane] + apart * apart * count * more / both;
        count = both;
    }
    parts[(BLOCK_Y * 2 + 0) * c + channel] = mean;
    parts[(BLOCK_Y * 2 + 1) * c + channel] = square;
    if (channel == 0) counts[BLOCK_Y] = count;
}

// Mean and biased variance, [2, C], of `n_parts` parts, and the running statistics of the layer moved by `momentum` towards them,
// the variance as the unbiased one. With `momentum` 0 the running statistics stay.
KERNEL norm_statistics(IN(float) parts, IN(float) counts, OUT(float) statistics, OUT(float) running_mean,
                       OUT(float) running_variance, int n_parts, int c, float momentum) {
    int channel = BLOCK_X * THREADS + THREAD;
    if (channel >= c) return;
    double mean = 0.0, square = 0.0, count = 0.0;
    for (int part = 0; part < n_parts; part++) {
        double more = counts[part];
        if (more == 0.0) continue;
        double apart = parts[(part * 2 + 0) * c + channel] - mean, both = count + more;
        mean += apart * more / both;
        square += parts[(part * 2 + 1) * c + channel] + apart * apart * count * more / both;
        count = both;
    }
    statistics[channel] = (float)mean;
    statistics[c + channel] = (float)(square / count);
    if (momentum == 0.0f) return;
    double old_mean = running_mean[channel], old_variance = running_variance[channel];
    running_mean[channel] = (float)(old_mean + momentum * (mean - old_mean));
    running_variance[channel] = (float)(old_variance + momentum * (square / (count - 1.0) - old_variance));
}

DEVICE float inverse_deviation(float variance, double epsilon) { return (float)(1.0 / sqrt((double)variance + epsilon)); }

// kind((x - mean) / deviation * weight + bias), and with `add` the sum with another image before the nonlinearity `kind_of_sum`.
KERNEL norm_apply(IN(real) x, IN(float) statistics, IN(float) weight, IN(float) bias, IN(real) added, OUT(real) y, int rows, int c,
                  double epsilon, int kind, int add, int kind_of_sum) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= rows * c) return;
    int channel = at % c;
    float scale = weight[channel] * inverse_deviation(statistics[c + channel], epsilon);
    float z = nonlinearity((value(x[at]) - statistics[channel]) * scale + bias[channel], kind);
    if (add) z = nonlinearity(z + value(added[at]), kind_of_sum);
    y[at] = rounded(z);
}

// Sums over rows, [GRID_Y, 2, C]: of the gradient that passes the nonlinearity, and of its product with x - mean.
KERNEL norm_gradient_parts(IN(real) x, IN(real) grad, IN(float) statistics, IN(float) weight, IN(float) bias, OUT(float) parts,
                           int rows, int c, double epsilon, int kind) {
    SHARED(float, plains, 256);
    SHARED(float, products, 256);
    int lane = THREAD % 32, row = THREAD / 32, channel = BLOCK_X * 32 + lane;
    float plain = 0.0f, product = 0.0f;
    if (channel < c) {
        float mean = statistics[channel], scale = weight[channel] * inverse_deviation(statistics[c + channel], epsilon);
        for (int at = BLOCK_Y * 8 + row; at < rows; at += 8 * GRID_Y) {
            float centred = value(x[at * c + channel]) - mean;
            float g = passes(centred * scale + bias[channel], kind) ? value(grad[at * c + channel]) : 0.0f;
            plain += g;
            product += g * centred;
        }
    }
    plains[THREAD] = plain, products[THREAD] = product;
    BARRIER();
    if (row != 0 || channel >= c) return;
    for (int other = 1; other < 8; other++) plain += plains[other * 32 + lane], product += products[other * 32 + lane];
    parts[(BLOCK_Y * 2 + 0) * c + channel] = plain;
    parts[(BLOCK_Y * 2 + 1) * c + channel] = product;
}

// The gradients of bias and weight, [2, C] in this order.
KERNEL norm_parameter_gradient(IN(float) parts, IN(float) statistics, OUT(float) sums, int n_parts, int c, double epsilon) {
    int channel = BLOCK_X * THREADS + THREAD;
    if (channel >= c) return;
    double plain = 0.0, product = 0.0;
    for (int part = 0; part < n_parts; part++) {
        plain += parts[(part * 2 + 0) * c + channel];
        product += parts[(part * 2 + 1) * c + channel];
    }
    sums[channel] = (float)plain;
    sums[c + channel] = (float)(product * inverse_deviation(statistics[c + channel], epsilon));
}

// weight / deviation * (g - mean(g) - x_hat mean(g x_hat)), from the sums of `norm_parameter_gradient`.
KERNEL norm_input_gradient(IN(real) x, IN(real) grad, IN(float) statistics, IN(float) weight, IN(float) bias, IN(float) sums,
                           OUT(real) dx, int rows, int c, double epsilon, int kind) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= rows * c) return;
    int channel = at % c;
    float inverse = inverse_deviation(statistics[c + channel], epsilon), scale = weight[channel] * inverse;
    float centred = value(x[at]) - statistics[channel], count = (float)rows;
    float g = passes(centred * scale + bias[channel], kind) ? value(grad[at]) : 0.0f;
    dx[at] = rounded(scale * (g - sums[channel] / count - centred * inverse * sums[c + channel] / count));
}
