//! A study: runs of methods on data sets, as `fmam reproduce` does them.

use std::path::PathBuf;

use fmam::reproduce::{Options, Study};
use fmam::{DeviceChoice, Error, FinishedRuns, ImageSize, MethodId, Registry, Session};
use fmam_record::RunRecord;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::raise::raise;
use crate::values::settings;
use crate::watch::watched;

/// The options of a study, the keyword arguments of `fmam.reproduce`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct StudyOptions<'py> {
    preset: Option<String>,
    dataset: Option<String>,
    data_root: Option<PathBuf>,
    categories: Option<Vec<String>>,
    methods: Option<Vec<String>>,
    backbones: Option<Vec<String>>,
    seeds: Option<Vec<u64>>,
    epochs: Option<usize>,
    image_size: Option<(usize, usize)>,
    settings: Bound<'py, PyDict>,
    out: Option<PathBuf>,
    device: Option<String>,
    threads: Option<usize>,
    overwrite: bool,
}

impl StudyOptions<'_> {
    fn options(&self) -> PyResult<Options> {
        let device = self.device.as_deref().map(str::parse::<DeviceChoice>).transpose();
        Ok(Options {
            preset: self.preset.clone(),
            dataset: self.dataset.clone(),
            data_root: self.data_root.clone(),
            categories: self.categories.clone(),
            methods: self
                .methods
                .as_ref()
                .map(|names| names.iter().map(|name| MethodId::from(name.as_str())).collect()),
            backbones: self.backbones.clone(),
            seeds: self.seeds.clone(),
            epochs: self.epochs,
            image_size: self.image_size.map(|(height, width)| ImageSize::new(height, width)),
            settings: settings(&self.settings)?,
            out: self.out.clone(),
            threads: self.threads,
            device: device.map_err(|error| raise(&error))?,
            ..Options::default()
        })
    }
}

/// Does the runs of a study that its folder lacks, and writes the report. Gives the folder, the
/// runs as dictionaries, and a line on finished runs that are kept although another version made
/// them.
///
/// # Errors
/// As `fmam.reproduce` says.
#[pyfunction]
pub(crate) fn reproduce<'py>(
    py: Python<'py>,
    options: StudyOptions<'py>,
    listener: Option<Bound<'py, PyAny>>,
) -> PyResult<(PathBuf, Vec<Bound<'py, PyDict>>, Vec<String>)> {
    let (layer, overwrite) = (options.options()?, options.overwrite);
    let (out, runs, doubts) = watched(py, listener.as_ref(), |watch| {
        let registry = Registry::builtin();
        let resolved = layer.resolve(&registry)?;
        let builder = Session::builder().device(resolved.device()?).progress(watch.clone());
        let builder = match layer.threads {
            Some(threads) => builder.threads(threads),
            None => builder,
        };
        let (session, out) = (builder.build()?, resolved.out());
        let experiments = session.experiments(resolved.configs())?;
        let finished = if overwrite { FinishedRuns::Repeat } else { FinishedRuns::Keep };
        let study = Study::open(&experiments, &out, finished, None, &*watch)?;
        let doubts: Vec<String> = study
            .doubts()
            .iter()
            .map(|runs| {
                format!("{} finished runs are kept, {} the first: {}", runs.n, runs.first, doubt(runs.doubt))
            })
            .collect();
        let outcome = study.run(&session, &*watch, |_| {})?;
        let runs = outcome.report.as_ref().map_or_else(Vec::new, |(report, _)| report.runs().to_vec());
        outcome.into_result()?;
        Ok::<_, Error>((out, runs, doubts))
    })?;
    let runs = runs.iter().map(|run| row(py, run)).collect::<PyResult<_>>()?;
    Ok((out, runs, doubts))
}

/// The reason to doubt finished runs.
fn doubt(doubt: &fmam_experiment::Doubt) -> String {
    match doubt {
        fmam_experiment::Doubt::OtherProgram { name } => format!("another version, {name}, made them"),
        fmam_experiment::Doubt::NoDigests => "files that were replaced since are not noticed".to_owned(),
    }
}

/// A run as a row of a table.
fn row<'py>(py: Python<'py>, run: &RunRecord) -> PyResult<Bound<'py, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("dataset", &run.dataset)?;
    row.set_item("category", &run.category)?;
    row.set_item("method", run.method.as_str())?;
    row.set_item("backbone", &run.backbone)?;
    row.set_item("seed", run.seed.value())?;
    row.set_item("n_train", run.n_train)?;
    row.set_item("n_test_normal", run.n_test_normal)?;
    row.set_item("n_test_anomalous", run.n_test_anomalous)?;
    row.set_item("fit_seconds", run.fit_seconds)?;
    for (key, value) in run.metrics.iter() {
        row.set_item(key, value)?;
    }
    Ok(row)
}
