//! The counts of a campaign, and their table.

use super::verdict::Kind;

/// The counts of a campaign.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Inputs, or moments, that the program was tried on.
    pub(super) tried: u64,
    panics: u64,
    signals: u64,
    hangs: u64,
    wrong: u64,
    lost: u64,
    /// The reason that nothing was tried.
    pub(super) skipped: Option<String>,
}

impl Tally {
    pub(super) fn add(&mut self, kind: Kind) {
        *match kind {
            Kind::Panic => &mut self.panics,
            Kind::Signal => &mut self.signals,
            Kind::Hang => &mut self.hangs,
            Kind::Wrong => &mut self.wrong,
            Kind::Lost => &mut self.lost,
        } += 1;
    }

    #[cfg(test)]
    pub(super) fn faults(&self) -> u64 {
        self.panics + self.signals + self.hangs + self.wrong + self.lost
    }

    fn cells(&self, name: &str) -> Vec<String> {
        let counts = [self.tried, self.panics, self.signals, self.hangs, self.wrong, self.lost];
        [name.to_owned()].into_iter().chain(counts.map(|count| count.to_string())).collect()
    }
}

const HEAD: [&str; 7] = ["campaign", "tried", "panics", "signals", "hangs", "wrong", "lost"];

/// The table of all campaigns and their sum, in Markdown.
pub(super) fn table<'a>(rows: impl Iterator<Item = (&'a str, &'a Tally)> + Clone) -> String {
    let mut sum = Tally::default();
    for (_, tally) in rows.clone() {
        sum.tried += tally.tried;
        sum.panics += tally.panics;
        sum.signals += tally.signals;
        sum.hangs += tally.hangs;
        sum.wrong += tally.wrong;
        sum.lost += tally.lost;
    }
    let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
    lines.extend(rows.clone().map(|(name, tally)| tally.cells(name)));
    lines.push(sum.cells("all"));
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|at| lines.iter().map(|line| line[at].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cell = |(at, cell): (usize, &String)| match at {
            0 => format!("{cell:<width$}", width = widths[0]),
            _ => format!("{cell:>width$}", width = widths[at]),
        };
        let cells: Vec<String> = line.iter().enumerate().map(cell).collect();
        text += &format!("| {} |\n", cells.join(" | "));
        if number == 0 {
            let rule = |(at, width): (usize, &usize)| match at {
                0 => "-".repeat(*width),
                _ => format!("{}:", "-".repeat(width - 1)),
            };
            let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
            text += &format!("| {} |\n", rules.join(" | "));
        }
    }
    for (name, tally) in rows {
        if let Some(reason) = &tally.skipped {
            text += &format!("{name} was skipped: {reason}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_has_its_column() {
        let mut images = Tally { tried: 12_000, ..Tally::default() };
        let disk = Tally { skipped: Some("no root".to_owned()), ..Tally::default() };
        for kind in [Kind::Panic, Kind::Signal, Kind::Signal, Kind::Hang, Kind::Wrong, Kind::Lost] {
            images.add(kind);
        }
        assert_eq!((images.faults(), disk.faults()), (6, 0));
        let table = table([("images", &images), ("disk", &disk)].into_iter());
        let expected = "\
            | campaign | tried | panics | signals | hangs | wrong | lost |\n\
            | -------- | ----: | -----: | ------: | ----: | ----: | ---: |\n\
            | images   | 12000 |      1 |       2 |     1 |     1 |    1 |\n\
            | disk     |     0 |      0 |       0 |     0 |     0 |    0 |\n\
            | all      | 12000 |      1 |       2 |     1 |     1 |    1 |\n\
            disk was skipped: no root\n";
        assert_eq!(table, expected);
    }
}
