// A step of an optimizer over all parameters, which lie one after the other, as do their gradients and averages.

KERNEL adam(OUT(float) parameters, IN(float) grads, OUT(float) means, OUT(float) squares, int length, float beta1, float beta2,
            float step, float root, float epsilon, float decay) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= length) return;
    float p = parameters[at], g = grads[at] + decay * p;
    float m = beta1 * means[at] + (1.0f - beta1) * g, s = beta2 * squares[at] + (1.0f - beta2) * g * g;
    means[at] = m, squares[at] = s;
    parameters[at] = p - step * m / (sqrtf(s) / root + epsilon);
}

KERNEL sgd(OUT(float) parameters, IN(float) grads, OUT(float) velocities, int length, float rate, float momentum, float decay) {
    int at = BLOCK_X * THREADS + THREAD;
    if (at >= length) return;
    float p = parameters[at], v = momentum * velocities[at] + (grads[at] + decay * p);
    velocities[at] = v;
    parameters[at] = p - rate * v;
}
