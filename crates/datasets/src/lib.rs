//! Image anomaly detection data sets: index, split, decode, resize.
