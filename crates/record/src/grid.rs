use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of several parts of a grid of runs: of `of` parts that with number `index`, counted from 1.
/// It has every `of`-th run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// 1 to `of`.
    pub index: usize,
    /// Number of parts.
    pub of: usize,
}

impl Shard {
    /// True if the run at `position` of the grid (0-based) is in this part.
    pub fn has(self, position: usize) -> bool {
        self == Self::of_run(position, self.of)
    }

    /// The part that has the run at `position`, counted from 0.
    pub fn of_run(position: usize, of: usize) -> Self {
        Self { index: position % of.max(1) + 1, of }
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err("a part as 1/8, 2/8 up to 8/8".to_owned()),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// The grid that an output folder with one part belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridList {
    /// The part that the folder has.
    pub shard: Shard,
    /// The folders of all runs of the whole grid, relative to an output folder, in the order of the
    /// grid.
    pub runs: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_grid_have_each_run_once() {
        for of in 1..5 {
            for position in 0..10 {
                let having = (1..=of).filter(|&index| Shard { index, of }.has(position)).count();
                assert_eq!(having, 1, "{position} of {of}");
            }
        }
        assert!("2/3".parse::<Shard>().unwrap().has(4));
    }

    #[test]
    fn a_part_is_written_as_a_fraction() {
        let shard: Shard = "2/8".parse().unwrap();
        assert_eq!((shard, shard.to_string()), (Shard { index: 2, of: 8 }, "2/8".to_owned()));
        for wrong in ["", "2", "0/8", "9/8", "1/0", "a/b", "1/2/3", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
