use crate::{ExperimentConfig, ExperimentError};

/// A configuration that is part of the program.
#[derive(Debug)]
pub struct Preset {
    /// The name users type.
    pub name: &'static str,
    /// Its TOML text, `data/presets/<name>.toml`.
    pub toml: &'static str,
}

/// Every preset, the default first.
pub static PRESETS: &[Preset] = &[
    Preset { name: "demo", toml: include_str!("../../../data/presets/demo.toml") },
    Preset { name: "ablation", toml: include_str!("../../../data/presets/ablation.toml") },
    Preset { name: "screw", toml: include_str!("../../../data/presets/screw.toml") },
    Preset { name: "magnetic-tile", toml: include_str!("../../../data/presets/magnetic-tile.toml") },
];

/// The configuration of the preset called `name`.
///
/// # Errors
/// [`ExperimentError::UnknownPreset`], which lists the known; [`ExperimentError::Parse`] for a damaged build.
pub fn preset(name: &str) -> Result<ExperimentConfig, ExperimentError> {
    let preset = PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
        let known = PRESETS.iter().map(|preset| preset.name).collect();
        ExperimentError::UnknownPreset { name: name.to_owned(), known }
    })?;
    ExperimentConfig::from_toml(preset.toml, name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_valid_configuration() {
        for entry in PRESETS {
            preset(entry.name).unwrap().validate().unwrap();
        }
    }

    #[test]
    fn the_demo_preset_runs_the_papers_distillation_methods_on_embedded_weights() {
        let demo = preset("demo").unwrap();
        assert_eq!(demo.dataset, "demo");
        assert_eq!(demo.methods, ["nkd", "nkd+fmam", "rkd", "rkd+fmam"]);
        assert!(demo.weights.is_empty() && demo.data_root.is_none());
    }

    #[test]
    fn every_method_of_every_preset_takes_its_settings() {
        for entry in PRESETS {
            let config = preset(entry.name).unwrap();
            for name in config.methods.iter().chain(config.method.keys()) {
                let table = crate::overrides::method_table(&config, name).unwrap();
                let method = crate::overrides::method_entry(name).unwrap();
                (method.build)(table).unwrap_or_else(|error| panic!("{}, {name}: {error}", entry.name));
            }
        }
    }

    #[test]
    fn every_variant_of_the_ablation_is_run() {
        let ablation = preset("ablation").unwrap();
        assert!(
            ablation.variant.keys().all(|v| ablation.methods.iter().any(|m| m.ends_with(&format!("@{v}"))))
        );
    }

    #[test]
    fn an_unknown_preset_lists_the_known() {
        let error = preset("table9").unwrap_err();
        assert!(matches!(&error, ExperimentError::UnknownPreset { known, .. } if known.contains(&"demo")));
    }
}
