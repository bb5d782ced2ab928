//! Names of tensors with alternatives: `layer4.{0,1}.conv{1,2}.weight`.

/// True where `name` is one of the names that `patterns` stand for.
pub(crate) fn matches_any(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// True where `name` is `pattern` with one alternative in place of each pair of braces.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, (alternatives, after))) =
        pattern.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return pattern == name;
    };
    name.strip_prefix(before).is_some_and(|rest| {
        let mut rests = alternatives.split(',').filter_map(|alternative| rest.strip_prefix(alternative));
        rests.any(|rest| matches(after, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_braces_stands_for_each_of_its_alternatives() {
        let patterns = ["fc.{weight,bias}", "a.{1,10}.b{1,2}.c", "head"];
        for name in ["fc.weight", "fc.bias", "a.1.b1.c", "a.10.b2.c", "head"] {
            assert!(matches_any(&patterns, name), "{name}");
        }
        for name in ["fc.weight_g", "fc.", "xfc.bias", "a.0.b1.c", "a.1.b3.c", "a.1,10.b1.c", "head.x", ""] {
            assert!(!matches_any(&patterns, name), "{name}");
        }
    }
}
