/// The categories `asked` for, where a list was split at commas: neighbours that are one of the
/// `known` names together, and not all of them alone, are that one.
pub(crate) fn rejoined(asked: &[String], known: &[String]) -> Vec<String> {
    let (mut names, mut rest) = (Vec::new(), asked);
    while let Some(first) = rest.first() {
        let together = (2..=rest.len()).rev().map(|n| (n, rest[..n].join(",")));
        let mut together = together
            .filter(|(n, name)| known.contains(name) && !rest[..*n].iter().all(|part| known.contains(part)));
        let (n, name) = together.next().unwrap_or_else(|| (1, first.clone()));
        names.push(name);
        rest = &rest[n..];
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_comma_is_one_category_where_it_can_be_no_two() {
        let list = |text: &[&str]| text.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let known = list(&["bolt, large", "bolt", "nut", "a", "b", "a,b", "x,y,z"]);
        for (asked, expected) in [
            (&["bolt", " large", "nut"][..], &["bolt, large", "nut"][..]),
            (&["nut", "x", "y", "z", "bolt"], &["nut", "x,y,z", "bolt"]),
            (&["a", "b"], &["a", "b"]),
            (&["a,b", "nut"], &["a,b", "nut"]),
            (&["bolt", "small"], &["bolt", "small"]),
            (&[], &[]),
        ] {
            assert_eq!(rejoined(&list(asked), &known), expected, "{asked:?}");
        }
    }
}
