//! VisA (Zou, Jeong, Pemula, Zhang and Dabeer, ECCV 2022, arXiv:2207.14315) in its own layout; the one-class split,
//! which trains on normal images only.

mod csv;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use fmam_core::{ImageSize, Sample, Split};

use self::csv::Record;
use super::files::{sample, subfolders};
use crate::source::MaskFormat;
use crate::{Category, Dataset, DatasetEntry, DatasetError, DatasetOptions, RowProblem};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "visa",
    summary: "VisA, one-class split: split_csv/1cls.csv, OBJECT/Data/Images/TYPE, OBJECT/Data/Masks/Anomaly",
    open: |options| Ok(Box::new(Visa::open(options)?)),
};

/// Names under which the data set's folder is found within the data root.
const HOLDERS: [&str; 3] = ["visa", "VisA", "VisA_20220922"];
/// The list of splits, within the data set's folder.
const LIST: &str = "split_csv/1cls.csv";
const HEADER: &str = "object,split,label,image,mask";
const N_FIELDS: usize = 5;
/// The list says no more of a defect than that there is one.
const DEFECT_TYPE: &str = "anomaly";

struct Visa {
    folder: PathBuf,
    list: PathBuf,
    /// Sorted by the images' paths.
    rows: Vec<Row>,
}

/// An image, as the list has it.
struct Row {
    line: usize,
    object: String,
    split: Split,
    /// Within the data set's folder.
    image: PathBuf,
    /// Of an anomalous image, within the data set's folder.
    mask: Option<PathBuf>,
}

impl Visa {
    fn open(options: &DatasetOptions) -> Result<Self, DatasetError> {
        let root = options.root_for(ENTRY.name)?;
        let candidates = HOLDERS.map(|holder| root.join(holder)).into_iter().chain([root.to_owned()]);
        for folder in candidates.filter(|folder| folder.is_dir()) {
            // Without its list it is VisA all the same, and the list is what will be missed.
            let is_object = |folder: &PathBuf| folder.join("Data/Images").is_dir();
            if folder.join(LIST).exists() || subfolders(&folder)?.iter().any(is_object) {
                let list = folder.join(LIST);
                let rows = read_list(&list)?;
                let opened = Self { folder, list, rows };
                if !opened.categories().is_empty() {
                    return Ok(opened);
                }
            }
        }
        Err(DatasetError::UnrecognizedLayout {
            dataset: ENTRY.name,
            root: root.to_owned(),
            expected: "OBJECT/Data/Images and split_csv/1cls.csv, or visa with those in it",
        })
    }

    /// The file that a row names.
    fn file(&self, row: &Row, path: &Path) -> Result<PathBuf, DatasetError> {
        let path = self.folder.join(path);
        if path.is_file() {
            return Ok(path);
        }
        let (list, line) = (self.list.clone(), row.line);
        Err(DatasetError::SplitListRow { list, line, problem: RowProblem::MissingFile { path } })
    }

    /// The sample of a row.
    fn sample(&self, row: &Row) -> Result<Sample, DatasetError> {
        let image = self.file(row, &row.image)?;
        let Some(mask) = &row.mask else { return Ok(sample(row.split, "normal", image, None)) };
        let sample = sample(row.split, DEFECT_TYPE, image, Some(DEFECT_TYPE));
        Ok(Sample { mask_path: Some(self.file(row, mask)?), ..sample })
    }
}

impl Dataset for Visa {
    /// The objects of the list whose folders are there: one object may be had without the others.
    fn categories(&self) -> Vec<String> {
        let objects: BTreeSet<&str> = self.rows.iter().map(|row| row.object.as_str()).collect();
        let is_there = |object: &&str| self.folder.join(object).is_dir();
        objects.into_iter().filter(is_there).map(str::to_owned).collect()
    }

    fn category(&self, name: &str, size: ImageSize) -> Result<Category, DatasetError> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.object == name).collect();
        if rows.is_empty() {
            let (name, known) = (name.to_owned(), self.categories());
            return Err(DatasetError::UnknownCategory { dataset: ENTRY.name, name, known });
        }
        let samples = |split: Split, is_anomalous: bool| -> Result<Vec<Sample>, DatasetError> {
            let wanted = |row: &&&Row| row.split == split && row.mask.is_some() == is_anomalous;
            rows.iter().filter(wanted).map(|row| self.sample(row)).collect()
        };
        let train = samples(Split::Train, false)?;
        let mut test = samples(Split::Test, false)?;
        test.extend(samples(Split::Test, true)?);
        for (split, samples) in [(Split::Train, &train), (Split::Test, &test)] {
            if samples.is_empty() {
                let (list, category) = (self.list.clone(), name.to_owned());
                return Err(DatasetError::EmptySplit { list, category, split });
            }
            refuse_shared_ids(samples)?;
        }
        Category::from_files(name, &self.folder.join(name), train, test, size, MaskFormat::ClassIndices)
    }
}

/// Ids go by stem, and results are filed under ids.
fn refuse_shared_ids(samples: &[Sample]) -> Result<(), DatasetError> {
    let mut ids: HashMap<&str, &Path> = HashMap::new();
    for sample in samples {
        if let Some(first) = ids.insert(&sample.id, &sample.image_path) {
            let (first, second) = (first.to_owned(), sample.image_path.clone());
            return Err(DatasetError::DuplicateStem { first, second });
        }
    }
    Ok(())
}

/// Reads a list of splits; whether the files are there is seen when a category is opened.
fn read_list(list: &Path) -> Result<Vec<Row>, DatasetError> {
    let text = std::fs::read_to_string(list).map_err(|source| match source.kind() {
        ErrorKind::NotFound => DatasetError::MissingSplitList { path: list.to_owned() },
        _ => DatasetError::Read { path: list.to_owned(), source },
    })?;
    let at = |line, problem| DatasetError::SplitListRow { list: list.to_owned(), line, problem };
    let records = csv::records(&text).map_err(|quote| at(quote.line, RowProblem::MisplacedQuote))?;
    let (line, header) = match records.first() {
        Some(record) => (record.line, record.fields.join(",")),
        None => (1, String::new()),
    };
    if header != HEADER {
        return Err(at(line, RowProblem::Header { found: header, expected: HEADER }));
    }
    let mut rows = Vec::with_capacity(records.len());
    let mut lines = HashMap::new();
    for record in &records[1..] {
        let row = row(record).map_err(|problem| at(record.line, problem))?;
        // An image of both splits would be tested on what was learnt, and a mask fits one image only.
        for path in [Some(&row.image), row.mask.as_ref()].into_iter().flatten() {
            if let Some(first) = lines.insert(path.clone(), record.line) {
                let path = path.clone();
                return Err(at(record.line, RowProblem::Repeated { path, first }));
            }
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(DatasetError::EmptyImageSet { path: list.to_owned() });
    }
    rows.sort_by(|a: &Row, b: &Row| a.image.cmp(&b.image));
    Ok(rows)
}

/// The row in a record.
fn row(record: &Record) -> Result<Row, RowProblem> {
    let [object, split, label, image, mask] = record.fields.as_slice() else {
        return Err(RowProblem::FieldCount { found: record.fields.len(), expected: N_FIELDS });
    };
    // An object names a folder, here and where results go.
    if object.is_empty() {
        return Err(RowProblem::EmptyField { field: "object" });
    }
    if Path::new(object).file_name() != Some(OsStr::new(object)) {
        return Err(RowProblem::OutsideDataset { path: object.clone() });
    }
    let split = match split.as_str() {
        "train" => Split::Train,
        "test" => Split::Test,
        _ => return Err(RowProblem::UnknownSplit { split: split.clone() }),
    };
    let image = within(image, "image")?;
    let mask = match (label.as_str(), split, mask.as_str()) {
        ("normal", _, "") => None,
        ("normal", ..) => return Err(RowProblem::MaskOfNormal { mask: mask.clone() }),
        ("anomaly", Split::Train, _) => return Err(RowProblem::AnomalyInTraining),
        ("anomaly", Split::Test, "") => return Err(RowProblem::NoMask { image }),
        ("anomaly", Split::Test, mask) => Some(within(mask, "mask")?),
        _ => return Err(RowProblem::UnknownLabel { label: label.clone() }),
    };
    Ok(Row { line: record.line, object: object.clone(), split, image, mask })
}

/// A path that cannot lead out of the folder that it is relative to; `field` names it where it is empty.
fn within(path: &str, field: &'static str) -> Result<PathBuf, RowProblem> {
    if path.is_empty() {
        return Err(RowProblem::EmptyField { field });
    }
    let inner = |component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    };
    let components = Path::new(path).components().filter(|component| *component != Component::CurDir);
    let inside: Option<PathBuf> = components.map(inner).collect();
    inside.ok_or_else(|| RowProblem::OutsideDataset { path: path.to_owned() })
}
