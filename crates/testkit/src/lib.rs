//! Generated scenes and reference fixtures for tests.
