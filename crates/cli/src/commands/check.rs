use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use fmam::check::{CheckOptions, Checked, Finding, Severity, Subject, check};
use fmam::output::check_table;
use fmam::{DeviceChoice, ImageSize, Reading, Registry};
use fmam_core::shown_line;

use crate::compute::ComputeArgs;
use crate::exit::usage;
use crate::input::FileArgs;
use crate::stdout::{print, print_json};

#[derive(clap::Args)]
#[command(after_help = include_str!("../help/check.txt"), arg_required_else_help = true)]
pub(crate) struct Args {
    /// Folder of good images, or of a data set
    #[arg(value_name = "FOLDER", required_unless_present = "dataset", conflicts_with = "data_root")]
    folder: Option<PathBuf>,
    /// Data set in FOLDER or in --data-root; without it FOLDER is recognised by its layout
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Folder that holds the data set
    #[arg(long, value_name = "DIR", requires = "dataset")]
    data_root: Option<PathBuf>,
    /// Category of the data set [default: all]
    #[arg(long, value_name = "NAME", requires = "dataset")]
    category: Option<String>,
    /// Size that images will be resized to, a side in pixels or HEIGHTxWIDTH [default: 256]
    #[arg(long, value_name = "SIZE")]
    image_size: Option<ImageSize>,
    #[command(flatten)]
    files: FileArgs,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Findings of one kind that are printed; all errors are.
const SHOWN: usize = 10;

pub(crate) fn run(args: &Args, registry: &Registry) -> Result<()> {
    let size = args.image_size.unwrap_or(ImageSize::square(256));
    if size.height == 0 || size.width == 0 {
        return Err(usage(anyhow!("--image-size {size} has no pixel")));
    }
    let (session, console) = args.compute.on(registry, DeviceChoice::Cpu)?;
    let subject = match (&args.dataset, &args.folder) {
        (Some(dataset), folder) => {
            let root = args.data_root.clone().or_else(|| folder.clone());
            Subject::dataset(registry, dataset, root, args.category.as_deref())
        }
        (None, folder) => Subject::folder(registry, &folder.clone().unwrap_or_default()),
    }?;
    let default = Reading::default();
    let mut options = CheckOptions::default();
    options.reading = Reading {
        values: args.files.value_range.unwrap_or(default.values),
        background: args.files.background.unwrap_or(default.background),
        max_bytes: args.files.max_bytes().unwrap_or(default.max_bytes),
    };
    options.image_size = size;
    options.threads = session.loader_threads();
    let checked = check(&subject, &options, session.progress());
    console.clear();
    let checked = checked?;
    if args.json {
        print_json(&checked)?;
    } else {
        print(&format!("{}{}", check_table(&checked), findings(&checked)))?;
    }
    match checked.n_errors() {
        0 => Ok(()),
        1 => bail!("1 fault would stop a fit or an evaluation"),
        n => bail!("{n} faults would stop a fit or an evaluation"),
    }
}

/// The findings, one on a line, each with the options to type.
fn findings(checked: &Checked) -> String {
    if checked.findings.is_empty() {
        return "\nNo finding.\n".to_owned();
    }
    let mut text = "\n".to_owned();
    let mut counts = BTreeMap::new();
    for finding in &checked.findings {
        let severity = match finding.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let is_listed = matches!(finding, Finding::Repeated { .. } | Finding::BlankMask { .. });
        let n = counts.entry(matches!(finding, Finding::Repeated { .. })).or_insert(0);
        *n += usize::from(is_listed);
        if is_listed && *n > SHOWN {
            continue;
        }
        let hint = hint(finding).map(|hint| format!("; {hint}")).unwrap_or_default();
        text += &format!("{severity}: {}{hint}\n", shown_line(&finding.to_string()));
    }
    for (is_repeated, n) in counts.into_iter().filter(|(_, n)| *n > SHOWN) {
        let what = if is_repeated { "pairs of images with the same pixels" } else { "blank masks" };
        text += &format!("{} more {what}; --json has them all\n", n - SHOWN);
    }
    text
}

/// The options to type.
fn hint(finding: &Finding) -> Option<&'static str> {
    Some(match finding {
        Finding::Vanishing { .. } => {
            "`fmam eval --evaluate-at original` counts them all the same, and `fmam fit --tile 512` sees them"
        }
        Finding::Squeezed { .. } => {
            "use --keep-aspect, or --image-size HEIGHTxWIDTH in the aspect ratio of the images"
        }
        Finding::AboveDepth { .. } => "give the depth with --value-range",
        Finding::Alpha { .. } => "--background chooses the colour",
        _ => return None,
    })
}
