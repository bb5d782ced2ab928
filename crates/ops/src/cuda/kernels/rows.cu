// Feature vectors as rows of `width` values, f32: nearest neighbours, the choice of a coreset, and sums of products.

enum { LARGEST_ROW = 0x7fffffff };

// Of two candidates the nearer; of equal ones the earlier.
DEVICE bool is_nearer(float squared, int row, float other, int other_row) {
    return squared < other || (squared == other && row < other_row);
}

// |row|^2 of each row, a thread a row.
KERNEL squared_lengths(IN(float) rows, OUT(float) squares, int n, int width) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= n) return;
    float sum = 0.0f;
    for (int k = 0; k < width; k++) sum += rows[at * width + k] * rows[at * width + k];
    squares[at] = sum;
}

// Of 64 queries of block BLOCK_X the nearest among the rows of part BLOCK_Y of GRID_Y: its row, and its squared distance less the
// square of the query. The distance loses digits, but orders the rows.
KERNEL nearest_parts(IN(float) queries, IN(float) rows, IN(float) squares, OUT(float) least, OUT(unsigned int) nearest, int n, int m,
                     int width) {
    SHARED(float, lefts, 16 * 65);
    SHARED(float, rights, 16 * 65);
    SHARED(float, bests, 64 * 16);
    SHARED(int, places, 64 * 16);
    float best[4];
    int place[4];
    for (int i = 0; i < 4; i++) best[i] = 3.4e38f, place[i] = LARGEST_ROW;
    int share = ((m + GRID_Y - 1) / GRID_Y + 63) / 64 * 64, begin = BLOCK_Y * share;
    int end = begin + share < m ? begin + share : m;
    int y = THREAD / 16 * 4, x = THREAD % 16 * 4;
    for (int first = begin; first < end; first += 64) {
        float sum[4][4] = {};
        for (int start = 0; start < width; start += 16) {
            for (int i = 0; i < 4; i++) {
                int term = THREAD % 16, at = THREAD / 16 + i * 16, query = BLOCK_X * 64 + at, row = first + at;
                bool inside = start + term < width;
                lefts[term * 65 + at] = inside && query < n ? queries[query * width + start + term] : 0.0f;
                rights[term * 65 + at] = inside && row < end ? rows[row * width + start + term] : 0.0f;
            }
            BARRIER();
            for (int term = 0; term < 16; term++)
                for (int i = 0; i < 4; i++)
                    for (int j = 0; j < 4; j++) sum[i][j] += lefts[term * 65 + y + i] * rights[term * 65 + x + j];
            BARRIER();
        }
        for (int j = 0; j < 4; j++) {
            int row = first + x + j;
            if (row >= end) continue;
            for (int i = 0; i < 4; i++) {
                float squared = squares[row] - 2.0f * sum[i][j];
                if (is_nearer(squared, row, best[i], place[i])) best[i] = squared, place[i] = row;
            }
        }
    }
    for (int i = 0; i < 4; i++) bests[(y + i) * 16 + THREAD % 16] = best[i], places[(y + i) * 16 + THREAD % 16] = place[i];
    BARRIER();
    int query = BLOCK_X * 64 + THREAD;
    if (THREAD >= 64 || query >= n) return;
    float found = bests[THREAD * 16];
    int row = places[THREAD * 16];
    for (int k = 1; k < 16; k++) {
        float other = bests[THREAD * 16 + k];
        int other_row = places[THREAD * 16 + k];
        if (is_nearer(other, other_row, found, row)) found = other, row = other_row;
    }
    least[BLOCK_Y * n + query] = found;
    nearest[BLOCK_Y * n + query] = (unsigned int)row;
}

// The nearest row of each query among those of all parts, with its squared distance by differences. A thread a query.
KERNEL nearest_rows(IN(float) queries, IN(float) rows, IN(float) least, IN(unsigned int) candidates, OUT(float) squared,
                    OUT(unsigned int) nearest, int n, int parts, int width) {
    int query = BLOCK_X * THREADS + THREAD;
    if (query >= n) return;
    float found = least[query];
    int row = (int)candidates[query];
    for (int part = 1; part < parts; part++) {
        float other = least[part * n + query];
        int other_row = (int)candidates[part * n + query];
        if (is_nearer(other, other_row, found, row)) found = other, row = other_row;
    }
    float sum = 0.0f;
    for (int k = 0; k < width && row < LARGEST_ROW; k++) {
        float apart = queries[query * width + k] - rows[row * width + k];
        sum += apart * apart;
    }
    // No row is nearer than another where a value is not a number.
    squared[query] = row < LARGEST_ROW ? sum : sqrtf(-1.0f);
    nearest[query] = (unsigned int)row;
}

// Brings the squared distance of each row to those picked up to date with the pick number `step`, and gives of each block of 256
// threads, 32 a row, the row whose distance is largest.
KERNEL k_centre_update(IN(float) rows, IN(unsigned int) picks, OUT(float) distances, OUT(float) farthest, OUT(unsigned int) places,
                       int n, int width, int step) {
    SHARED(float, sums, 256);
    int row = BLOCK_X * 8 + THREAD / 32, lane = THREAD % 32, centre = (int)picks[step];
    float sum = 0.0f;
    for (int k = lane; row < n && k < width; k += 32) {
        float apart = rows[row * width + k] - rows[centre * width + k];
        sum += apart * apart;
    }
    sums[THREAD] = sum;
    BARRIER();
    if (lane == 0) {
        for (int other = 1; other < 32; other++) sum += sums[THREAD + other];
        if (row < n) {
            if (step > 0 && distances[row] < sum) sum = distances[row];
            distances[row] = sum;
        }
        sums[THREAD] = row < n ? sum : -1.0f;
    }
    BARRIER();
    if (THREAD != 0) return;
    int best = 0;
    for (int other = 1; other < 8; other++)
        if (sums[other * 32] > sums[best * 32]) best = other;
    farthest[BLOCK_X] = sums[best * 32];
    places[BLOCK_X] = (unsigned int)(BLOCK_X * 8 + best);
}

// The farthest row of all blocks, the first of equal ones, as the pick number `step` + 1. One block.
KERNEL k_centre_pick(IN(float) farthest, IN(unsigned int) places, OUT(unsigned int) picks, int count, int step) {
    SHARED(float, bests, 256);
    SHARED(int, rows, 256);
    float best = -1.0f;
    int place = LARGEST_ROW;
    for (int at = THREAD; at < count; at += 256) {
        float found = farthest[at];
        int row = (int)places[at];
        if (is_nearer(-found, row, -best, place)) best = found, place = row;
    }
    bests[THREAD] = best, rows[THREAD] = place;
    BARRIER();
    if (THREAD != 0) return;
    for (int other = 1; other < 256; other++) {
        float found = bests[other];
        int row = rows[other];
        if (is_nearer(-found, row, -best, place)) best = found, place = row;
    }
    picks[step + 1] = (unsigned int)place;
}

// Adds the deviations of `n` images [n, positions, D] from `centre` [positions, D] to their sums, and their products to the lower
// triangles [positions, D (D + 1) / 2]. A block has a position.
KERNEL add_products(IN(float) images, IN(float) centre, OUT(double) sums, OUT(double) products, int n, int positions, int d) {
    int position = BLOCK_X, triangle = d * (d + 1) / 2;
    for (int at = THREAD; at < triangle; at += THREADS) {
        int i = (int)((sqrt(8.0 * at + 1.0) - 1.0) / 2.0);
        while (i * (i + 1) / 2 > at) i--;
        while ((i + 1) * (i + 2) / 2 <= at) i++;
        int j = at - i * (i + 1) / 2;
        double sum = 0.0, plain = 0.0, first = centre[position * d + i], second = centre[position * d + j];
        for (int image = 0; image < n; image++) {
            int from = (image * positions + position) * d;
            double left = images[from + i] - first;
            sum += left * (images[from + j] - second);
            plain += left;
        }
        long long entry = (long long)position * triangle + at;
        products[entry] = products[entry] + sum;
        if (i == j) sums[position * d + i] = sums[position * d + i] + plain;
    }
}
