//! Configurations and presets: TOML.

use std::path::Path;

use fmam_experiment::{ExperimentConfig, PRESETS};
use fmam_methods::method;

use super::bytes::Seed;

/// An accepted configuration comes back as it was written, and its methods take their settings or
/// say why not.
pub fn config(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let Ok(parts) = ExperimentConfig::parts_from_toml(text, Path::new("fuzzed.toml")) else { return false };
    let mut is_valid = true;
    for part in &parts {
        let written = toml::to_string(part).expect("a configuration was TOML");
        let read =
            ExperimentConfig::from_toml(&written, Path::new("again.toml")).expect("it was written here");
        // As text: undefined numbers are not equal to themselves.
        assert_eq!(toml::to_string(&read).unwrap(), written);
        is_valid &= part.validate().is_ok();
        for (name, table) in &part.method {
            if let Ok(entry) = method(name.as_str()) {
                let _ = (entry.build)(table.clone());
            }
        }
    }
    is_valid
}

pub(super) fn seeds() -> Vec<Seed> {
    let preset =
        |preset: &fmam_experiment::Preset| (format!("{}.toml", preset.name), preset.toml.as_bytes().to_vec());
    PRESETS.iter().map(preset).collect()
}
