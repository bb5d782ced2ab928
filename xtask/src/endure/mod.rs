//! `cargo xtask endure`: campaigns of damaged inputs and disturbed work on the built binary.
//!
//! A seed decides every choice: round `n` of a campaign is the same in every call, however many
//! rounds there is time for. The first input that fails is made smaller, kept, and ends the call.

mod campaign;
mod dice;
mod disk;
mod edits;
mod files;
mod ground;
mod images;
mod kill;
mod names;
mod shrink;
mod signals;
mod tally;
mod tree;
mod verdict;
mod watch;
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::campaign::{Campaign, Find};
use self::dice::Dice;
use self::files::FILES;
use self::ground::Ground;
use self::tally::{Tally, table};
use crate::fmam;

#[derive(clap::Args)]
pub(crate) struct Endure {
    /// Minutes to go on for; the rounds that have begun are finished
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// The origin of all choices
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// A binary that is built already, instead of a release of this checkout
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Campaigns, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    only: Vec<String>,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| (0.0..=1e5).contains(minutes));
    minutes.ok_or_else(|| "not a number of minutes".to_owned())
}

impl Endure {
    /// The settings of the gate: a minute on `binary`.
    pub(crate) fn of_gate(binary: PathBuf) -> Self {
        Self { minutes: 1.0, seed: 0, binary: Some(binary), only: Vec::new() }
    }

    /// Runs the campaigns and prints their table.
    pub(crate) fn run(&self, root: &Path) -> Result<ExitCode> {
        let binary = match &self.binary {
            Some(binary) => {
                binary.canonicalize().with_context(|| format!("no binary at {}", binary.display()))?
            }
            None => fmam::build(&[])?.path().to_owned(),
        };
        let mut rows = self.rows()?;
        let start = Instant::now();
        let time = Duration::from_secs_f64(60.0 * self.minutes);
        let ground = Ground::new(binary, root)?;
        let mut found = None;
        for row in &mut rows {
            row.tally.skipped = row.campaign.obstacle(&ground);
        }
        // The campaign that had the least time goes on.
        while found.is_none() && start.elapsed() < time {
            let open = rows.iter_mut().filter(|row| row.tally.skipped.is_none());
            let Some(row) = open.min_by_key(|row| row.spent) else { break };
            found = row.round(&ground, self.seed)?;
        }
        print!("{}", table(rows.iter().map(|row| (row.campaign.name(), &row.tally))));
        println!("seed {}, {:.1} min", self.seed, start.elapsed().as_secs_f64() / 60.0);
        let Some((name, find)) = found else { return Ok(ExitCode::SUCCESS) };
        let folder = root.join("target/endure").join(format!("{name}-{}", self.seed));
        let kept = find.keep(&folder)?;
        eprintln!("{:?}: {}\n{}\nkept in {}", find.fault.kind, find.fault.text, find.call, kept.display());
        Ok(ExitCode::FAILURE)
    }

    fn rows(&self) -> Result<Vec<Row>> {
        let mut campaigns: Vec<Box<dyn Campaign>> = vec![Box::new(images::Images)];
        campaigns.extend(FILES.iter().map(|files| Box::new(files) as Box<dyn Campaign>));
        campaigns.push(Box::new(names::Names));
        campaigns.push(Box::new(kill::Kill::default()));
        campaigns.push(Box::new(disk::Disk::default()));
        campaigns.push(Box::new(signals::Signals::default()));
        let known: Vec<&str> = campaigns.iter().map(|campaign| campaign.name()).collect();
        if let Some(unknown) = self.only.iter().find(|name| !known.contains(&name.as_str())) {
            anyhow::bail!("there is no campaign `{unknown}`; there are {}", known.join(", "));
        }
        campaigns.retain(|one| self.only.is_empty() || self.only.iter().any(|name| name == one.name()));
        Ok(campaigns.into_iter().map(Row::new).collect())
    }
}

/// A campaign on its way.
struct Row {
    campaign: Box<dyn Campaign>,
    tally: Tally,
    rounds: u64,
    spent: Duration,
}

impl Row {
    fn new(campaign: Box<dyn Campaign>) -> Self {
        Self { campaign, tally: Tally::default(), rounds: 0, spent: Duration::ZERO }
    }

    /// Does the next round; gives the name of the campaign with an input that fails.
    fn round(&mut self, ground: &Ground, seed: u64) -> Result<Option<(&'static str, Find)>> {
        let (start, name) = (Instant::now(), self.campaign.name());
        let mut dice = Dice::new(seed).derive(name, self.rounds);
        let find = self.campaign.round(ground, &mut dice, &mut self.tally);
        let find = find.with_context(|| format!("round {} of {name}", self.rounds))?;
        self.rounds += 1;
        self.spent += start.elapsed();
        Ok(find.map(|find| {
            self.tally.add(find.fault.kind);
            (name, find)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endure(only: &[&str]) -> Endure {
        let only = only.iter().map(|name| (*name).to_owned()).collect();
        Endure { only, ..Endure::of_gate(PathBuf::new()) }
    }

    #[test]
    fn campaigns_have_names_of_their_own_and_can_be_chosen() {
        let rows = endure(&[]).rows().unwrap();
        let names: std::collections::BTreeSet<_> = rows.iter().map(|row| row.campaign.name()).collect();
        assert_eq!(names.len(), rows.len());
        assert_eq!(endure(&["kill", "cards"]).rows().unwrap().len(), 2);
        assert!(endure(&["none"]).rows().is_err());
    }

    #[test]
    fn a_find_is_counted_and_kept_with_its_call() {
        struct Fails;
        impl Campaign for Fails {
            fn name(&self) -> &'static str {
                "fails"
            }
            fn round(&self, _: &Ground, dice: &mut Dice, tally: &mut Tally) -> Result<Option<Find>> {
                tally.tried += 3;
                let fault = verdict::Fault::wrong(format!("number {}", dice.below(1000)));
                let mut command = std::process::Command::new("fmam");
                command.arg("predict");
                Ok(Some(Find::new(fault, &command).with_file("a.png", vec![1])))
            }
        }
        let ground = Ground::bare().unwrap();
        let find = |seed| {
            let mut row = Row::new(Box::new(Fails));
            let (_, find) = row.round(&ground, seed).unwrap().unwrap();
            assert_eq!((row.tally.tried, row.tally.faults()), (3, 1));
            find
        };
        assert_eq!(find(1).fault, find(1).fault);
        assert_ne!(find(1).fault, find(2).fault);
        let folder = tempfile::tempdir().unwrap();
        find(1).keep(&folder.path().join("kept")).unwrap();
        let told = std::fs::read_to_string(folder.path().join("kept/fault.txt")).unwrap();
        assert!(told.starts_with("Wrong: number ") && told.contains("fmam predict"), "{told}");
        assert_eq!(std::fs::read(folder.path().join("kept/a.png")).unwrap(), [1]);
    }
}
