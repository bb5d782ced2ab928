//! Advice after an error: the options to type. Errors of the libraries state facts; only this crate
//! knows the command line.

use std::error::Error;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

use fmam::ImageSize;
use fmam_datasets::DatasetError;
use fmam_experiment::ExperimentError;
use fmam_inspection::InspectionError;
use fmam_methods::MethodError;
use fmam_models::ModelError;
use fmam_record::RecordError;
use fmam_report::ReportError;

/// A hint for the first error in the chain of `error` that has one. Its commands are those of the
/// program at hand.
pub(crate) fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    let hint = std::iter::successors(Some(error), |&error| error.source()).find_map(of_one);
    hint.map(|hint| of_program(&hint, PROGRAM.get().map_or("fmam", String::as_str)))
}

/// The name by which this program was called.
static PROGRAM: OnceLock<String> = OnceLock::new();

/// Keeps the name of the program, of which `called` is the first argument.
pub(crate) fn keep_program(called: &OsStr) {
    let name = Path::new(called).file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    if !name.is_empty() {
        // The first call of several in a process gives the name.
        let _ = PROGRAM.set(name.to_owned());
    }
}

/// `hint` with the commands of `fmam` as those of `program`.
fn of_program(hint: &str, program: &str) -> String {
    hint.replace("`fmam ", &format!("`{program} "))
}

/// A transparent error hides the one that it carries from the chain.
fn of_one(error: &(dyn Error + 'static)) -> Option<String> {
    let error = match error.downcast_ref::<Box<fmam::Error>>() {
        Some(boxed) => boxed.as_ref(),
        None => error,
    };
    None.or_else(|| error.downcast_ref().and_then(experiment))
        .or_else(|| error.downcast_ref().and_then(application))
        .or_else(|| error.downcast_ref().and_then(dataset))
        .or_else(|| error.downcast_ref().and_then(model))
        .or_else(|| error.downcast_ref().and_then(method))
        .or_else(|| error.downcast_ref().and_then(record))
        .or_else(|| error.downcast_ref().and_then(inspection))
        .or_else(|| match error.downcast_ref()? {
            ReportError::Record(error) => record(error),
            _ => None,
        })
}

fn application(error: &fmam::Error) -> Option<String> {
    use fmam::Error as E;
    let hint = match error {
        E::NoCuda => {
            "build it with `cargo build --release --package fmam-cli --features cuda`, or use --device cpu"
        }
        E::WeightsOfWhich { .. } => "write --weights NAME=FILE",
        E::CategoryNeeded { .. } => "choose it with --category",
        E::SettingWithoutMethod { key } => return Some(format!("write --set METHOD.{key}=...")),
        E::RootWithoutDataset | E::CategoriesOfWhich { .. } => "name it with --dataset",
        E::RunsFailed { .. } => "the same command tries them again",
        E::NotEmpty { .. } | E::OtherVerdicts { .. } => "choose another --out",
        E::Vanished { .. } => "repeat the command: images without a line in --out are scored",
        E::Resumable { .. } => "go on in it with --continue, or choose another --out",
        E::DamagedLine { .. } => "delete the line, or choose another --out",
        E::Uncalibrated => "`fmam calibrate` does it",
        E::NotFetched { .. } => "repeat without --offline",
        E::AlreadyExists { .. } => "`fmam datasets verify` counts its images",
        E::NotFetchable { .. } => "repeat with --from-archive FILE",
        error => return error.held().and_then(of_one),
    };
    Some(hint.to_owned())
}

fn experiment(error: &ExperimentError) -> Option<String> {
    Some(match error {
        ExperimentError::BackboneImageSize { step, largest, actual, .. } => {
            let side = |actual: usize| (actual.min(*largest) / step).max(1) * step;
            let ImageSize { height, width } = *actual;
            let is_square = height == width;
            let size = ImageSize::new(side(height), side(width));
            format!("try --image-size {}", if is_square { size.height.to_string() } else { size.to_string() })
        }
        ExperimentError::ConfigDiffers { .. } => {
            "choose another --out, or repeat it with --overwrite".to_owned()
        }
        ExperimentError::ProgramDiffers { .. } => {
            "repeat it with --overwrite, or keep such runs as they are with --any-version".to_owned()
        }
        ExperimentError::DataDiffers { .. } | ExperimentError::TexturesDiffer { .. } => {
            "say with --data-root where they lie".to_owned()
        }
        ExperimentError::NoMethodInTime { .. } => {
            "give more time with --budget, or fewer --epochs to the methods that train".to_owned()
        }
        ExperimentError::ScoresDiffer { .. } => "repeat the run with --overwrite".to_owned(),
        ExperimentError::Dataset(error) => return dataset(error),
        ExperimentError::Model(error) => return model(error),
        ExperimentError::Method(error) | ExperimentError::Configuration(error) => return method(error),
        ExperimentError::Record(error) => return record(error),
        _ => return None,
    })
}

fn dataset(error: &DatasetError) -> Option<String> {
    match error {
        DatasetError::RootNotGiven { .. } => Some("give it with --data-root".to_owned()),
        DatasetError::NoValueRange { .. } => {
            Some("give it to `fmam fit` with --value-range LOW,HIGH".to_owned())
        }
        DatasetError::TooLarge { needed, .. } => {
            Some(format!("try --max-image-mib {}", needed.div_ceil(1 << 20)))
        }
        DatasetError::RegionAspect { .. } => {
            Some("give a mask of the images' size with --roi, or a folder with one for each image".to_owned())
        }
        _ => None,
    }
}

fn model(error: &ModelError) -> Option<String> {
    const FILE: &str = "give a state dict with --weights FILE (.pth or .safetensors)";
    match error {
        ModelError::WeightsNeeded { name, is_published: true } => {
            Some(format!("fetch them with `fmam weights fetch {name}`, or {FILE}"))
        }
        ModelError::WeightsNeeded { is_published: false, .. } => Some(FILE.to_owned()),
        _ => None,
    }
}

fn method(error: &MethodError) -> Option<String> {
    match error {
        MethodError::OutOfMemory { batch_size, .. } if *batch_size > 1 => {
            Some(format!("try --set METHOD.batch_size={}", batch_size / 2))
        }
        MethodError::OutOfMemory { .. } => Some("try smaller images (--image-size)".to_owned()),
        MethodError::Model(error) => model(error),
        _ => None,
    }
}

fn inspection(error: &InspectionError) -> Option<String> {
    match error {
        InspectionError::TooFewImages { least, .. } => {
            let least = (1e4 * least).ceil() / 1e2;
            Some(format!(
                "give the model more good images with `fmam calibrate`, or try --false-alarms {least}%"
            ))
        }
        _ => None,
    }
}

fn record(error: &RecordError) -> Option<String> {
    let hint = match error {
        RecordError::Damaged { .. } => "delete the file or give --overwrite to repeat this run",
        RecordError::Schema { .. } => {
            "delete the file or give --overwrite to repeat this run, or choose another --out"
        }
        RecordError::InUse { .. } => "wait until it ends, or choose another --out",
        RecordError::DamagedGrid { .. } => "delete it, or repeat the command with --shard that wrote it",
        RecordError::DamagedMaps { .. } => "delete the file and run `fmam analyze` on the output folder",
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use fmam_core::StageId;

    use super::*;

    fn hint(error: anyhow::Error) -> Option<String> {
        let told = advice(error.as_ref());
        // The hint is found at any depth.
        assert_eq!(advice(Err::<(), _>(error).context("in").unwrap_err().as_ref()), told);
        told
    }

    #[test]
    fn the_command_is_that_of_the_program_at_hand() {
        let hint = model(&ModelError::WeightsNeeded { name: "resnet18", is_published: true }).unwrap();
        let told = of_program(&hint, "laboratory");
        assert!(told.starts_with("fetch them with `laboratory weights fetch resnet18`, or give"), "{told}");
    }

    #[test]
    fn a_hint_is_found_through_transparent_errors() {
        let full = |batch_size| MethodError::OutOfMemory {
            stage: StageId::new("student"),
            batch_size,
            source: Box::new(MethodError::NoTrainingImages),
        };
        let of_run = |error| ExperimentError::Method(Box::new(error));
        assert_eq!(hint(of_run(full(16)).into()).unwrap(), "try --set METHOD.batch_size=8");
        assert_eq!(hint(of_run(full(1)).into()).unwrap(), "try smaller images (--image-size)");
        let weights = |is_published| ModelError::WeightsNeeded { name: "resnet18", is_published };
        for error in [weights(true).into(), ExperimentError::Model(weights(true)).into()] {
            assert!(hint(error).unwrap().starts_with("fetch them with `fmam weights fetch resnet18`, or"));
        }
        assert!(hint(of_run(weights(false).into()).into()).unwrap().starts_with("give a state dict"));
        let in_use = || RecordError::InUse { folder: "o".into() };
        for error in [in_use().into(), ReportError::Record(in_use()).into()] {
            assert!(hint(error).unwrap().contains("--out"));
        }
        let size = |actual| ExperimentError::BackboneImageSize {
            backbone: "b".to_owned(),
            step: 224,
            largest: 448,
            actual,
        };
        let sizes = [((64, 64), "224"), ((256, 256), "224"), ((672, 672), "448"), ((230, 900), "224x448")];
        for ((height, width), hinted) in sizes {
            let actual = ImageSize::new(height, width);
            assert_eq!(hint(size(actual).into()).unwrap(), format!("try --image-size {hinted}"));
        }
        let few = InspectionError::TooFewImages { rate: 0.001, n: 20, least: 1.0 / 21.0, needed: 999 };
        assert!(hint(fmam::Error::Inspection(few).into()).unwrap().contains("--false-alarms 4.77%"));
        assert_eq!(hint(ExperimentError::LoaderThreads.into()), None);
    }
}
