//! Backbones, students, decoders and feature mapping.
