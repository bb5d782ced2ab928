//! Edited files that are read one at a time: masks, models, arrays, archives, weights, presets and
//! records.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::Value;
use tempfile::TempDir;

use super::campaign::{Campaign, Find};
use super::dice::Dice;
use super::edits::{edited, edits};
use super::ground::{Base, Ground, SMALL};
use super::shrink::shrink;
use super::tally::Tally;
use super::tree::copy;
use super::verdict::{Fault, fault};
use super::watch::{End, Outcome, run};

/// Files of one kind, and the call that reads one.
pub(super) struct Files {
    name: &'static str,
    is_text: bool,
    bases: fn(&Ground) -> Result<Vec<Base>>,
    /// Puts an edited file at its place in a new folder, and gives the call that reads it.
    call: fn(&Ground, &TempDir, &Base, &[u8]) -> Result<Command>,
    /// The reason that an outcome is wrong for an edited file.
    wrong: fn(&Outcome) -> Option<String>,
}

/// Files of a round.
const ROUND: usize = 10;

pub(super) static FILES: &[Files] = &[
    Files {
        name: "masks",
        is_text: false,
        bases: |ground| {
            let mut bases = ground.committed("tests/fuzz/corpus/mask")?;
            bases.retain(|base| base.name.starts_with("seed-"));
            bases.push(ground.base("data/cat/masks/000.pgm")?);
            Ok(bases)
        },
        call: |ground, folder, base, bytes| {
            copy(&ground.at("data"), &folder.path().join("data"))?;
            let masks = folder.path().join("data/cat/masks");
            std::fs::remove_file(masks.join("000.pgm"))?;
            std::fs::write(masks.join(format!("000.{}", ending(base))), bytes)?;
            let mut command = ground.line(
                "eval -q --threads 1 --json --max-image-mib 64 --model models/padim --dataset folder --data-root",
            );
            command.arg(folder.path().join("data"));
            Ok(command)
        },
        wrong: not_fractions,
    },
    Files {
        name: "cards",
        is_text: true,
        bases: |ground| {
            Ok(vec![ground.base("models/padim/model.toml")?, ground.base("models/rkd+fmam/model.toml")?])
        },
        call: |ground, folder, base, bytes| {
            let method =
                if base.bytes.windows(8).any(|part| part == b"rkd+fmam") { "rkd+fmam" } else { "padim" };
            model_with(ground, folder, method, base, bytes)
        },
        wrong: passed,
    },
    Files {
        name: "networks",
        is_text: false,
        bases: |ground| {
            let mut bases = Vec::new();
            for method in ["padim", "rkd+fmam"] {
                for base in ground.in_folder(&ground.model(method))? {
                    if base.name.ends_with(".safetensors") {
                        bases.push(Base { name: format!("{method}/{}", base.name), ..base });
                    }
                }
            }
            Ok(bases)
        },
        call: |ground, folder, base, bytes| {
            let (method, name) = base.name.split_once('/').unwrap_or(("padim", &base.name));
            let file = Base { name: name.to_owned(), bytes: Vec::new() };
            model_with(ground, folder, method, &file, bytes)
        },
        wrong: |outcome| (outcome.end == End::Code(0)).then(|| "a damaged network was accepted".to_owned()),
    },
    Files {
        name: "arrays",
        is_text: false,
        bases: |_| Ok(vec![Base { name: "scores.npy".to_owned(), bytes: array("<f4", 4) }]),
        call: |ground, folder, _, bytes| {
            let (scores, labels) = (folder.path().join("scores.npy"), folder.path().join("labels.npy"));
            std::fs::write(&scores, bytes)?;
            std::fs::write(&labels, array("|u1", 1))?;
            let mut command = ground.fmam(["metrics", "--scores"]);
            command.arg(scores).arg("--labels").arg(labels);
            Ok(command)
        },
        wrong: not_fractions,
    },
    Files {
        name: "archives",
        is_text: false,
        bases: |ground| {
            let mut bases = ground.committed("tests/fuzz/corpus/archive")?;
            bases.retain(|base| base.name.starts_with("seed-") && base.bytes.len() > 1);
            // The first byte is the fuzz target's.
            for base in &mut bases {
                base.bytes.remove(0);
            }
            Ok(bases)
        },
        call: |ground, folder, base, bytes| {
            let archive = folder.path().join(base.name.replacen("seed-", "", 1));
            std::fs::write(&archive, bytes)?;
            let mut command = ground.line("datasets fetch mvtec --data-root");
            command.arg(folder.path().join("new")).arg("--from-archive").arg(archive);
            Ok(command)
        },
        wrong: |_| None,
    },
    Files {
        name: "weights",
        is_text: false,
        bases: |ground| {
            let mut bases = ground.committed("tests/reference/checkpoints")?;
            bases.retain(|base| base.name.ends_with(".pth"));
            bases.push(ground.base("models/padim/teacher.safetensors")?);
            Ok(bases)
        },
        call: |ground, folder, base, bytes| {
            let weights = folder.path().join(&base.name);
            std::fs::write(&weights, bytes)?;
            let mut command = ground.fmam(ground.fit("padim", &folder.path().join("model")));
            command.arg("--weights").arg(weights);
            Ok(command)
        },
        wrong: |_| None,
    },
    Files {
        name: "presets",
        is_text: true,
        bases: |ground| ground.committed("crates/experiment/presets"),
        call: |ground, folder, base, bytes| {
            let preset = folder.path().join(&base.name);
            std::fs::write(&preset, bytes)?;
            let mut command = ground.fmam(["config", "--preset"]);
            command.arg(preset);
            Ok(command)
        },
        wrong: |outcome| {
            let is_empty = outcome.end == End::Code(0) && outcome.stdout.trim().is_empty();
            is_empty.then(|| "no configuration was printed".to_owned())
        },
    },
    Files {
        name: "records",
        is_text: true,
        bases: |ground| Ok(vec![ground.base(RECORD)?]),
        call: |ground, folder, _, bytes| {
            copy(&ground.at("runs"), &folder.path().join("runs"))?;
            std::fs::write(folder.path().join(RECORD), bytes)?;
            let mut command = ground.fmam(["report"]);
            command.arg(folder.path().join("runs"));
            Ok(command)
        },
        wrong: |_| None,
    },
];

const RECORD: &str = "runs/runs/folder/cat/padim/tiny/seed-0/record.json";

fn ending(base: &Base) -> &str {
    base.name.rsplit('.').next().unwrap_or("png")
}

/// The model of `method` with an edited file, and the call that looks at a good and a bad part.
fn model_with(ground: &Ground, folder: &TempDir, method: &str, file: &Base, bytes: &[u8]) -> Result<Command> {
    let model = folder.path().join("model");
    copy(&ground.model(method), &model)?;
    std::fs::write(model.join(&file.name), bytes)?;
    let mut command = ground.line("predict -q --json --threads 1 parts/000.ppm bad.ppm --model");
    command.arg(model);
    Ok(command)
}

/// A model that is accepted finds the bad part, which is the second.
fn passed(outcome: &Outcome) -> Option<String> {
    if outcome.end != End::Code(0) {
        return None;
    }
    let lines: Vec<Value> =
        outcome.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [_, bad] = &lines[..] else { return Some("success without two verdicts".to_owned()) };
    if bad["score"].as_f64().is_none() {
        return Some("the score of a bad part is no number".to_owned());
    }
    (bad["verdict"] == "ok").then(|| "a damaged model passed a bad part".to_owned())
}

/// Figures that are printed are fractions.
fn not_fractions(outcome: &Outcome) -> Option<String> {
    if outcome.end != End::Code(0) {
        return None;
    }
    let Ok(figures) = serde_json::from_str::<Value>(&outcome.stdout) else {
        return Some("success without figures".to_owned());
    };
    let figures = figures.get("metrics").unwrap_or(&figures);
    let Some(figures) = figures.as_object() else { return Some("no table of figures".to_owned()) };
    figures.iter().find_map(|(name, figure)| {
        let value = figure.as_f64()?;
        (!(0.0..=1.0).contains(&value)).then(|| format!("{name} is {value}"))
    })
}

/// Eight scores or labels as NumPy writes them.
fn array(descr: &str, bytes: usize) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (8,), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.bytes());
    for number in 0..8_u8 {
        match bytes {
            4 => file.extend((f32::from(number) * 0.75).to_le_bytes()),
            _ => file.push(number % 2),
        }
    }
    file
}

impl Files {
    fn fault(&self, ground: &Ground, base: &Base, bytes: &[u8]) -> Result<(Option<Fault>, Command)> {
        let folder = ground.folder()?;
        let mut command = (self.call)(ground, &folder, base, bytes)?;
        let outcome = run(&mut command, SMALL)?;
        let wrong = || (self.wrong)(&outcome).map(Fault::wrong);
        Ok((fault(&outcome, SMALL).or_else(wrong), command))
    }
}

impl Campaign for &'static Files {
    fn name(&self) -> &'static str {
        self.name
    }

    fn round(&self, ground: &Ground, dice: &mut Dice, tally: &mut Tally) -> Result<Option<Find>> {
        let bases = (self.bases)(ground)?;
        for _ in 0..ROUND {
            let (base, other) = (dice.pick(&bases), dice.pick(&bases));
            let edits = edits(&base.bytes, &other.bytes, self.is_text, dice);
            let bytes = edited(&base.bytes, &edits);
            if bytes == base.bytes {
                continue;
            }
            tally.tried += 1;
            if self.fault(ground, base, &bytes)?.0.is_none() {
                continue;
            }
            let edits = shrink(edits, |edits| {
                let bytes = edited(&base.bytes, edits);
                Ok(bytes != base.bytes && self.fault(ground, base, &bytes)?.0.is_some())
            })?;
            let bytes = edited(&base.bytes, &edits);
            let (found, command) = self.fault(ground, base, &bytes)?;
            let fault = found.unwrap_or_else(|| Fault::wrong("it fails at some times only"));
            let name = Path::new(&base.name).file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(Some(Find::new(fault, &command).with_file(name, bytes)));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: i32, stdout: &str) -> Outcome {
        Outcome { end: End::Code(code), stdout: stdout.to_owned(), stderr: String::new(), peak: 0 }
    }

    #[test]
    fn a_damaged_model_must_not_pass_a_bad_part() {
        let lines = |verdict: &str, score: &str| {
            outcome(0, &format!("{{\"score\": 1.0}}\n{{\"score\": {score}, \"verdict\": {verdict}}}\n"))
        };
        assert_eq!(passed(&lines("\"defect\"", "9.5")), None);
        assert!(passed(&lines("\"ok\"", "1.5")).is_some());
        assert!(passed(&lines("\"defect\"", "null")).is_some());
        assert!(passed(&outcome(0, "")).is_some());
        assert_eq!(passed(&outcome(1, "")), None);
    }

    #[test]
    fn figures_must_be_fractions() {
        assert_eq!(not_fractions(&outcome(0, "{\"auroc\": 0.5, \"ap\": 1}")), None);
        assert!(not_fractions(&outcome(0, "{\"auroc\": 1.5}")).is_some());
        assert!(not_fractions(&outcome(0, "")).is_some());
        assert_eq!(not_fractions(&outcome(1, "")), None);
    }
}
