//! The words of the command line for errors of the library that speak of its options.

use fmam::Error;

/// The message for a person at the command line, where it differs from the error's own.
pub(crate) fn words(error: &Error) -> Option<String> {
    Some(match error {
        Error::NoCuda => format!(
            "{error}; build it with `cargo build --release --package fmam-cli --features cuda`, or use --device cpu"
        ),
        Error::WeightsOfWhich { file: f } => {
            format!("--weights {}: there are several backbones, say whose with NAME=FILE", f.display())
        }
        Error::CategoryNeeded { known } => {
            let known = known.join(", ");
            format!("there are several categories, choose one with --category; known are {known}")
        }
        Error::SettingWithoutMethod { key } => {
            format!("--set {key} names no method: write METHOD.{key}=...")
        }
        Error::RootWithoutDataset => {
            "--data-root needs --dataset, which says what the folder holds".to_owned()
        }
        Error::NoSuchPart { name, dataset, known } => {
            format!("--dataset {dataset}: {name} has {}", known.join(", "))
        }
        Error::CategoriesOfWhich { name } => {
            format!("--categories needs --dataset, because {name} has several data sets")
        }
        Error::MethodOfNoPart { name, method } => format!("--methods {method}: no part of {name} has it"),
        Error::UnknownTestImage { id } => {
            format!("--images {id}: no run has such a test image with its map")
        }
        Error::RunsFailed { .. } => format!("{error}; the same command tries them again"),
        Error::NotEmpty { .. } => format!("{error}; choose another --out"),
        Error::NotFetched { .. } => format!("{error}; repeat without --offline"),
        Error::AlreadyExists { .. } => format!("{error}; `fmam datasets verify` counts its images"),
        Error::NotFetchable { .. } => format!("{error} and repeat with --from-archive FILE"),
        _ => return None,
    })
}
