//! Rates on the command line.

use std::str::FromStr;

/// A rate between 0 and 1, written `0.1%` or `0.001`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate(pub(crate) f64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let rate = match text.strip_suffix('%') {
            Some(percent) => number(percent).map(|percent| percent / 100.0),
            None => number(text),
        };
        match rate {
            Some(rate) if rate > 0.0 && rate < 1.0 => Ok(Self(rate)),
            _ => Err("a rate lies between 0 and 1, as 0.001 or 0.1%".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, rate) in [("1%", 0.01), ("0.1 %", 0.001), ("0.05", 0.05), ("12.5%", 0.125)] {
            assert_eq!(text.parse(), Ok(Rate(rate)), "{text}");
        }
        for text in ["0", "1", "100%", "-1%", "x", "", "5", "nan"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
