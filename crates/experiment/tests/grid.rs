//! Grids of real runs: the `tiny` backbone on a small generated data set.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Device;
use fmam_core::{ErrorKind, Progress, Silent, SourceError, StageId};
use fmam_datasets::{DatasetError, DemoConfig};
use fmam_experiment::{
    Artist, DatasetChoice, Doubt, Exhibit, Experiment, ExperimentConfig, ExperimentError, FinishedRuns, Grid,
    GridObserver, GridOutcome, Registry, Revisit, RunPlan,
};
use fmam_methods::MethodError;
use fmam_models::ModelError;
use fmam_record::{MapLayout, RecordError, RunRecord};

/// Small enough for a run in well under a second.
fn config(methods: &[&str]) -> ExperimentConfig {
    let mut config = ExperimentConfig::for_dataset("demo");
    config.dataset.options =
        toml::from_str("n_train = 4\nn_test_normal = 2\nn_test_per_defect = 1\ncategories = ['plain']")
            .unwrap();
    config.methods = methods.iter().map(|&name| name.into()).collect();
    config.backbones = vec!["tiny".to_owned()];
    config.seeds = vec![0];
    config.image_size = 64.into();
    config.epochs = Some(1);
    config.loader_threads = Some(2);
    config.n_overlays = 3;
    config
}

/// The data of [`config`].
fn demo() -> DemoConfig {
    config(&[]).dataset.options.try_into().unwrap()
}

fn open(config: ExperimentConfig) -> Result<Experiment, ExperimentError> {
    Experiment::open(&Registry::builtin(), config, Device::Cpu)
}

/// Remembers what it is told, and asks to stop once `stop_after` steps were made.
struct Watcher {
    events: Mutex<Vec<String>>,
    steps: AtomicUsize,
    stop_after: usize,
}

impl Watcher {
    fn new(stop_after: usize) -> Self {
        Self { events: Mutex::default(), steps: AtomicUsize::new(0), stop_after }
    }

    fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }
}

impl Progress for Watcher {
    fn start(&self, _stage: &StageId, _total: u64) {}
    fn update(&self, _done: u64, _detail: &str) {
        self.steps.fetch_add(1, Ordering::SeqCst);
    }
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.steps.load(Ordering::SeqCst) >= self.stop_after
    }
}

impl GridObserver for Watcher {
    fn run_started(&self, plan: &RunPlan) {
        self.events.lock().unwrap().push(format!("start {}", plan.key));
    }
    fn run_finished(&self, plan: &RunPlan, result: Result<&RunRecord, &ExperimentError>) {
        let outcome = if result.is_ok() { "done" } else { "failed" };
        self.events.lock().unwrap().push(format!("{outcome} {}", plan.key));
    }
}

/// Stands for an artist; the first `n_failures` calls fail.
#[derive(Default)]
struct Pictures {
    n_failures: Cell<usize>,
}

impl Artist for Pictures {
    fn draw(&self, _: (f32, f32), exhibits: &[Exhibit]) -> Result<(), SourceError> {
        if let Some(left) = self.n_failures.get().checked_sub(1) {
            self.n_failures.set(left);
            return Err("the disk is full".into());
        }
        for exhibit in exhibits {
            std::fs::create_dir_all(exhibit.path.parent().unwrap())?;
            std::fs::write(&exhibit.path, "picture")?;
        }
        Ok(())
    }
}

fn grid<'a>(experiment: &'a Experiment, out: &Path) -> Result<Grid<'a>, ExperimentError> {
    Grid::new(std::slice::from_ref(experiment), out, FinishedRuns::Keep, &Silent)
}

fn run(experiment: &Experiment, out: &Path) -> Result<GridOutcome, ExperimentError> {
    grid(experiment, out)?.run(&Pictures::default(), &Silent)
}

fn record(experiment: &Experiment, out: &Path, index: usize) -> RunRecord {
    let path = out.join(experiment.plans()[index].key.dir()).join("record.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Every file and folder under `dir`, relative to it.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.push(path.strip_prefix(dir).unwrap().to_owned());
        }
    }
    found.sort();
    found
}

#[test]
fn a_run_leaves_its_record_model_and_pictures_and_is_not_repeated() {
    let out = tempfile::tempdir().unwrap();
    let experiment = open(config(&["nkd", "rkd+fmam"])).unwrap();
    let outcome = run(&experiment, out.path()).unwrap();
    assert_eq!((outcome.n_finished, outcome.failed.len()), (2, 0));

    let record = record(&experiment, out.path(), 1);
    assert_eq!((record.method.as_str(), record.n_train, record.n_test_normal), ("rkd+fmam", 4, 2));
    assert_eq!(record.n_test_anomalous, 6);
    assert!(record.metrics.get(&fmam_metrics::PIXEL_AUROC).is_some() && record.fit_seconds > 0.0);
    assert_eq!(record.config.method["epochs"], 1);
    assert_eq!(record.config.data.textures, "generated");
    assert!(record.config.data.sha256.is_some() && record.config.weights_sha256.is_none());
    assert!(!record.curve.is_empty());
    assert_eq!(record.versions.get("commit").map(String::as_str), option_env!("FMAM_COMMIT"));
    assert_eq!(record.artefacts.images.len(), 8);
    let folder = out.path().join(experiment.plans()[1].key.dir());
    let drawn: Vec<_> = record.artefacts.images.iter().filter_map(|overlay| overlay.path.as_ref()).collect();
    assert_eq!(drawn.len(), 3);
    assert!(drawn.iter().all(|path| folder.join(path).is_file()));
    let model = folder.join(record.artefacts.model.unwrap());
    assert!(fmam_methods::load_detector(&model, &Device::Cpu).is_ok());

    let before = tree(out.path());
    assert!(grid(&experiment, out.path()).unwrap().pending().is_empty());
    assert_eq!(run(&experiment, out.path()).unwrap().n_finished, 0);
    assert_eq!(tree(out.path()), before);
}

#[test]
fn maps_are_kept_where_they_are_asked_for() {
    let out = tempfile::tempdir().unwrap();
    let with_maps = ExperimentConfig { export_maps: Some(MapLayout::Mvtec), ..config(&["nkd"]) };

    let experiment = open(with_maps).unwrap();
    run(&experiment, out.path()).unwrap();
    let maps = out
        .path()
        .join(experiment.plans()[0].key.dir())
        .join("maps")
        .join(&experiment.plans()[0].key.category)
        .join("test");
    let files = tree(&maps);
    assert_eq!(files.iter().filter(|path| path.extension().is_some_and(|e| e == "tiff")).count(), 8);
    assert_eq!(files.iter().filter(|path| path.starts_with("good") && path.extension().is_some()).count(), 2);
}

#[test]
fn a_finished_run_gets_what_an_older_program_did_not_keep() {
    let out = tempfile::tempdir().unwrap();
    let experiment = open(config(&["rkd+fmam", "teacher"])).unwrap();
    run(&experiment, out.path()).unwrap();
    let whole = record(&experiment, out.path(), 0);
    let [scale, ..] = &whole.analysis.as_ref().unwrap().scales[..] else { panic!("no scale") };
    assert!(scale.real.as_ref().is_some_and(|defects| defects.after.is_some()));
    assert_eq!(whole.artefacts.maps.as_deref(), Some("maps.tiff"));

    let mut old = whole.clone();
    (old.analysis, old.pixels, old.artefacts.maps) = (None, None, None);
    let folder = out.path().join(old.key().dir());
    let path = folder.join("record.json");
    std::fs::write(&path, serde_json::to_vec(&old).unwrap()).unwrap();
    std::fs::remove_file(folder.join("maps.tiff")).unwrap();
    let registry = Registry::builtin();
    let revisit = |loader_threads| Revisit {
        registry: &registry,
        data_root: None,
        device: &Device::Cpu,
        loader_threads,
    };
    let watcher = Watcher::new(usize::MAX);
    assert_eq!(revisit(3).run(out.path(), &old, &watcher).unwrap(), Some(whole.clone()));
    assert_eq!(record(&experiment, out.path(), 0), whole);
    assert!(folder.join("maps.tiff").exists());

    // Other images, a run without its model, and a stop.
    let with = |change: &dyn Fn(&mut RunRecord)| {
        let mut other = old.clone();
        change(&mut other);
        std::fs::write(&path, serde_json::to_vec(&other).unwrap()).unwrap();
        let result = revisit(1).run(out.path(), &other, &watcher);
        assert_eq!(record(&experiment, out.path(), 0), other);
        result
    };
    let error = with(&|run| run.artefacts.images.swap(0, 1)).unwrap_err();
    assert!(matches!(error, ExperimentError::DataDiffers { .. }), "{error}");
    let error = with(&|run| run.artefacts.images[1].image_score += 0.5).unwrap_err();
    assert!(matches!(error, ExperimentError::ScoresDiffer { .. }), "{error}");
    let error = with(&|run| run.config.data.textures = "DTD, 9 images".into()).unwrap_err();
    assert!(matches!(error, ExperimentError::TexturesDiffer { .. }), "{error}");
    assert_eq!(with(&|run| run.artefacts.model = None).unwrap(), None);
    std::fs::write(&path, serde_json::to_vec(&old).unwrap()).unwrap();
    let error = revisit(1).run(out.path(), &old, &Watcher::new(1)).unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(record(&experiment, out.path(), 0), old);
}

#[test]
fn the_figures_do_not_depend_on_the_number_of_threads_nor_on_the_order_of_runs() {
    let scores = |threads: usize, methods: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        let experiment = open(ExperimentConfig { loader_threads: Some(threads), ..config(methods) }).unwrap();
        run(&experiment, out.path()).unwrap();
        let index = methods.iter().position(|&method| method == "nkd+fmam").unwrap();
        let record = record(&experiment, out.path(), index);
        (record.metrics, record.artefacts.images)
    };
    assert_eq!(scores(1, &["nkd+fmam"]), scores(3, &["rkd", "nkd+fmam"]));
}

#[test]
fn an_interrupted_grid_keeps_what_is_finished_and_goes_on_there() {
    let out = tempfile::tempdir().unwrap();
    let experiment = open(config(&["nkd", "rkd"])).unwrap();
    // After the reading of twelve images a run of `nkd` makes one training step, one of scoring and
    // one for each test image of its analysis: this stops in the middle of the second run.
    let watcher = Watcher::new(12 + 2 + 8 + 1);
    let error = grid(&experiment, out.path()).unwrap().run(&Pictures::default(), &watcher).unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(
        watcher.events(),
        ["start plain nkd tiny seed 0", "done plain nkd tiny seed 0", "start plain rkd tiny seed 0"]
    );
    assert!(out.path().join(experiment.plans()[0].key.dir()).join("record.json").is_file());
    let unfinished = out.path().join(experiment.plans()[1].key.dir());
    assert!(!unfinished.exists());
    assert!(tree(out.path()).iter().all(|path| !path.to_string_lossy().contains("partial")));

    // A process that was killed rather than stopped leaves its folder; it is no run, and it goes at
    // the next start.
    let leftover = out.path().join(".partial-demo-plain-rkd-tiny-seed-0");
    std::fs::create_dir(&leftover).unwrap();
    std::fs::write(leftover.join("record.json"), "{}").unwrap();
    let grid = grid(&experiment, out.path()).unwrap();
    assert!(!leftover.exists());
    assert_eq!(grid.pending().len(), 1);
    let watcher = Watcher::new(usize::MAX);
    grid.run(&Pictures::default(), &watcher).unwrap();
    assert_eq!(watcher.events(), ["start plain rkd tiny seed 0", "done plain rkd tiny seed 0"]);
    assert!(unfinished.join("record.json").is_file());
}

#[test]
fn other_settings_in_the_same_folder_are_refused_unless_overwritten() {
    let out = tempfile::tempdir().unwrap();
    run(&open(config(&["nkd"])).unwrap(), out.path()).unwrap();
    let other = open(ExperimentConfig { epochs: Some(2), ..config(&["nkd"]) }).unwrap();
    let error = grid(&other, out.path()).unwrap_err();
    let ExperimentError::ConfigDiffers { differences, .. } = &error else { panic!("{error:?}") };
    assert_eq!(differences, &["method.epochs: 1 there, 2 now"]);
    assert!(error.to_string().contains("seed-0"));

    let grid = Grid::new(std::slice::from_ref(&other), out.path(), FinishedRuns::Repeat, &Silent).unwrap();
    assert_eq!(grid.run(&Pictures::default(), &Watcher::new(usize::MAX)).unwrap().n_finished, 1);
    assert_eq!(record(&other, out.path(), 0).config.method["epochs"], 2);
}

#[test]
fn a_failing_run_leaves_nothing_and_does_not_lose_the_others() {
    let out = tempfile::tempdir().unwrap();
    let experiment = open(config(&["nkd", "rkd"])).unwrap();
    let fail_first = Pictures { n_failures: Cell::new(1) };
    let watcher = Watcher::new(usize::MAX);
    let outcome = grid(&experiment, out.path()).unwrap().run(&fail_first, &watcher).unwrap();
    assert_eq!(outcome.n_finished, 1);
    assert!(matches!(&outcome.failed[..], [(key, ExperimentError::Overlays(_))] if key.method == *"nkd"));
    assert_eq!(watcher.events()[1], "failed plain nkd tiny seed 0");
    assert!(!out.path().join(experiment.plans()[0].key.dir()).exists());
    assert_eq!(grid(&experiment, out.path()).unwrap().pending().len(), 1);
}

#[test]
fn whoever_stops_during_the_reading_gets_no_run_and_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new/out");
    let experiment = open(config(&["nkd"])).unwrap();
    for stop_after in [0, 5] {
        let watcher = Watcher::new(stop_after);
        let error = grid(&experiment, &out).unwrap().run(&Pictures::default(), &watcher).unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!((watcher.steps.load(Ordering::SeqCst), watcher.events()), (stop_after, vec![]));
    }
    assert!(tree(dir.path()).is_empty());
    let plans: Vec<_> = experiment.plans().iter().collect();
    assert!(experiment.read_images(&plans, &Watcher::new(0)).unwrap_err().is_cancelled());
}

#[test]
fn images_are_read_for_runs_that_are_not_finished_and_before_the_first_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (root, out) = (dir.path().join("data"), dir.path().join("out"));
    fmam_datasets::write_demo(&root, &demo(), fmam_core::ImageSize::square(64)).unwrap();
    let open = |methods: &[&str]| {
        let data_root = Some(root.clone());
        open(ExperimentConfig { dataset: DatasetChoice::new("mvtec"), data_root, ..config(methods) }).unwrap()
    };
    run(&open(&["nkd"]), &out).unwrap();

    // Damaged so that the file looks the same from outside: a grid whose runs are finished reads no
    // image.
    let image = root.join("plain/train/good/000.png");
    let modified = std::fs::metadata(&image).unwrap().modified().unwrap();
    let mut content = std::fs::read(&image).unwrap();
    let half = content.len() / 2;
    content[half..].fill(0);
    std::fs::write(&image, content).unwrap();
    std::fs::File::options().write(true).open(&image).unwrap().set_modified(modified).unwrap();
    assert_eq!(run(&open(&["nkd"]), &out).unwrap().n_finished, 0);
    let watcher = Watcher::new(usize::MAX);
    let experiment = open(&["nkd", "rkd"]);
    let error = grid(&experiment, &out).unwrap().run(&Pictures::default(), &watcher).unwrap_err();
    assert!(matches!(error, ExperimentError::Sample { .. }));
    assert!(watcher.events().is_empty());
}

/// A grid on image files with the weights file `weights`.
fn on_files(root: &Path, weights: Option<&Path>) -> Experiment {
    let mut config = ExperimentConfig {
        dataset: DatasetChoice::new("mvtec"),
        data_root: Some(root.to_owned()),
        ..config(&["teacher"])
    };
    if let Some(weights) = weights {
        config.backbones = vec!["efficientnet-lite0".to_owned()];
        config.weights.insert("efficientnet-lite0".to_owned(), weights.to_owned());
    }
    open(config).unwrap()
}

fn write_images(root: &Path) {
    fmam_datasets::write_demo(root, &demo(), fmam_core::ImageSize::square(64)).unwrap();
}

#[track_caller]
fn differences(error: ExperimentError) -> Vec<String> {
    let ExperimentError::ConfigDiffers { differences, .. } = error else { panic!("{error:?}") };
    differences
}

#[test]
fn a_run_whose_images_were_replaced_does_not_count_as_finished() {
    let dir = tempfile::tempdir().unwrap();
    let (root, out) = (dir.path().join("data"), dir.path().join("out"));
    write_images(&root);
    run(&on_files(&root, None), &out).unwrap();

    // Another time of change alone is no other content, nor is another place.
    let image = root.join("plain/test/good/000.png");
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(grid(&on_files(&root, None), &out).unwrap().pending().is_empty());
    let moved = dir.path().join("moved");
    std::fs::rename(&root, &moved).unwrap();
    assert!(grid(&on_files(&moved, None), &out).unwrap().pending().is_empty());

    std::fs::copy(moved.join("plain/test/good/001.png"), moved.join("plain/test/good/000.png")).unwrap();
    let error = grid(&on_files(&moved, None), &out).unwrap_err();
    assert_eq!(differences(error), ["data set: other images or masks now than there"]);
    let watcher = Watcher::new(0);
    let experiment = on_files(&moved, None);
    let stopped = Grid::new(std::slice::from_ref(&experiment), &out, FinishedRuns::Keep, &watcher);
    assert!(stopped.unwrap_err().is_cancelled());
}

#[test]
fn a_run_whose_weights_were_replaced_does_not_count_as_finished() {
    let dir = tempfile::tempdir().unwrap();
    let (root, out) = (dir.path().join("data"), dir.path().join("out"));
    write_images(&root);
    let embedded =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/weights/efficientnet_lite0.safetensors");
    let weights = dir.path().join("w.safetensors");
    let bytes = std::fs::read(embedded).unwrap();
    std::fs::write(&weights, &bytes).unwrap();
    run(&on_files(&root, Some(&weights)), &out).unwrap();
    // The same content in another place is the same run.
    let copy = dir.path().join("copy.safetensors");
    std::fs::write(&copy, &bytes).unwrap();
    assert!(grid(&on_files(&root, Some(&copy)), &out).unwrap().pending().is_empty());

    let mut other = bytes;
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, other).unwrap();
    let error = grid(&on_files(&root, Some(&weights)), &out).unwrap_err();
    assert_eq!(differences(error), ["weights: another content now than there"]);
}

#[test]
fn a_run_of_another_program_is_kept_on_request_only_and_an_old_record_with_a_doubt() {
    let out = tempfile::tempdir().unwrap();
    let experiment = open(config(&["teacher"])).unwrap();
    run(&experiment, out.path()).unwrap();
    let whole = record(&experiment, out.path(), 0);
    let path = out.path().join(whole.key().dir()).join("record.json");
    let change = |change: &dyn Fn(&mut RunRecord)| {
        let mut other = whole.clone();
        change(&mut other);
        std::fs::write(&path, serde_json::to_vec(&other).unwrap()).unwrap();
    };
    let with = |policy| Grid::new(std::slice::from_ref(&experiment), out.path(), policy, &Silent);
    assert!(with(FinishedRuns::Keep).unwrap().doubtful().is_empty());

    change(&|run| {
        run.versions.insert("sources".into(), "0123456789abcdef".into());
    });
    let error = with(FinishedRuns::Keep).unwrap_err();
    assert!(matches!(&error, ExperimentError::ProgramDiffers { there, .. } if there.contains("0123456")));
    let kept = with(FinishedRuns::KeepAnyVersion).unwrap();
    assert!(kept.pending().is_empty());
    assert!(matches!(kept.doubtful(), [run] if matches!(run.doubt, Doubt::OtherProgram { .. })));
    drop(kept);
    assert_eq!(with(FinishedRuns::Repeat).unwrap().pending().len(), 1);

    change(&|run| {
        run.versions.remove("sources");
        run.versions.remove("commit");
        run.versions.insert("fmam".into(), "0.0.1".into());
        run.config.data.sha256 = None;
    });
    let kept = with(FinishedRuns::Keep).unwrap();
    let doubts: Vec<_> = kept.doubtful().iter().map(|run| run.doubt.clone()).collect();
    assert_eq!(doubts, [Doubt::OtherProgram { name: "fmam 0.0.1".into() }, Doubt::NoDigests]);
    assert!(kept.pending().is_empty());
}

#[test]
fn several_experiments_make_one_grid_unless_they_share_a_run() {
    let out = tempfile::tempdir().unwrap();
    // No seed makes a difference to spade: it is run once.
    let drawless = ExperimentConfig { seeds: vec![0, 1], ..config(&["spade"]) };
    let experiments = [open(config(&["nkd"])).unwrap(), open(drawless).unwrap()];
    assert_eq!(experiments[1].plans().len(), 1);
    let n_plans: usize = experiments.iter().map(|experiment| experiment.plans().len()).sum();
    let outcome = Grid::new(&experiments, out.path(), FinishedRuns::Keep, &Silent)
        .unwrap()
        .run(&Pictures::default(), &Watcher::new(usize::MAX))
        .unwrap();
    assert_eq!((outcome.n_finished, outcome.failed.len()), (n_plans, 0));
    assert!(Grid::new(&experiments, out.path(), FinishedRuns::Keep, &Silent).unwrap().pending().is_empty());
    let twice = [open(config(&["nkd"])).unwrap(), open(config(&["rkd", "nkd"])).unwrap()];
    let error = Grid::new(&twice, out.path(), FinishedRuns::Keep, &Silent).unwrap_err();
    assert!(matches!(&error, ExperimentError::RepeatedRun { key } if key.method == *"nkd"), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn two_grids_do_not_share_an_output_folder() {
    let out = tempfile::tempdir().unwrap();
    let experiment = open(config(&["nkd"])).unwrap();
    let first = grid(&experiment, out.path()).unwrap();
    let under_way = out.path().join(".partial-demo-plain-nkd-tiny-seed-0");
    std::fs::create_dir(&under_way).unwrap();
    let error = grid(&experiment, out.path()).unwrap_err();
    assert!(matches!(&error, ExperimentError::Record(RecordError::InUse { folder }) if folder == out.path()));
    assert!(under_way.exists() && error.kind() != ErrorKind::Usage);
    drop(first);
    assert_eq!(run(&experiment, out.path()).unwrap().n_finished, 1);
    assert!(tree(out.path()).iter().all(|path| path.starts_with("runs")));
}

#[test]
fn an_unwritable_output_folder_is_found_before_training() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("file");
    std::fs::write(&file, "").unwrap();
    let experiment = open(config(&["nkd"])).unwrap();
    let error = grid(&experiment, &file.join("runs")).unwrap_err();
    assert!(matches!(error, ExperimentError::Record(RecordError::Write { .. })));
}

#[test]
fn wrong_names_and_settings_are_usage_errors() {
    let check = |change: fn(&mut ExperimentConfig), expected: fn(&ExperimentError) -> bool| {
        let mut config = config(&["nkd"]);
        change(&mut config);
        let error = open(config).unwrap_err();
        assert!(expected(&error) && error.kind() == ErrorKind::Usage, "{error:?}");
    };
    use ExperimentError as E;
    check(
        |c| c.methods.push("x".into()),
        |e| matches!(e, E::Configuration(e) if matches!(**e, MethodError::UnknownMethod { .. })),
    );
    check(|c| c.backbones.push("x".into()), |e| matches!(e, E::Model(ModelError::UnknownBackbone { .. })));
    check(
        |c| c.backbones = vec!["resnet18".into()],
        |e| matches!(e, E::Model(ModelError::WeightsNeeded { .. })),
    );
    check(
        |c| c.dataset = DatasetChoice::new("x"),
        |e| matches!(e, E::Dataset(DatasetError::UnknownDataset { .. })),
    );
    check(
        |c| c.dataset = DatasetChoice::new("mvtec"),
        |e| matches!(e, E::Dataset(DatasetError::RootNotGiven { .. })),
    );
    check(
        |c| c.categories = vec!["x".into()],
        |e| matches!(e, E::Dataset(DatasetError::UnknownCategory { .. })),
    );
    check(|c| c.methods.push("".into()), |e| matches!(e, E::EmptyItem { key: "methods" }));
    check(|c| c.image_size = 31.into(), |e| matches!(e, E::ImageSize { .. }));
    check(|c| c.image_size = 65.into(), |e| matches!(e, E::BackboneImageSize { step: 32, .. }));
    let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
    let mut bad = config(&["nkd"]);
    bad.method.insert("nkd".into(), table("colour = 1"));
    assert_eq!(open(bad).unwrap_err().kind(), ErrorKind::Usage);
    let mut of_no_run = config(&["nkd"]);
    of_no_run.method.insert("rkd".into(), table("epochs = 0"));
    assert_eq!(open(of_no_run).unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn a_methods_own_epochs_go_before_the_general_ones() {
    let mut config = config(&["nkd", "rkd"]);
    config.method.insert("rkd".into(), toml::from_str("epochs = 3").unwrap());
    let experiment = open(config).unwrap();
    let epochs: Vec<_> = experiment.plans().iter().map(|plan| plan.config.method["epochs"].clone()).collect();
    assert_eq!(epochs, [1, 3]);
    assert_eq!(experiment.plans()[1].stages()[0].epochs, 3);
}
