// A step of an optimizer over all parameters in one launch. Their averages lie one after the other.
//
// A block has a piece of one tensor: `pieces` [GRID_X, 4] are the tensor, the piece's first element and the one after its last, and
// the place of the tensor's averages.

struct Piece {
    int tensor, first, last, averages;
    DEVICE_MEMBER explicit Piece(IN(unsigned int) pieces) {
        tensor = (int)pieces[BLOCK_X * 4], first = (int)pieces[BLOCK_X * 4 + 1];
        last = (int)pieces[BLOCK_X * 4 + 2], averages = (int)pieces[BLOCK_X * 4 + 3];
    }
};

KERNEL adam(OUTS(float) parameters, INS(float) grads, OUT(float) means, OUT(float) squares, IN(unsigned int) pieces, float beta1,
            float beta2, float step, float root, float epsilon, float decay) {
    Piece piece(pieces);
    for (int at = piece.first + THREAD; at < piece.last; at += THREADS) {
        int average = piece.averages + at;
        float p = parameters[piece.tensor][at], g = grads[piece.tensor][at] + decay * p;
        float m = beta1 * means[average] + (1.0f - beta1) * g, s = beta2 * squares[average] + (1.0f - beta2) * g * g;
        means[average] = m, squares[average] = s;
        parameters[piece.tensor][at] = p - step * m / (sqrtf(s) / root + epsilon);
    }
}

KERNEL sgd(OUTS(float) parameters, INS(float) grads, OUT(float) velocities, IN(unsigned int) pieces, float rate, float momentum,
           float decay) {
    Piece piece(pieces);
    for (int at = piece.first + THREAD; at < piece.last; at += THREADS) {
        int average = piece.averages + at;
        float p = parameters[piece.tensor][at], v = momentum * velocities[average] + (grads[piece.tensor][at] + decay * p);
        velocities[average] = v;
        parameters[piece.tensor][at] = p - rate * v;
    }
}
