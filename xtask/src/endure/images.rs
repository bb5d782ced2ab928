//! Edited images, many in one call of `fmam predict`.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::campaign::{Campaign, Find};
use super::dice::Dice;
use super::edits::{Edit, edited, edits};
use super::ground::{Base, Ground};
use super::shrink::shrink;
use super::tally::Tally;
use super::verdict::{Fault, fault};
use super::watch::{Limits, Outcome, run};

/// Images of a call.
const BATCH: usize = 200;

/// The endings of image files; the program passes others over.
const ENDINGS: [&str; 9] = ["png", "jpg", "bmp", "tif", "webp", "gif", "ppm", "pgm", "pnm"];

fn ending(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

/// The limit of a decoded image is 64 MiB, of which the program may hold some.
const LIMITS: Limits = Limits { time: Duration::from_secs(120), memory: 700 << 20 };

/// Every image has a finite score or an error that names it.
pub(super) struct Images;

#[derive(Clone)]
struct Input {
    name: String,
    base: usize,
    edits: Vec<Edit>,
}

impl Campaign for Images {
    fn name(&self) -> &'static str {
        "images"
    }

    fn round(&self, ground: &Ground, dice: &mut Dice, tally: &mut Tally) -> Result<Option<Find>> {
        let mut bases = ground.committed("tests/reference/images")?;
        bases.extend(ground.committed("tests/fuzz/corpus/image")?);
        bases.retain(|base| ENDINGS.contains(&ending(&base.name)) && base.bytes.len() < 1 << 16);
        bases.push(ground.base("bad.ppm")?);
        let input = |number: usize, dice: &mut Dice| {
            let (base, other) = (dice.below(bases.len()), dice.below(bases.len()));
            let ending = ending(&bases[base].name);
            let edits = edits(&bases[base].bytes, &bases[other].bytes, false, dice);
            Input { name: format!("{number:04}.{ending}"), base, edits }
        };
        let inputs: Vec<Input> = (0..BATCH).map(|number| input(number, dice)).collect();
        tally.tried += BATCH as u64;
        let fails = |inputs: &[Input]| -> Result<bool> { Ok(call(ground, &bases, inputs)?.0.is_some()) };
        if !fails(&inputs)? {
            return Ok(None);
        }
        let mut inputs = shrink(inputs, fails)?;
        if let [input] = &mut inputs[..] {
            let alone = input.clone();
            input.edits = shrink(alone.edits.clone(), |edits| {
                Ok(call(ground, &bases, &[Input { edits: edits.to_vec(), ..alone.clone() }])?.0.is_some())
            })?;
        }
        let (found, command) = call(ground, &bases, &inputs)?;
        let fault = found.unwrap_or_else(|| Fault::wrong("it fails at some times only"));
        let mut find = Find::new(fault, &command);
        for input in &inputs {
            find = find.with_file(&input.name, edited(&bases[input.base].bytes, &input.edits));
        }
        Ok(Some(find))
    }
}

/// Scores the edited images, and gives the fault of the call.
fn call(ground: &Ground, bases: &[Base], inputs: &[Input]) -> Result<(Option<Fault>, Command)> {
    let folder = ground.folder()?;
    for input in inputs {
        std::fs::write(folder.path().join(&input.name), edited(&bases[input.base].bytes, &input.edits))?;
    }
    let mut command = ground.line("predict -q --json --threads 1 --max-image-mib 64 --model models/padim");
    command.arg(folder.path());
    let outcome = run(&mut command, LIMITS)?;
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let fault = fault(&outcome, LIMITS).or_else(|| missing(&outcome, &names));
    Ok((fault, command))
}

/// The fault of an image without a score or an error.
fn missing(outcome: &Outcome, names: &[&str]) -> Option<Fault> {
    let mut scores = HashMap::new();
    for line in outcome.stdout.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            return Some(Fault::wrong(format!("no line of JSON: {line}")));
        };
        let image = line["image"].as_str().unwrap_or_default();
        let name = Path::new(image).file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A line for an image that cannot be scored has the error in the place of the score.
        let is_error = line["error"].as_str().is_some_and(|error| !error.is_empty());
        scores.insert(name, (is_error, line["score"].as_f64()));
    }
    names.iter().find_map(|name| match scores.get(*name) {
        Some((true, None)) => None,
        Some((false, Some(score))) if score.is_finite() => None,
        Some(_) => Some(Fault::wrong(format!("the score of {name} is no number"))),
        None if outcome.stderr.contains(name) => None,
        None => Some(Fault::lost(format!("{name} has neither a score nor an error"))),
    })
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Kind;
    use super::super::watch::End;
    use super::*;

    #[test]
    fn an_image_without_a_score_or_an_error_is_missed() {
        let of = |stdout: &str, stderr: &str| {
            let (stdout, stderr) = (stdout.to_owned(), stderr.to_owned());
            let outcome = Outcome { end: End::Code(1), stdout, stderr, peak: 0 };
            missing(&outcome, &["a.png", "b.png"]).map(|fault| fault.kind)
        };
        let a = "{\"image\": \"x/a.png\", \"score\": 1.5}\n";
        assert_eq!(of(a, "error: cannot decode x/b.png"), None);
        let b = "{\"image\": \"x/b.png\", \"error\": \"damaged\"}\n";
        assert_eq!(of(&format!("{a}{b}"), ""), None);
        assert_eq!(of(&format!("{a}{}", b.replace("damaged", "")), ""), Some(Kind::Wrong));
        assert_eq!(of(a, ""), Some(Kind::Lost));
        assert_eq!(of(&a.replace("1.5", "null"), "b.png"), Some(Kind::Wrong));
        assert_eq!(of("nonsense\n", "a.png b.png"), Some(Kind::Wrong));
    }
}
