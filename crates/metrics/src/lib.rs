//! AUROC, AUPRO, average precision and F1 for anomaly detection.
