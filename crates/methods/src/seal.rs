//! The seal of a card: its first line, with the digest of all that follows. A changed bit anywhere
//! in the card breaks the seal.

use fmam_files::Digest;

const BEFORE: &str = "card_sha256 = \"";
const AFTER: &str = "\"";

/// The text of a card, and the state of its seal.
#[derive(Debug, PartialEq)]
pub(crate) enum Sealed<'a> {
    /// The rest, which is as it was saved.
    Whole(&'a str),
    /// The rest differs from the digest of the seal.
    Broken,
    /// The text has no seal, as those of older layouts.
    Absent(&'a str),
}

/// `card` below the seal on it.
pub(crate) fn seal(card: &str) -> String {
    format!("{BEFORE}{}{AFTER}\n{card}", digest(card))
}

/// The card in `text`. Line ends that a checkout on Windows has rewritten break no seal.
pub(crate) fn open(text: &str) -> Sealed<'_> {
    let Some((first, card)) = text.split_once('\n') else { return Sealed::Absent(text) };
    let first = first.strip_suffix('\r').unwrap_or(first);
    match first.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(AFTER)) {
        Some(expected) if expected == digest(card) => Sealed::Whole(card),
        Some(_) => Sealed::Broken,
        None => Sealed::Absent(text),
    }
}

fn digest(card: &str) -> String {
    Digest::of(card.replace("\r\n", "\n")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_its_text_alone() {
        let card = "schema = 4\nseed = 0\n";
        let sealed = seal(card);
        assert_eq!(open(&sealed), Sealed::Whole(card));
        let windows = sealed.replace('\n', "\r\n");
        assert_eq!(open(&windows), Sealed::Whole("schema = 4\r\nseed = 0\r\n"));
        assert_eq!(open(&sealed.replace("seed = 0", "seed = 1")), Sealed::Broken);
        assert_eq!(open(&format!("{sealed}\n")), Sealed::Broken);
        assert_eq!(open(&sealed.to_uppercase().replace("CARD_SHA", "card_sha")), Sealed::Broken);
        for text in ["", "schema = 3", card] {
            assert_eq!(open(text), Sealed::Absent(text));
        }
    }
}
