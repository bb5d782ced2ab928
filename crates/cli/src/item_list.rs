//! Options that take several items.

/// The items of an option: those between the commas where it is given once, else the texts as they
/// are, since the name of a category or an image may have a comma.
pub(crate) fn items(given: &[String]) -> Vec<String> {
    match given {
        [list] => list.split(',').map(str::to_owned).collect(),
        several => several.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_commas_and_a_repeated_option_none() {
        let of = |given: &[&str]| items(&given.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["a,b"]), ["a", "b"]);
        assert_eq!(of(&["a,b", "c"]), ["a,b", "c"]);
        assert_eq!(of(&["a,b", "a,b"]), ["a,b", "a,b"]);
    }
}
