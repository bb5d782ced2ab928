//! Anomaly detection methods: fit on normal images, score test images.
