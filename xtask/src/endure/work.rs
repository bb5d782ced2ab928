//! Pieces of work whose results are known: each is done once undisturbed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use super::ground::{Ground, SMALL};
use super::tree::{contents, copy};
use super::watch::{End, Limits, run};

/// A piece of work in a folder of its own.
pub(super) struct Work {
    pub(super) name: &'static str,
    /// Puts what the work changes or reads into the folder.
    prepare: fn(&Ground, &Path) -> Result<()>,
    args: fn(&Ground, &Path) -> Vec<String>,
    /// The folder or file of the result within the folder.
    result: &'static str,
    /// True for a file of the result that must be there in the end. Pictures are made after the
    /// verdicts and figures, and one that cannot be written costs a warning, the place that names
    /// it, and nothing else.
    counts: fn(&Path) -> bool,
    /// True if the same command refuses to do finished work again.
    pub(super) is_done_once: bool,
}

/// A result: the files, and the time that they took.
pub(super) struct Undisturbed {
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(super) time: Duration,
}

/// The bounds of a piece of work.
pub(super) const LIMITS: Limits = Limits { time: Duration::from_secs(120), ..SMALL };

fn split(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

pub(super) static WORK: &[Work] = &[
    Work {
        name: "fit",
        prepare: |_, _| Ok(()),
        args: |ground, folder| ground.fit("rkd+fmam", &folder.join("model")),
        result: "model",
        counts: |_| true,
        is_done_once: true,
    },
    Work {
        name: "predict",
        prepare: |_, _| Ok(()),
        args: |ground, folder| {
            let out = folder.join("out");
            let model = ground.model("padim");
            let line = format!(
                "predict -q --threads 1 --continue --model {} --out {}",
                model.display(),
                out.display()
            );
            let mut args = split(&line);
            args.extend(["parts", "bad.ppm", "data"].map(|name| ground.at(name).display().to_string()));
            args
        },
        result: "out",
        counts: |path| path == Path::new("predictions.jsonl"),
        is_done_once: false,
    },
    Work {
        name: "eval",
        prepare: |_, _| Ok(()),
        args: |ground, folder| {
            split(&format!(
                "eval -q --threads 1 --dataset folder --data-root {} --model {} --out {}",
                ground.at("data").display(),
                ground.model("padim").display(),
                folder.join("out").display()
            ))
        },
        result: "out",
        counts: |path| path == Path::new("metrics.json"),
        is_done_once: true,
    },
    Work {
        name: "reproduce",
        prepare: |_, _| Ok(()),
        args: |ground, folder| ground.reproduce(&folder.join("out")),
        result: "out/runs",
        counts: |path| path.ends_with("record.json") || path.iter().any(|part| part == "model"),
        is_done_once: false,
    },
    Work {
        name: "report",
        prepare: |ground, folder| copy(&ground.at("runs/runs"), &folder.join("out/runs")),
        args: |_, folder| split(&format!("report {}", folder.join("out").display())),
        result: "out",
        counts: |path| {
            let name = path.to_string_lossy();
            name.starts_with("report.") && !name.ends_with(".html") || name == "summary.csv"
        },
        is_done_once: false,
    },
    Work {
        name: "calibrate",
        prepare: |ground, folder| copy(&ground.model("padim"), &folder.join("model")),
        args: |ground, folder| {
            split(&format!(
                "calibrate -q --threads 1 --replace {} --model {}",
                ground.at("data/cat/train").display(),
                folder.join("model").display()
            ))
        },
        result: "model",
        counts: |_| true,
        is_done_once: false,
    },
];

impl Work {
    pub(super) fn prepare(&self, ground: &Ground, folder: &Path) -> Result<()> {
        (self.prepare)(ground, folder)
    }

    pub(super) fn args(&self, ground: &Ground, folder: &Path) -> Vec<String> {
        (self.args)(ground, folder)
    }

    /// The files of the result, without the times that a record holds and the pictures that a line
    /// names.
    pub(super) fn files(&self, folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut files = contents(&folder.join(self.result))?;
        files.retain(|path, _| (self.counts)(path));
        for (path, bytes) in &mut files {
            if path.ends_with("record.json") {
                *bytes = without_times(bytes);
            }
            if path.ends_with("predictions.jsonl") {
                *bytes = without_pictures(bytes);
            }
        }
        Ok(files)
    }

    /// Does the work in a new folder, whose path is always as long.
    pub(super) fn undisturbed(&self, ground: &Ground) -> Result<Undisturbed> {
        let folder = ground.folder()?;
        self.prepare(ground, folder.path())?;
        let start = Instant::now();
        let outcome = run(&mut ground.fmam(self.args(ground, folder.path())), LIMITS)?;
        if outcome.end != End::Code(0) {
            bail!("fmam {} failed undisturbed: {:?}, {}", self.name, outcome.end, outcome.stderr.trim());
        }
        let files = self.files(folder.path())?;
        if files.is_empty() {
            bail!("fmam {} left no files", self.name);
        }
        Ok(Undisturbed { files, time: start.elapsed() })
    }
}

/// Lines without the names of their pictures, as a full disk leaves them. Other lines stay.
fn without_pictures(lines: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<serde_json::Map<String, Value>>(line) {
            Ok(mut fields) if line.ends_with(b"\n") => {
                for picture in ["overlay", "map", "mask"] {
                    fields.remove(picture);
                }
                kept.extend(format!("{}\n", Value::Object(fields)).into_bytes());
            }
            _ => kept.extend_from_slice(line),
        }
    }
    kept
}

/// A record without what differs from one run to the next.
fn without_times(record: &[u8]) -> Vec<u8> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(record) else { return record.to_vec() };
    for key in ["fit_seconds", "score_images_per_second", "peak_rss_bytes", "started_at"] {
        fields.remove(key);
    }
    Value::Object(fields).to_string().into_bytes()
}

/// The first path at which two results differ.
pub(super) fn difference(
    found: &BTreeMap<PathBuf, Vec<u8>>,
    expected: &BTreeMap<PathBuf, Vec<u8>>,
) -> Option<String> {
    for (path, bytes) in expected {
        match found.get(path) {
            None => return Some(format!("{} is missing", path.display())),
            Some(other) if other != bytes => return Some(format!("{} differs", path.display())),
            Some(_) => {}
        }
    }
    let surplus = found.keys().find(|path| !expected.contains_key(*path));
    surplus.map(|path| format!("{} is there too", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_compared_without_their_pictures() {
        let of = |text: &str| String::from_utf8(without_pictures(text.as_bytes())).unwrap();
        let named = "{\"image\":\"a\",\"score\":0.5,\"overlay\":\"a.png\"}\n";
        assert_eq!(of(named), of("{\"image\":\"a\",\"score\":0.5}          \n"));
        assert_ne!(of(named), of("{\"image\":\"a\",\"score\":0.6}\n"));
        // A torn line and one that is no verdict are told from a whole one.
        assert_ne!(of(named), of(named.trim_end()));
        assert_eq!(of("no line\n"), "no line\n");
    }

    #[test]
    fn a_difference_is_named() {
        let files = |names: &[(&str, &str)]| -> BTreeMap<PathBuf, Vec<u8>> {
            names.iter().map(|(name, text)| (name.into(), text.as_bytes().to_vec())).collect()
        };
        let expected = files(&[("a", "1"), ("b", "2")]);
        assert_eq!(difference(&expected, &expected), None);
        let of = |names: &[(&str, &str)]| difference(&files(names), &expected).unwrap();
        assert_eq!(of(&[("a", "1")]), "b is missing");
        assert_eq!(of(&[("a", "1"), ("b", "3")]), "b differs");
        assert_eq!(of(&[("a", "1"), ("b", "2"), ("c", "")]), "c is there too");
    }

    #[test]
    fn the_times_of_a_record_do_not_count() {
        let record = |seconds: f64| format!("{{\"fit_seconds\": {seconds}, \"seed\": 1}}").into_bytes();
        assert_eq!(without_times(&record(1.0)), without_times(&record(2.5)));
        assert_ne!(without_times(b"{\"seed\": 1}"), without_times(b"{\"seed\": 2}"));
    }
}
