//! VisA (Zou, Jeong, Pemula, Zhang and Dabeer, ECCV 2022, arXiv:2207.14315) in its own layout; the
//! one-class split, which trains on normal images only.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fmam_core::{Preparation, Sample, SampleSource, Split};

use super::files::{EXTENSIONS, Tree, sample, stem_of, subfolders};
use super::masks::{mask_tree, refuse_unused};
use super::records::{MAX_LIST, Record, records, within};
use crate::source::MaskFormat;
use crate::{
    Category, CategoryFiles, Counts, Dataset, DatasetEntry, DatasetError, Example, ExampleFile, FileLayout,
    RowProblem,
};

pub(crate) static ENTRY: DatasetEntry = DatasetEntry {
    name: "visa",
    summary: "VisA, one-class split: split_csv/1cls.csv, OBJECT/Data/Images/TYPE, OBJECT/Data/Masks/Anomaly",
    layout: Some(FileLayout {
        holders: &["visa", "VisA", "VisA_20220922"],
        expected: "OBJECT/Data/Images and split_csv/1cls.csv, or visa with those in it",
        example: Example {
            files: &[
                ("split_csv/1cls.csv", ExampleFile::Text(EXAMPLE_LIST)),
                ("candle/Data/Images/Normal/0000.JPG", ExampleFile::Image),
                ("candle/Data/Images/Normal/0001.JPG", ExampleFile::Image),
                ("candle/Data/Images/Normal/0002.JPG", ExampleFile::Image),
                ("candle/Data/Images/Anomaly/000.JPG", ExampleFile::Image),
                ("candle/Data/Images/Anomaly/001.JPG", ExampleFile::Image),
                ("candle/Data/Masks/Anomaly/000.png", ExampleFile::ClassMask),
                ("candle/Data/Masks/Anomaly/001.png", ExampleFile::ClassMask),
                ("pcb1/Data/Images/Normal/0000.JPG", ExampleFile::Image),
                ("pcb1/Data/Images/Normal/0001.JPG", ExampleFile::Image),
                ("pcb1/Data/Images/Anomaly/000.JPG", ExampleFile::Image),
                ("pcb1/Data/Masks/Anomaly/000.png", ExampleFile::ClassMask),
            ],
            counts: &[("candle", Counts::new(2, 1, 2)), ("pcb1", Counts::new(1, 1, 1))],
        },
    }),
    // The list of the one-class split, `split_csv/1cls.csv`: nine tenths of the normal images are
    // for training.
    published: &[
        ("candle", Counts::new(900, 100, 100)),
        ("capsules", Counts::new(542, 60, 100)),
        ("cashew", Counts::new(450, 50, 100)),
        ("chewinggum", Counts::new(453, 50, 100)),
        ("fryum", Counts::new(450, 50, 100)),
        ("macaroni1", Counts::new(900, 100, 100)),
        ("macaroni2", Counts::new(900, 100, 100)),
        ("pcb1", Counts::new(904, 100, 100)),
        ("pcb2", Counts::new(901, 100, 100)),
        ("pcb3", Counts::new(905, 101, 100)),
        ("pcb4", Counts::new(904, 101, 100)),
        ("pipe_fryum", Counts::new(450, 50, 100)),
    ],
    open: |options| Ok(Box::new(options.find(&ENTRY, Visa::found_in)?)),
};

/// The list of the example, which is not sorted and whose lines end in CRLF, as the published
/// list's do.
const EXAMPLE_LIST: &str = "\
object,split,label,image,mask\r
candle,train,normal,candle/Data/Images/Normal/0002.JPG,\r
candle,train,normal,candle/Data/Images/Normal/0000.JPG,\r
candle,test,normal,candle/Data/Images/Normal/0001.JPG,\r
candle,test,anomaly,candle/Data/Images/Anomaly/001.JPG,candle/Data/Masks/Anomaly/001.png\r
candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png\r
pcb1,train,normal,pcb1/Data/Images/Normal/0001.JPG,\r
pcb1,test,normal,pcb1/Data/Images/Normal/0000.JPG,\r
pcb1,test,anomaly,pcb1/Data/Images/Anomaly/000.JPG,pcb1/Data/Masks/Anomaly/000.png\r
";

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
    /// The data set in `folder`, where it has the list of splits or objects. A data set without its
    /// list is VisA all the same, and the list is what will be missed.
    fn found_in(folder: &Path) -> Result<Option<Self>, DatasetError> {
        let list = folder.join(LIST);
        let is_object = |folder: &PathBuf| folder.join("Data/Images").is_dir();
        if !list.exists() && !subfolders(folder)?.iter().any(is_object) {
            return Ok(None);
        }
        let rows = read_list(&list)?;
        let opened = Self { folder: folder.to_owned(), list, rows };
        Ok(Some(opened).filter(|opened| !opened.categories().is_empty()))
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

    /// The samples of a split of an object, the normal ones first. There are no anomalous ones for
    /// training.
    fn samples(&self, name: &str, split: Split) -> Result<Vec<Sample>, DatasetError> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.object == name).collect();
        if rows.is_empty() {
            let (name, known) = (name.to_owned(), self.categories());
            return Err(DatasetError::UnknownCategory { dataset: ENTRY.name, name, known });
        }
        let samples = |is_anomalous: bool| -> Result<Vec<Sample>, DatasetError> {
            let wanted = |row: &&&Row| row.split == split && row.mask.is_some() == is_anomalous;
            rows.iter().filter(wanted).map(|row| self.sample(row)).collect()
        };
        let mut of_split = samples(false)?;
        if split == Split::Test {
            of_split.extend(samples(true)?);
        }
        if of_split.is_empty() {
            let (list, category) = (self.list.clone(), name.to_owned());
            return Err(DatasetError::EmptySplit { list, category, split });
        }
        Ok(of_split)
    }

    /// The sample of a row.
    fn sample(&self, row: &Row) -> Result<Sample, DatasetError> {
        let image = self.file(row, &row.image)?;
        let name = stem_of(&image);
        let Some(mask) = &row.mask else { return Ok(sample(row.split, "normal", &name, image, None)) };
        let sample = sample(row.split, DEFECT_TYPE, &name, image, Some(DEFECT_TYPE));
        Ok(Sample { mask_paths: vec![self.file(row, mask)?], ..sample })
    }
}

impl Dataset for Visa {
    /// The objects of the list whose folders are there: one object may be had without the others.
    fn categories(&self) -> Vec<String> {
        let objects: BTreeSet<&str> = self.rows.iter().map(|row| row.object.as_str()).collect();
        let is_there = |object: &&str| self.folder.join(object).is_dir();
        objects.into_iter().filter(is_there).map(str::to_owned).collect()
    }

    fn files(&self, name: &str) -> Result<CategoryFiles, DatasetError> {
        let train = self.samples(name, Split::Train)?;
        let test = self.samples(name, Split::Test)?;
        // The list need not name every image of the folder.
        let data = self.folder.join(name).join("Data");
        let images = Tree::below(&data.join("Images/Anomaly"), &EXTENSIONS)?;
        refuse_unused(&images, &mask_tree(&data.join("Masks/Anomaly"))?)?;
        Ok(CategoryFiles { folder: self.folder.join(name), train, test, masks: MaskFormat::ClassIndices })
    }

    fn train(&self, name: &str, size: &Preparation) -> Result<Arc<dyn SampleSource>, DatasetError> {
        Category::train_from_files(self.samples(name, Split::Train)?, size)
    }
}

/// Reads a list of splits; whether the files are there is seen when a category is opened.
fn read_list(list: &Path) -> Result<Vec<Row>, DatasetError> {
    let text = fmam_files::read_text_limited(list, MAX_LIST).map_err(|source| match source.kind() {
        ErrorKind::NotFound => DatasetError::MissingSplitList { path: list.to_owned() },
        _ => DatasetError::Read { path: list.to_owned(), source },
    })?;
    let at = |line, problem| DatasetError::SplitListRow { list: list.to_owned(), line, problem };
    let records = records(&text).map_err(|quote| at(quote.line, RowProblem::MisplacedQuote))?;
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
        // An image of both splits would be tested on what was learnt, and a mask fits one image
        // only.
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
        _ => return Err(RowProblem::UnknownLabel { label: label.clone(), known: "normal, anomaly" }),
    };
    Ok(Row { line: record.line, object: object.clone(), split, image, mask })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_paper() {
        // 9621 normal and 1200 anomalous images of 12 objects.
        assert_eq!(ENTRY.published.len(), 12);
        assert_eq!(Counts::sum(ENTRY.published), Counts::new(8659, 962, 1200));
        assert_eq!(8659 + 962, 9621);
    }

    #[test]
    fn nine_tenths_of_the_normal_images_are_for_training() {
        for (category, Counts { train, test_normal, .. }) in ENTRY.published {
            let tenths = 9 * (train + test_normal);
            assert!((10 * train).abs_diff(tenths) <= 5, "{category}");
        }
    }
}
