use crate::{ExperimentConfig, ExperimentError};

/// A configuration that is part of the program.
#[derive(Debug)]
pub struct Preset {
    /// The name users type.
    pub name: &'static str,
    /// Its TOML text, `data/presets/<name>.toml`, to which `presets` of this crate links.
    pub toml: &'static str,
}

/// Every preset, the default first.
pub static PRESETS: &[Preset] = &[
    Preset { name: "demo", toml: include_str!("../presets/demo.toml") },
    Preset { name: "ablation", toml: include_str!("../presets/ablation.toml") },
    Preset { name: "screw", toml: include_str!("../presets/screw.toml") },
    Preset { name: "magnetic-tile", toml: include_str!("../presets/magnetic-tile.toml") },
    Preset { name: "table1", toml: include_str!("../presets/table1.toml") },
    Preset { name: "table4", toml: include_str!("../presets/table4.toml") },
    Preset { name: "table1-mini", toml: include_str!("../presets/table1-mini.toml") },
];

/// The configurations of the preset called `name`, mostly one.
///
/// # Errors
/// [`ExperimentError::UnknownPreset`], which lists the known; [`ExperimentError::Parse`] for a
/// damaged build.
pub fn preset(name: &str) -> Result<Vec<ExperimentConfig>, ExperimentError> {
    let preset = PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
        let known = PRESETS.iter().map(|preset| preset.name).collect();
        ExperimentError::UnknownPreset { name: name.to_owned(), known }
    })?;
    ExperimentConfig::parts_from_toml(preset.toml, name.as_ref())
}

#[cfg(test)]
mod tests {
    use fmam_core::MethodId;

    use super::*;

    #[test]
    fn every_preset_is_a_valid_configuration() {
        for entry in PRESETS {
            preset(entry.name).unwrap().iter().for_each(|part| part.validate().unwrap());
        }
    }

    #[test]
    fn the_demo_preset_runs_the_papers_distillation_methods_on_embedded_weights() {
        let demo = &preset("demo").unwrap()[0];
        assert_eq!(demo.dataset.name, "demo");
        assert_eq!(demo.methods, ["teacher", "nkd", "nkd+fmam", "rkd", "rkd+fmam"]);
        assert!(demo.weights.is_empty() && demo.data_root.is_none());
    }

    #[test]
    fn every_method_of_every_preset_takes_its_settings() {
        for (entry, config) in PRESETS
            .iter()
            .flat_map(|entry| preset(entry.name).unwrap().into_iter().map(move |part| (entry, part)))
        {
            for name in config.methods.iter().chain(config.method.keys()) {
                let table =
                    crate::overrides::method_table(&crate::Registry::builtin(), &config, name).unwrap();
                let method = crate::overrides::method_entry(&crate::Registry::builtin(), name).unwrap();
                (method.build)(table).unwrap_or_else(|error| panic!("{}, {name}: {error}", entry.name));
            }
        }
    }

    #[test]
    fn every_variant_of_the_ablation_is_run() {
        let ablation = &preset("ablation").unwrap()[0];
        let is_run = |variant: &String| ablation.methods.iter().any(|id| id.variant() == Some(variant));
        assert!(ablation.variant.keys().all(is_run));
    }

    #[test]
    fn both_tables_have_every_method_of_the_papers_table_on_both_data_sets() {
        for (name, datasets) in
            [("table1", ["mvtec", "zju-leaper"]), ("table1-mini", ["mvtec", "magnetic-tile"])]
        {
            let parts = preset(name).unwrap();
            for dataset in datasets {
                let of_dataset = parts.iter().filter(|part| part.dataset.name == dataset);
                let methods: Vec<&str> =
                    of_dataset.flat_map(|part| &part.methods).map(MethodId::as_str).collect();
                for entry in fmam_methods::METHODS.iter().filter(|entry| entry.in_table1) {
                    assert!(
                        methods.contains(&entry.name),
                        "preset {name} lacks {} on {dataset}: add it there, or clear `in_table1` in its MethodEntry",
                        entry.name
                    );
                }
            }
        }
    }

    #[test]
    fn table_4_has_the_backbones_of_the_paper() {
        let [table] = &preset("table4").unwrap()[..] else { panic!("one data set") };
        assert_eq!(table.backbones, ["resnet34", "resnet50", "wide-resnet50-2"]);
        assert_eq!(table.methods, ["rkd", "rkd+fmam"]);
    }

    #[test]
    fn an_unknown_preset_lists_the_known() {
        let error = preset("table9").unwrap_err();
        assert!(matches!(&error, ExperimentError::UnknownPreset { known, .. } if known.contains(&"demo")));
    }
}
