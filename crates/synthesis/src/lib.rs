//! Synthetic anomalies: Perlin shapes filled with textures or shuffled structure.
