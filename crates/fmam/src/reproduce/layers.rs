use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fmam_core::MethodId;
use fmam_experiment::{DatasetChoice, ExperimentConfig, ExperimentError, PRESETS, Registry, preset};
use fmam_methods::overlay_settings;
use fmam_models::BackboneSpec;
use toml::Table;

use super::options::{InputOptions, Options, Origin, Value};
use crate::fetch::{fetched_weights, set_weights};
use crate::{DeviceChoice, Error, Setting};

/// A configuration whose layers are put together.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The name of the lowest layer that was named: the preset, the file's stem, or the data set.
    pub name: String,
    /// The experiments; several where the preset has several parts.
    pub parts: Vec<Part>,
    device: Option<DeviceChoice>,
}

/// An experiment, and where its values come from.
#[derive(Debug, Clone)]
pub struct Part {
    /// The experiment.
    pub config: ExperimentConfig,
    /// The layer below the options as TOML has it.
    base: Table,
    base_origin: Origin,
    /// Keys that the options set, each a path of names.
    set: BTreeSet<Vec<String>>,
}

impl Resolved {
    /// The experiments.
    pub fn configs(&self) -> Vec<ExperimentConfig> {
        self.parts.iter().map(|part| part.config.clone()).collect()
    }

    /// The device: that of the options, else that of the preset, else any.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] for a preset that names none.
    pub fn device(&self) -> Result<DeviceChoice, Error> {
        let of_preset = || self.parts.iter().find_map(|part| part.config.device.as_deref());
        match (self.device, of_preset()) {
            (Some(device), _) => Ok(device),
            (None, Some(name)) => name.parse(),
            (None, None) => Ok(DeviceChoice::default()),
        }
    }

    /// The output folder: that of the options, else that of the preset, else `runs/NAME`.
    pub fn out(&self) -> PathBuf {
        let chosen = self.parts.iter().find_map(|part| part.config.out.clone());
        chosen.unwrap_or_else(|| Path::new("runs").join(&self.name))
    }
}

impl Options {
    /// Puts the layers together.
    ///
    /// # Errors
    /// [`Error::Experiment`] for a preset that is unknown or not valid; [`Error::NoSuchPart`],
    /// [`Error::CategoriesOfWhich`], [`Error::MethodOfNoPart`], [`Error::RootWithoutDataset`],
    /// [`Error::SettingWithoutMethod`], [`Error::WeightsOfWhich`].
    pub fn resolve(&self, registry: &Registry) -> Result<Resolved, Error> {
        let (mut parts, name) = self.base(registry)?;
        let n_parts = parts.len();
        if n_parts > 1 {
            // Several data sets: what is said of one must be said of which.
            if let Some(dataset) = &self.dataset {
                let known = parts.iter().map(|part| part.config.dataset.name.clone()).collect();
                parts.retain(|part| part.config.dataset.name == *dataset);
                if parts.is_empty() {
                    return Err(Error::NoSuchPart { name, dataset: dataset.clone(), known });
                }
            } else if self.categories.is_some() {
                return Err(Error::CategoriesOfWhich { name });
            }
        }
        if let Some(methods) = self.methods.as_ref().filter(|_| n_parts > 1) {
            // Each part has its own methods, with what suits them: the list says which of those.
            let has = |part: &Part, method: &MethodId| {
                part.config.methods.contains(method)
                    || self.makes(method) && part.config.methods.contains(&method.without_variant())
            };
            let is_known = |method: &&MethodId| parts.iter().any(|part| has(part, method));
            if let Some(unknown) = methods.iter().find(|method| !is_known(method)) {
                return Err(Error::MethodOfNoPart { name, method: unknown.clone() });
            }
            for part in &mut parts {
                let made = methods.iter().filter(|method| !part.config.methods.contains(method));
                let made: Vec<MethodId> = made.filter(|method| has(part, method)).cloned().collect();
                part.config.methods.retain(|method| methods.contains(method));
                part.config.methods.extend(made);
                part.note(["methods"]);
            }
            parts.retain(|part| !part.config.methods.is_empty());
        } else if let Some(methods) = &self.methods {
            for part in &mut parts {
                part.config.methods.clone_from(methods);
                part.note(["methods"]);
            }
        }
        parts.iter_mut().try_for_each(|part| self.override_part(registry, part))?;
        Ok(Resolved { name, parts, device: self.device })
    }

    /// The layer below the options, and its name.
    fn base(&self, registry: &Registry) -> Result<(Vec<Part>, String), Error> {
        let of_preset = |name: &str| -> Result<(Vec<Part>, String), Error> {
            let origin = Origin::Preset(name.to_owned());
            let text = PRESETS.iter().find(|preset| preset.name == name).map_or("", |preset| preset.toml);
            Ok((parts(preset(name)?, text, &origin), name.to_owned()))
        };
        match (&self.preset, &self.dataset) {
            (Some(name), _) => {
                let path = Path::new(name);
                if PRESETS.iter().any(|preset| preset.name == name)
                    || (!path.exists() && path.extension().is_none())
                {
                    return of_preset(name);
                }
                let read = |source| ExperimentError::ReadConfig { path: path.to_owned(), source };
                let text = fmam_files::read_text_limited(path, ExperimentConfig::MAX_BYTES).map_err(read)?;
                let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                let configs = ExperimentConfig::parts_from_toml(&text, path)?;
                Ok((parts(configs, &text, &Origin::File(path.to_owned())), stem))
            }
            (None, Some(dataset)) if !has_preset(registry, dataset) => {
                let configs = vec![ExperimentConfig::for_dataset(dataset)];
                let mut parts = parts(configs, "", &Origin::Default);
                parts.iter_mut().for_each(|part| part.note(["dataset"]));
                Ok((parts, dataset.clone()))
            }
            (None, None) if self.data_root.is_some() => Err(Error::RootWithoutDataset),
            (None, dataset) => of_preset(dataset.as_deref().unwrap_or("demo")),
        }
    }

    /// True where a setting makes the variant `method`.
    fn makes(&self, method: &MethodId) -> bool {
        let prefix = method.as_str();
        method.variant().is_some() && self.settings.iter().any(|setting| setting.below(prefix).is_some())
    }

    fn override_input(&self, part: &mut Part) {
        let InputOptions { keep_aspect, tile_overlap, roi, value_range, background, max_image_bytes } =
            &self.input;
        // A size, tiles and padding exclude each other: the option takes the place of the preset's.
        if self.image_size.is_some() && tile_overlap.is_none() || *keep_aspect == Some(true) {
            part.config.input.tile_overlap = None;
        }
        if tile_overlap.is_some() {
            part.config.input.keep_aspect = false;
        }
        let input = |name| ["input", name];
        part.set(input("keep_aspect"), keep_aspect.as_ref(), |config| &mut config.input.keep_aspect);
        let overlap = tile_overlap.map(Some);
        part.set(input("tile_overlap"), overlap.as_ref(), |config| &mut config.input.tile_overlap);
        part.set(input("roi"), roi.clone().map(Some).as_ref(), |config| &mut config.input.roi);
        part.set(input("value_range"), value_range.as_ref(), |config| &mut config.input.value_range);
        part.set(input("background"), background.as_ref(), |config| &mut config.input.background);
        let bytes = max_image_bytes.as_ref();
        part.set(input("max_image_bytes"), bytes, |config| &mut config.input.max_image_bytes);
    }

    fn override_part(&self, registry: &Registry, part: &mut Part) -> Result<(), Error> {
        if let Some(name) = self.dataset.as_ref().filter(|name| **name != part.config.dataset.name) {
            // Options are those of one data set.
            part.config.dataset = DatasetChoice::new(name);
            part.note(["dataset"]);
        }
        part.set(["categories"], self.categories.as_ref(), |config| &mut config.categories);
        part.set(["backbones"], self.backbones.as_ref(), |config| &mut config.backbones);
        part.set(["seeds"], self.seeds.as_ref(), |config| &mut config.seeds);
        part.set(["image_size"], self.image_size.as_ref(), |config| &mut config.image_size);
        self.override_input(part);
        part.set(["evaluation", "at"], self.evaluate_at.as_ref(), |config| &mut config.evaluation.at);
        let pixels = self.pixel_metrics.as_ref();
        part.set(["evaluation", "pixel_metrics"], pixels, |config| &mut config.evaluation.pixel_metrics);
        part.set(["precision"], self.precision.as_ref(), |config| &mut config.precision);
        part.set(["calibration"], self.calibration.as_ref(), |config| &mut config.calibration.mode);
        part.set(["calibration"], self.false_alarms.as_ref(), |config| &mut config.calibration.false_alarms);
        let some = |path: &Option<PathBuf>| path.clone().map(Some);
        part.set(["data_root"], some(&self.data_root).as_ref(), |config| &mut config.data_root);
        part.set(["out"], some(&self.out).as_ref(), |config| &mut config.out);
        part.set(["export_maps"], self.export_maps.map(Some).as_ref(), |config| &mut config.export_maps);
        part.set(["loader_threads"], self.threads.map(Some).as_ref(), |config| &mut config.loader_threads);
        if let Some(epochs) = self.epochs {
            // The epochs chosen here override those that the preset gives to single methods; the
            // settings are applied later and override both.
            part.config.set_epochs(epochs);
            part.note(["epochs"]);
        }
        let before = part.config.weights.clone();
        set_weights(&mut part.config, registry.backbones(), &self.weights)?;
        let changed = part.config.weights.iter().filter(|(name, file)| before.get(*name) != Some(file));
        let changed: Vec<_> =
            changed.filter(|(name, file)| !is_fetched(registry.backbones(), name, file)).collect();
        let changed: Vec<String> = changed.into_iter().map(|(name, _)| name.clone()).collect();
        changed.iter().for_each(|name| part.note(["weights", name]));
        self.settings.iter().try_for_each(|setting| part.apply(setting))
    }
}

impl Part {
    /// Every value of the experiment with its layer, in the order of the keys.
    ///
    /// # Errors
    /// [`Error::Toml`] for a path that is no text.
    pub fn values(&self, backbones: &[&BackboneSpec]) -> Result<Vec<Value>, Error> {
        let mut leaves = Vec::new();
        collect(&mut Vec::new(), &Table::try_from(&self.config)?, &mut leaves);
        let value = |(path, value): (Vec<String>, toml::Value)| {
            let origin = self.origin(backbones, &path, &value);
            Value { key: path.iter().map(|name| quoted(name)).collect::<Vec<_>>().join("."), value, origin }
        };
        Ok(leaves.into_iter().map(value).collect())
    }

    fn origin(&self, backbones: &[&BackboneSpec], path: &[String], value: &toml::Value) -> Origin {
        let is_of_option = |set: &Vec<String>| path.starts_with(set);
        if self.set.iter().any(is_of_option) {
            return Origin::Option;
        }
        if has(&self.base, path) {
            return self.base_origin.clone();
        }
        match (path, value) {
            ([first, name], toml::Value::String(file))
                if first == "weights" && is_fetched(backbones, name, Path::new(file)) =>
            {
                Origin::Fetched
            }
            _ => Origin::Default,
        }
    }

    /// Notes that the options set the value at `path`.
    fn note<const N: usize>(&mut self, path: [&str; N]) {
        self.set.insert(path.map(str::to_owned).to_vec());
    }

    /// Puts `value` in its place, where there is one.
    fn set<T: Clone, const N: usize>(
        &mut self,
        path: [&str; N],
        value: Option<&T>,
        place: fn(&mut ExperimentConfig) -> &mut T,
    ) {
        if let Some(value) = value {
            place(&mut self.config).clone_from(value);
            self.note(path);
        }
    }

    /// Puts a setting `METHOD.KEY=VALUE` into the method's table.
    fn apply(&mut self, setting: &Setting) -> Result<(), Error> {
        // The name of a variant may have dots; one that is known is recognised by all of its name.
        let known = self.config.methods.iter().filter(|id| id.variant().is_some());
        let known = known.filter_map(|id| Some((id.clone(), setting.below(id.as_str())?)));
        let found = known.max_by_key(|(id, _)| id.as_str().len());
        let (method, setting) = match (found, setting.split_first()) {
            (Some(found), _) => found,
            (None, Some((method, setting))) => (MethodId::from(method), setting),
            (None, None) => return Err(Error::SettingWithoutMethod { key: setting.key() }),
        };
        if let Some(variant) = method.variant() {
            self.config.variant.entry(variant.to_owned()).or_default();
            let methods = &mut self.config.methods;
            if !methods.contains(&method) && methods.contains(&method.without_variant()) {
                methods.push(method.clone());
                self.note(["methods"]);
            }
        }
        let mut path = vec!["method".to_owned(), method.to_string()];
        path.extend(setting.path().iter().cloned());
        self.set.insert(path);
        setting.apply(self.config.method.entry(method).or_default());
        Ok(())
    }
}

/// The experiments `configs` of the configuration `text`.
fn parts(configs: Vec<ExperimentConfig>, text: &str, origin: &Origin) -> Vec<Part> {
    // It was read once without an error.
    let mut common: Table = toml::from_str(text).unwrap_or_default();
    let parts: Vec<Table> =
        common.remove("part").and_then(|parts| parts.try_into().ok()).unwrap_or_else(|| vec![Table::new()]);
    let part = |(config, own): (ExperimentConfig, Table)| {
        let mut base = common.clone();
        overlay_settings(&mut base, own);
        Part { config, base, base_origin: origin.clone(), set: BTreeSet::new() }
    };
    configs.into_iter().zip(parts).map(part).collect()
}

/// True where a preset holds the settings for a data set: that of its name, for generated data.
fn has_preset(registry: &Registry, dataset: &str) -> bool {
    let is_generated = registry.dataset(dataset).is_ok_and(|entry| entry.is_generated());
    is_generated && PRESETS.iter().any(|preset| preset.name == dataset)
}

fn is_fetched(backbones: &[&BackboneSpec], backbone: &str, file: &Path) -> bool {
    fetched_weights(backbones, backbone).is_some_and(|fetched| fetched == file)
}

/// The values of `table` that are no tables, each with its path; an empty table is one.
fn collect(path: &mut Vec<String>, table: &Table, leaves: &mut Vec<(Vec<String>, toml::Value)>) {
    for (key, value) in table {
        path.push(key.clone());
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => collect(path, inner, leaves),
            value => leaves.push((path.clone(), value.clone())),
        }
        path.pop();
    }
}

/// True where `table` has a value at `path`.
fn has(table: &Table, path: &[String]) -> bool {
    match path {
        [] => true,
        [first, rest @ ..] => match table.get(first) {
            Some(toml::Value::Table(inner)) => has(inner, rest),
            found => found.is_some(),
        },
    }
}

/// A part of a key as TOML has it.
fn quoted(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        toml::Value::String(name.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Option<Vec<String>> {
        Some(text.split(',').map(str::to_owned).collect())
    }

    fn methods(text: &str) -> Option<Vec<MethodId>> {
        Some(text.split(',').map(MethodId::from).collect())
    }

    fn settings(texts: &[&str]) -> Vec<Setting> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn preset_of(name: &str) -> Options {
        Options { preset: Some(name.to_owned()), ..Options::default() }
    }

    fn on(dataset: &str) -> Options {
        Options { dataset: Some(dataset.to_owned()), ..Options::default() }
    }

    fn configs(options: &Options) -> Vec<ExperimentConfig> {
        options.resolve(&Registry::builtin()).unwrap().configs()
    }

    #[test]
    fn without_options_it_is_the_demo() {
        let demo = Options::default().resolve(&Registry::builtin()).unwrap();
        assert_eq!((demo.configs(), demo.name.as_str()), (preset("demo").unwrap(), "demo"));
        assert_eq!(on("demo").resolve(&Registry::builtin()).unwrap().name, "demo");
        assert_eq!(demo.out(), Path::new("runs/demo"));
    }

    #[test]
    fn a_data_set_of_ones_own_does_not_get_the_settings_of_the_demo() {
        let options = Options { data_root: Some("d".into()), categories: list("a,b"), ..on("mvtec") };
        let resolved = options.resolve(&Registry::builtin()).unwrap();
        let config = &resolved.parts[0].config;
        assert_eq!((&config.seeds[..], resolved.name.as_str()), (&[0, 1, 2][..], "mvtec"));
        assert_eq!(config.categories, ["a", "b"]);
        assert!(config.method.is_empty());
    }

    #[test]
    fn options_override_the_preset_and_settings_override_epochs() {
        let options = Options {
            methods: methods("rkd"),
            seeds: Some(vec![3]),
            epochs: Some(7),
            settings: settings(&["rkd.epochs=2", "nkd+fmam.mapping.margin=0.5"]),
            ..preset_of("demo")
        };
        let config = configs(&options).remove(0);
        assert_eq!((config.methods, config.seeds), (vec!["rkd".into()], vec![3]));
        assert_eq!(config.epochs, Some(7));
        assert_eq!(config.method[&"rkd".into()]["epochs"].as_integer(), Some(2));
        assert_eq!(config.method[&"nkd+fmam".into()]["mapping"]["margin"].as_float(), Some(0.5));
    }

    #[test]
    fn options_hold_for_every_part_and_a_data_set_picks_one() {
        let mini = preset_of("table1-mini");
        let both = configs(&Options { seeds: Some(vec![5]), ..mini.clone() });
        let names: Vec<&str> = both.iter().map(|part| part.dataset.name.as_str()).collect();
        assert_eq!(names, ["mvtec", "magnetic-tile"]);
        assert!(both.iter().all(|part| part.seeds == [5]));
        let of = |dataset: &str| Options { dataset: Some(dataset.to_owned()), ..mini.clone() };
        let one = configs(&of("magnetic-tile"));
        assert_eq!((one.len(), one[0].dataset.name.as_str()), (1, "magnetic-tile"));
        assert!(matches!(of("demo").resolve(&Registry::builtin()), Err(Error::NoSuchPart { .. })));
        // MRKD has a part of its own, with another backbone.
        let table1 = preset_of("table1");
        let narrow = configs(&Options { methods: methods("padim,rkd"), ..table1.clone() });
        assert!(narrow.len() == 2 && narrow.iter().all(|part| part.methods == ["padim", "rkd"]));
        assert!(narrow.iter().all(|part| part.backbones == ["resnet18"]));
        let mrkd = configs(&Options {
            methods: methods("mrkd"),
            dataset: Some("mvtec".to_owned()),
            ..table1.clone()
        });
        assert!(mrkd.len() == 1 && mrkd[0].backbones == ["vgg16"]);
        let unknown = Options { methods: methods("nosuch"), ..table1 }.resolve(&Registry::builtin());
        assert!(matches!(unknown, Err(Error::MethodOfNoPart { .. })));
        let categories = Options { categories: list("screw"), ..mini.clone() };
        assert!(matches!(categories.resolve(&Registry::builtin()), Err(Error::CategoriesOfWhich { .. })));
        assert!(Options { categories: list("screw"), ..of("mvtec") }.resolve(&Registry::builtin()).is_ok());
    }

    #[test]
    fn weights_belong_to_a_backbone() {
        let with = |backbones: &str, weights: &str| {
            let weights = vec![weights.into()];
            Options { backbones: list(backbones), weights, ..Options::default() }
        };
        assert_eq!(configs(&with("resnet18", "a=b.pth"))[0].weights["resnet18"], Path::new("a=b.pth"));
        let named = with("resnet18,resnet34", "resnet34=c.pth");
        assert_eq!(configs(&named)[0].weights["resnet34"], Path::new("c.pth"));
        let of_which = with("resnet18,resnet34", "c.pth").resolve(&Registry::builtin());
        assert!(matches!(of_which, Err(Error::WeightsOfWhich { .. })));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let root = Options { data_root: Some("d".into()), ..Options::default() };
        assert!(matches!(root.resolve(&Registry::builtin()), Err(Error::RootWithoutDataset)));
        let setting = Options { settings: settings(&["epochs=3"]), ..Options::default() };
        assert!(
            matches!(setting.resolve(&Registry::builtin()), Err(Error::SettingWithoutMethod { key }) if key == "epochs")
        );
        assert!(
            preset_of("nosuch").resolve(&Registry::builtin()).unwrap_err().kind() == crate::ErrorKind::Usage
        );
        assert!(preset_of("no/such.toml").resolve(&Registry::builtin()).is_err());
    }

    #[test]
    fn a_setting_makes_a_variant_that_runs_where_its_method_does() {
        let variant = |methods, base: Options| {
            let settings = settings(&["rkd@wide.batch_size=2", "rkd@wide.epochs=1"]);
            configs(&Options { settings, methods, ..base })
        };
        let [with_base] = &variant(methods("nkd,rkd"), Options::default())[..] else { panic!("one part") };
        assert_eq!(with_base.methods, ["nkd", "rkd", "rkd@wide"]);
        assert!(with_base.variant["wide"].is_empty());
        assert_eq!(with_base.method[&"rkd@wide".into()]["batch_size"].as_integer(), Some(2));
        let named = variant(methods("rkd@wide"), Options::default());
        assert_eq!(named[0].methods, ["rkd@wide"]);
        assert_eq!(variant(methods("nkd"), Options::default())[0].methods, ["nkd"]);
        let parts = variant(methods("rkd@wide"), preset_of("table1"));
        assert!(!parts.is_empty() && parts.iter().all(|part| part.methods == ["rkd@wide"]));
        // A variant of the preset, whose name has a dot.
        let options =
            Options { settings: settings(&["rkd+fmam@margin-0.1.epochs=3"]), ..preset_of("ablation") };
        let dotted = &configs(&options)[0].method[&"rkd+fmam@margin-0.1".into()];
        assert_eq!(dotted["epochs"].as_integer(), Some(3));
    }

    #[test]
    fn every_value_tells_its_layer() {
        let options = Options {
            seeds: Some(vec![3]),
            settings: settings(&["rkd.batch_size=2"]),
            ..preset_of("ablation")
        };
        let values =
            options.resolve(&Registry::builtin()).unwrap().parts[0].values(fmam_models::BACKBONES).unwrap();
        let origin = |key: &str| &values.iter().find(|value| value.key == key).unwrap().origin;
        let preset = Origin::Preset("ablation".to_owned());
        assert_eq!(origin("seeds"), &Origin::Option);
        assert_eq!(origin("method.rkd.batch_size"), &Origin::Option);
        assert_eq!(origin("method.rkd.epochs"), &preset);
        assert_eq!(origin("method.\"rkd+fmam\".batch_size"), &preset);
        assert_eq!((origin("dataset"), origin("image_size")), (&preset, &preset));
        assert_eq!(origin("precision"), &Origin::Default);
        let text: String = values.iter().map(|v| format!("{} = {}\n", v.key, v.value)).collect();
        let again: Table = toml::from_str(&text).unwrap();
        assert_eq!(
            again,
            Table::try_from(&options.resolve(&Registry::builtin()).unwrap().parts[0].config).unwrap()
        );
    }
}
