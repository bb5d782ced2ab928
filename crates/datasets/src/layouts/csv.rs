//! Any images by a list: a CSV file with the columns `path`, `label`, `mask`, `split` and
//! `category`, of which only `path` must be there. A part that is missing is told with its
//! consequence; nothing that an evaluation needs is guessed.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fmam_core::{Label, Preparation, Sample, SampleSource, Split};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{files_in, name_of, sample, stem_of};
use super::masks::refuse_some_without_mask;
use super::records::{MAX_LIST, Record, records, within};
use crate::source::MaskFormat;
use crate::told::tell;
use crate::{
    Category, CategoryFiles, Choice, Counts, Dataset, DatasetEntry, DatasetError, DatasetOptions, Example,
    ExampleFile, FileLayout, RowProblem,
};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "csv",
    summary: "your images by a list: NAME.csv with the columns path, label, mask, split, category",
    layout: Some(FileLayout {
        holders: &[],
        expected: "NAME.csv with a column path",
        example: Example {
            files: &[
                ("list.csv", ExampleFile::Text(EXAMPLE_LIST)),
                ("a/0.png", ExampleFile::Image),
                ("a/1.png", ExampleFile::Image),
                ("a/2.png", ExampleFile::Image),
                ("a/3.png", ExampleFile::Image),
                ("a/3_mask.png", ExampleFile::Mask),
                ("b/0.png", ExampleFile::Image),
                ("b/1.png", ExampleFile::Image),
                ("b/2.png", ExampleFile::Image),
                ("b/2_mask.png", ExampleFile::Mask),
            ],
            counts: &[("bolt", Counts::new(2, 1, 1)), ("nut", Counts::new(1, 1, 1))],
        },
    }),
    published: &[],
    open: |options| Ok(Box::new(Listed::open(options)?)),
};

const EXAMPLE_LIST: &str = "\
category,split,label,path,mask
bolt,train,normal,a/0.png,
bolt,train,normal,a/1.png,
bolt,test,normal,a/2.png,
bolt,test,anomalous,a/3.png,a/3_mask.png
nut,train,good,b/0.png,
nut,test,0,b/1.png,
nut,test,1,b/2.png,b/2_mask.png
";

const COLUMNS: [&str; 5] = ["path", "label", "mask", "split", "category"];
const LABELS: &str = "normal, good, ok, 0 and anomalous, anomaly, bad, defect, 1";

/// The settings.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// The list, a file directly in the data root; without it, the only `.csv` file there.
    file: Option<String>,
}

struct Listed {
    list: PathBuf,
    settings: Settings,
    columns: Columns,
    /// Sorted by the images' paths.
    rows: Vec<Row>,
}

/// The columns of a list, by their numbers.
#[derive(Debug, Default)]
struct Columns {
    path: usize,
    label: Option<usize>,
    mask: Option<usize>,
    split: Option<usize>,
    category: Option<usize>,
    n: usize,
    /// The names of columns that are not read.
    unknown: Vec<String>,
}

/// An image, as the list has it. A part is `None` where its column is missing.
struct Row {
    line: usize,
    category: Option<String>,
    split: Option<Split>,
    label: Option<Label>,
    /// Relative to the list.
    image: PathBuf,
    mask: Option<PathBuf>,
}

impl Listed {
    fn open(options: &DatasetOptions) -> Result<Self, DatasetError> {
        let settings: Settings = options.read(ENTRY.name)?;
        let expected = format!("{} with a column path", settings.file.as_deref().unwrap_or("NAME.csv"));
        let list =
            options.find_expecting(&ENTRY, expected, |root| found_in(root, settings.file.as_deref()))?;
        let (columns, rows) = read_list(&list)?;
        Ok(Self { list, settings, columns, rows })
    }

    /// The category of a list without a column for it is called as the list.
    fn category_of<'a>(&'a self, row: &'a Row) -> std::borrow::Cow<'a, str> {
        row.category.as_deref().map_or_else(|| stem_of(&self.list).into(), Into::into)
    }

    /// The rows of a category.
    fn rows(&self, name: &str) -> Result<Vec<&Row>, DatasetError> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| self.category_of(row) == name).collect();
        if rows.is_empty() {
            let (name, known) = (name.to_owned(), self.categories());
            return Err(DatasetError::UnknownCategory { dataset: ENTRY.name, name, known });
        }
        Ok(rows)
    }

    fn train_samples(&self, name: &str) -> Result<Vec<Sample>, DatasetError> {
        let rows = self.rows(name)?;
        self.columns.tell(&self.list);
        let rows = rows.into_iter().filter(|row| row.used_in() == Split::Train);
        let (anomalous, normal): (Vec<&Row>, Vec<&Row>) =
            rows.partition(|row| row.label == Some(Label::Anomalous));
        if let Some(first) = anomalous.first() {
            tell(Choice::AnomalousTraining, &self.folder().join(&first.image), anomalous.len(), None);
        }
        if normal.is_empty() {
            let (list, category) = (self.list.clone(), name.to_owned());
            return Err(DatasetError::EmptySplit { list, category, split: Split::Train });
        }
        normal.into_iter().map(|row| self.sample(row, Label::Normal)).collect()
    }

    /// The test samples, the normal ones first.
    fn test_samples(&self, name: &str) -> Result<Vec<Sample>, DatasetError> {
        let rows = self.rows(name)?;
        let rows: Vec<&Row> = rows.into_iter().filter(|row| row.used_in() == Split::Test).collect();
        if rows.is_empty() {
            let (list, category) = (self.list.clone(), name.to_owned());
            return Err(DatasetError::EmptySplit { list, category, split: Split::Test });
        }
        if rows.iter().any(|row| row.label.is_none()) {
            return Err(DatasetError::UnlabelledTest { list: self.list.clone() });
        }
        let samples = |label| -> Result<Vec<Sample>, DatasetError> {
            rows.iter().filter(|row| row.label == Some(label)).map(|row| self.sample(row, label)).collect()
        };
        let (mut test, anomalous) = (samples(Label::Normal)?, samples(Label::Anomalous)?);
        refuse_some_without_mask(&anomalous)?;
        test.extend(anomalous);
        Ok(test)
    }

    fn sample(&self, row: &Row, label: Label) -> Result<Sample, DatasetError> {
        let image = self.file(row, &row.image)?;
        let parts = row.image.with_extension("");
        let name: Vec<_> = parts.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        let (group, defect_type) = match label {
            Label::Normal => ("normal", None),
            Label::Anomalous => ("anomalous", Some("anomalous")),
        };
        let sample = sample(row.used_in(), group, &name.join("/"), image, defect_type);
        let mask = row.mask.as_ref().map(|mask| self.file(row, mask)).transpose()?;
        Ok(Sample { mask_paths: mask.into_iter().collect(), ..sample })
    }

    /// The file that a row names.
    fn file(&self, row: &Row, path: &Path) -> Result<PathBuf, DatasetError> {
        let path = self.folder().join(path);
        if path.is_file() {
            return Ok(path);
        }
        let (list, line) = (self.list.clone(), row.line);
        Err(DatasetError::SplitListRow { list, line, problem: RowProblem::MissingFile { path } })
    }

    fn folder(&self) -> &Path {
        self.list.parent().unwrap_or(Path::new(""))
    }
}

impl Row {
    /// The split that the row names. Without one an anomalous image can only be tested on, and any
    /// other is trained on: a test on it would be a test on what was learnt.
    fn used_in(&self) -> Split {
        match (self.split, self.label) {
            (Some(split), _) => split,
            (None, Some(Label::Anomalous)) => Split::Test,
            (None, _) => Split::Train,
        }
    }
}

impl Dataset for Listed {
    fn categories(&self) -> Vec<String> {
        let names: BTreeSet<_> = self.rows.iter().map(|row| self.category_of(row)).collect();
        names.into_iter().map(std::borrow::Cow::into_owned).collect()
    }

    fn files(&self, name: &str) -> Result<CategoryFiles, DatasetError> {
        let (train, test) = (self.train_samples(name)?, self.test_samples(name)?);
        Ok(CategoryFiles { folder: self.folder().to_owned(), train, test, masks: MaskFormat::Binary })
    }

    fn train(&self, name: &str, size: &Preparation) -> Result<Arc<dyn SampleSource>, DatasetError> {
        Category::train_from_files(self.train_samples(name)?, size)
    }

    /// `null` where the list is the only one in its folder.
    fn identity(&self) -> Value {
        match self.settings.file {
            None => Value::Null,
            Some(_) => serde_json::to_value(&self.settings).unwrap_or_default(),
        }
    }
}

/// The list in `root`: `file`, or the only `.csv` file.
fn found_in(root: &Path, file: Option<&str>) -> Result<Option<PathBuf>, DatasetError> {
    let mut lists = files_in(root, &["csv"])?;
    if let Some(file) = file {
        // Also a list of another extension.
        let list = root.join(file);
        return Ok((name_of(&list) == file && list.is_file()).then_some(list));
    }
    if lists.len() > 1 {
        let (first, second) = (lists.swap_remove(0), lists.swap_remove(0));
        return Err(DatasetError::SeveralLists { first, second });
    }
    Ok(lists.pop())
}

/// Reads a list; whether the files are there is seen when a category is opened.
fn read_list(list: &Path) -> Result<(Columns, Vec<Row>), DatasetError> {
    let text = fmam_files::read_text_limited(list, MAX_LIST)
        .map_err(|source| DatasetError::Read { path: list.to_owned(), source })?;
    let at = |line, problem| DatasetError::SplitListRow { list: list.to_owned(), line, problem };
    let records = records(&text).map_err(|quote| at(quote.line, RowProblem::MisplacedQuote))?;
    let Some((header, records)) = records.split_first() else {
        return Err(at(1, RowProblem::NoPathColumn { found: String::new() }));
    };
    let columns = Columns::of(header).map_err(|problem| at(header.line, problem))?;
    let (mut rows, mut lines) = (Vec::with_capacity(records.len()), HashMap::new());
    for record in records {
        let row = columns.row(record).map_err(|problem| at(record.line, problem))?;
        // An image of both splits would be tested on what was learnt, and a mask fits one image
        // only.
        for path in [Some(&row.image), row.mask.as_ref()].into_iter().flatten() {
            if let Some(first) = lines.insert(path.clone(), record.line) {
                return Err(at(record.line, RowProblem::Repeated { path: path.clone(), first }));
            }
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(DatasetError::EmptyImageSet { path: list.to_owned() });
    }
    rows.sort_by(|a: &Row, b: &Row| a.image.cmp(&b.image));
    Ok((columns, rows))
}

impl Columns {
    /// The columns that the first record names, in any order and case.
    fn of(header: &Record) -> Result<Self, RowProblem> {
        let (mut numbers, mut unknown) = (HashMap::<&str, usize>::new(), Vec::new());
        for (number, field) in header.fields.iter().enumerate() {
            let name = field.trim().to_lowercase();
            match COLUMNS.iter().find(|known| **known == name) {
                None => unknown.push(field.trim().to_owned()),
                Some(&known) => {
                    if numbers.insert(known, number).is_some() {
                        return Err(RowProblem::RepeatedColumn { column: known });
                    }
                }
            }
        }
        let column = |name| numbers.get(name).copied();
        let Some(path) = column("path") else {
            return Err(RowProblem::NoPathColumn { found: header.fields.join(",") });
        };
        Ok(Self {
            path,
            label: column("label"),
            mask: column("mask"),
            split: column("split"),
            category: column("category"),
            n: header.fields.len(),
            unknown,
        })
    }

    /// Tells which columns are not read, and what a missing column means.
    fn tell(&self, list: &Path) {
        for column in &self.unknown {
            tell(Choice::UnknownColumn, list, 1, Some(format!("`{column}`")));
        }
        let missing = [
            (self.split.is_none(), Choice::NoSplits),
            (self.label.is_none() && self.mask.is_some(), Choice::LabelsByMasks),
            (self.label.is_none() && self.mask.is_none(), Choice::NoLabels),
            (self.mask.is_none(), Choice::NoMasks),
            (self.category.is_none(), Choice::NoCategories),
        ];
        for (_, choice) in missing.into_iter().filter(|(is_missing, _)| *is_missing) {
            tell(choice, list, 1, None);
        }
    }

    /// The row in a record.
    fn row(&self, record: &Record) -> Result<Row, RowProblem> {
        let (found, expected) = (record.fields.len(), self.n);
        if found != expected {
            return Err(RowProblem::FieldCount { found, expected });
        }
        let field = |column: Option<usize>, name: &'static str| match column
            .map(|column| record.fields[column].trim())
        {
            Some("") => Err(RowProblem::EmptyField { field: name }),
            field => Ok(field),
        };
        let category = field(self.category, "category")?;
        if let Some(category) = category.filter(|name| Path::new(name).file_name() != Some(OsStr::new(name)))
        {
            // A category names the folder of its results.
            return Err(RowProblem::OutsideDataset { path: category.to_owned() });
        }
        let split = field(self.split, "split")?.map(split_of).transpose()?;
        let label = field(self.label, "label")?.map(label_of).transpose()?;
        let mask =
            self.mask.map(|column| record.fields[column].as_str()).filter(|mask| !mask.trim().is_empty());
        if let (Some(Label::Normal), Some(mask)) = (label, mask) {
            return Err(RowProblem::MaskOfNormal { mask: mask.to_owned() });
        }
        // A marked defect is not trained on.
        let label = label.or(mask.map(|_| Label::Anomalous));
        Ok(Row {
            line: record.line,
            category: category.map(str::to_owned),
            split,
            label,
            image: within(&record.fields[self.path], "path")?,
            mask: mask.map(|mask| within(mask, "mask")).transpose()?,
        })
    }
}

fn split_of(text: &str) -> Result<Split, RowProblem> {
    match text.to_lowercase().as_str() {
        "train" => Ok(Split::Train),
        "test" => Ok(Split::Test),
        _ => Err(RowProblem::UnknownSplit { split: text.to_owned() }),
    }
}

fn label_of(text: &str) -> Result<Label, RowProblem> {
    match text.to_lowercase().as_str() {
        "normal" | "good" | "ok" | "0" => Ok(Label::Normal),
        "anomalous" | "anomaly" | "bad" | "defect" | "1" => Ok(Label::Anomalous),
        _ => Err(RowProblem::UnknownLabel { label: text.to_owned(), known: LABELS }),
    }
}
