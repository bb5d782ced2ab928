//! Experiments: config, runs, evaluation, records.
