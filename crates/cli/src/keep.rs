//! The option of how often the state of a training is kept.

use std::str::FromStr;
use std::time::Duration;

use fmam::KeepTraining;

#[derive(clap::Args)]
pub(crate) struct KeepArgs {
    /// Time between two savings of the state of a training, from which the same command goes on
    /// after an interruption: 30s, 10min, `0s` after each step, `never`
    #[arg(long, value_name = "TIME", default_value = "3min")]
    keep_every: KeepEvery,
}

impl KeepArgs {
    /// The time between two savings; `None` for none.
    pub(crate) fn every(&self) -> Option<Duration> {
        self.keep_every.0
    }

    /// Gives `keep` the time of this option; `None` where the user wants no state kept.
    pub(crate) fn of(&self, keep: KeepTraining) -> Option<KeepTraining> {
        self.every().map(|every| keep.every(every))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct KeepEvery(Option<Duration>);

impl FromStr for KeepEvery {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" => Ok(Self(None)),
            time => humantime::parse_duration(time).map(|every| Self(Some(every))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_never() {
        let parse = |text: &str| text.parse::<KeepEvery>().map(|every| every.0);
        assert_eq!(parse("3min").unwrap(), Some(KeepTraining::EVERY));
        assert_eq!(parse("0s").unwrap(), Some(Duration::ZERO));
        assert_eq!(parse("never").unwrap(), None);
        assert!(parse("often").is_err());
    }
}
