//! Signals that ask to stop, and signals that are ignored.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::campaign::{Campaign, Find};
use super::dice::Dice;
use super::ground::Ground;
use super::kill::Results;
use super::tally::Tally;
use super::verdict::{Fault, fault};
use super::watch::{End, Limits, Running};
use super::work::{LIMITS, WORK, difference};

/// A signal ends the work within seconds and with its exit code; one that was ignored at the start,
/// as under nohup, stays ignored.
#[derive(Default)]
pub(super) struct Signals {
    known: Results,
}

/// A stop may wait for a step of a training, and for the writing of what was asked for.
const STOPPING: Limits = Limits { time: Duration::from_secs(20), ..LIMITS };

impl Campaign for Signals {
    fn name(&self) -> &'static str {
        "signals"
    }

    fn round(&self, ground: &Ground, dice: &mut Dice, tally: &mut Tally) -> Result<Option<Find>> {
        let work = dice.pick(WORK);
        let known = self.known.of(work, ground)?;
        let signal = *dice.pick(&["INT", "TERM", "HUP"]);
        let is_ignored = dice.below(2) == 0 && signal != "TERM";
        let (moment, twice) = (dice.share(), dice.below(3) == 0);
        tally.tried += 1;
        let folder = ground.folder()?;
        work.prepare(ground, folder.path())?;
        let args = work.args(ground, folder.path());
        let plain = ground.fmam(&args);
        let mut command = if is_ignored { ignoring(signal, &plain) } else { ground.fmam(&args) };
        let mut running = Running::start(&mut command)?;
        // The program is not asked to stop before it can hear it.
        let early = Duration::from_millis(if is_ignored { 150 } else { 50 });
        let has_ended = running.wait_for(early.max(known.time.mul_f64(moment)))?;
        running.signal(signal)?;
        if twice {
            running.wait_for(Duration::from_millis(20))?;
            running.signal(signal)?;
        }
        let limits = if is_ignored { LIMITS } else { STOPPING };
        let has_heard = running.stderr()?.contains("stopping");
        let outcome = running.finish(limits)?;
        let how = if is_ignored { "ignored " } else { "" };
        let found = |fault: Fault| {
            let text = format!("{}, {how}SIG{signal} at {moment:.3} of its time: {}", work.name, fault.text);
            Ok(Some(Find::new(Fault { text, ..fault }, &plain)))
        };
        let number = match signal {
            "INT" => 2,
            "TERM" => 15,
            _ => 1,
        };
        // So a process ends that has not come to catch the signal, or that has let it go again.
        let is_default = matches!(outcome.end, End::Signal(by) if by == number);
        if is_default && !is_ignored && !has_heard {
            return Ok(None);
        }
        if let Some(fault) = fault(&outcome, limits) {
            return found(fault);
        }
        match outcome.end {
            End::Code(130) if !is_ignored => return Ok(None),
            End::Code(0) => {}
            end => {
                let text = format!("it ended with {end:?}: {}", outcome.stderr.trim());
                return found(if is_ignored { Fault::lost(text) } else { Fault::wrong(text) });
            }
        }
        // Nobody was heard, or the work was done already.
        if (is_ignored || has_ended)
            && let Some(what) = difference(&work.files(folder.path())?, &known.files)
        {
            return found(Fault::lost(what));
        }
        Ok(None)
    }
}

/// `command` in a process that ignores `signal`.
fn ignoring(signal: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("trap '' {signal}; exec \"$0\" \"$@\"")).arg(command.get_program());
    shell.args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}
