//! Metrics against slow definitions and against published implementations.

mod oracle;
mod reference;
