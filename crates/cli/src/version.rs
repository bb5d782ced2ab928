//! The text of `fmam --version`.

use std::fmt::Write;
use std::sync::LazyLock;

/// The version on its own line, then one fact a line: commit, sources, target, features, CPU and
/// candle. `fmam -V` prints the version alone.
pub(crate) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    &TEXT
}

fn text() -> String {
    let versions = fmam_experiment::versions();
    let of = |key: &str| versions.get(key).map_or("unknown", String::as_str);
    let commit = option_env!("FMAM_CLI_COMMIT").unwrap_or("unknown");
    let features = Some(env!("FMAM_FEATURES")).filter(|features| !features.is_empty()).unwrap_or("none");
    let mut text = env!("CARGO_PKG_VERSION").to_owned();
    for (name, value) in [
        ("commit", commit),
        ("sources", of(fmam_record::SOURCES_KEY)),
        ("target", env!("FMAM_TARGET")),
        ("features", features),
        ("cpu", of("cpu")),
        ("candle", of("candle")),
    ] {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name:<9} {value}");
    }
    text
}
