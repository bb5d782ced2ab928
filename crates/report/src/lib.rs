//! Reports from run records: tables, overlays.
