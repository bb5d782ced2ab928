//! SIGKILL at a random moment, and the same command again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::Result;

use super::campaign::{Campaign, Find};
use super::dice::Dice;
use super::ground::Ground;
use super::tally::Tally;
use super::tree::left_over;
use super::verdict::{Fault, fault};
use super::watch::{End, Running, run};
use super::work::{LIMITS, Undisturbed, WORK, Work, difference};

/// A killed command, given again, finishes the work to the same bytes and leaves nothing else.
#[derive(Default)]
pub(super) struct Kill {
    known: Results,
}

/// The results of undisturbed work, by its name.
#[derive(Default)]
pub(super) struct Results(RefCell<BTreeMap<&'static str, Rc<Undisturbed>>>);

impl Results {
    pub(super) fn of(&self, work: &Work, ground: &Ground) -> Result<Rc<Undisturbed>> {
        if let Some(known) = self.0.borrow().get(work.name) {
            return Ok(Rc::clone(known));
        }
        let known = Rc::new(work.undisturbed(ground)?);
        self.0.borrow_mut().insert(work.name, Rc::clone(&known));
        Ok(known)
    }
}

impl Campaign for Kill {
    fn name(&self) -> &'static str {
        "kill"
    }

    fn round(&self, ground: &Ground, dice: &mut Dice, tally: &mut Tally) -> Result<Option<Find>> {
        let work = dice.pick(WORK);
        let known = self.known.of(work, ground)?;
        let moments: Vec<f64> = (0..1 + dice.below(2)).map(|_| dice.share()).collect();
        tally.tried += 1;
        let folder = ground.folder()?;
        work.prepare(ground, folder.path())?;
        let args = work.args(ground, folder.path());
        let mut has_ended = false;
        for moment in &moments {
            let mut running = Running::start(&mut ground.fmam(&args))?;
            has_ended = running.wait_for(known.time.mul_f64(*moment))?;
            running.signal("KILL")?;
            let outcome = running.finish(LIMITS)?;
            if has_ended {
                break;
            }
            debug_assert!(matches!(outcome.end, End::Signal(9) | End::Code(_)));
        }
        let is_done =
            |folder| Ok::<_, anyhow::Error>(difference(&work.files(folder)?, &known.files).is_none());
        let mut command = ground.fmam(&args);
        let found = |fault: Fault| {
            let text = format!("{} after SIGKILL at {moments:.3?} of its time: {}", work.name, fault.text);
            Some(Find::new(Fault { text, ..fault }, &ground.fmam(&args)))
        };
        // Finished work may be refused the second time.
        if !(work.is_done_once && (has_ended || is_done(folder.path())?)) {
            let again = run(&mut command, LIMITS)?;
            if let Some(fault) = fault(&again, LIMITS) {
                return Ok(found(fault));
            }
            if again.end != End::Code(0) {
                let text = format!("the same command fails: {}", again.stderr.trim());
                return Ok(found(Fault::lost(text)));
            }
        }
        if let Some(what) = difference(&work.files(folder.path())?, &known.files) {
            return Ok(found(Fault::wrong(what)));
        }
        if let Some(path) = left_over(folder.path())? {
            return Ok(found(Fault::lost(format!("left over: {}", path.display()))));
        }
        Ok(None)
    }
}
