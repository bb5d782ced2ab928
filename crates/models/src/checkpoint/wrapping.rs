//! The wrappings of state dicts by training programs: a dict with other entries, and a prefix of
//! all names.

use std::collections::BTreeMap;

use super::pickle_value::Value;

/// Entries of a training checkpoint that may hold the state dict, the most telling name first.
const OUTER: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// Prefixes of `DataParallel`, of a network within a training module, and of `torch.compile`.
const PREFIXES: [&str; 3] = ["module.", "model.", "_orig_mod."];

/// The wrappings that were taken off a state dict.
#[derive(Debug, Default)]
pub(super) struct Wrapping {
    outer: Vec<&'static str>,
    prefix: String,
}

/// The dict that holds the tensors: `value`, or what it has under a name in [`OUTER`], which may be
/// a foreign object.
pub(super) fn inner_dict<'a>(value: &'a Value, wrapping: &mut Wrapping) -> &'a Value {
    let Value::Dict(entries, _) = value else { return value };
    let entry = |wanted: &str| {
        entries.iter().find_map(|entry| match entry {
            (Value::Text(name), inner @ (Value::Dict(..) | Value::Foreign(_))) if &**name == wanted => {
                Some(inner)
            }
            _ => None,
        })
    };
    match OUTER.into_iter().find_map(|name| Some((name, entry(name)?))) {
        Some((name, inner)) => {
            wrapping.outer.push(name);
            inner_dict(inner, wrapping)
        }
        None => value,
    }
}

impl Wrapping {
    /// `tensors` without the prefix that all names share.
    pub(super) fn without_prefix<T>(&mut self, mut tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
        let is_shared = |tensors: &BTreeMap<String, T>, prefix: &str| {
            let has_prefix = |name: &String| name.len() > prefix.len() && name.starts_with(prefix);
            !tensors.is_empty() && tensors.keys().all(has_prefix)
        };
        while let Some(prefix) = PREFIXES.into_iter().find(|prefix| is_shared(&tensors, prefix)) {
            self.prefix.push_str(prefix);
            let short = |(name, tensor): (String, T)| (name[prefix.len()..].to_owned(), tensor);
            tensors = tensors.into_iter().map(short).collect();
        }
        tensors
    }

    /// A sentence on the parts that were taken off; `None` if there were none.
    pub(super) fn description(&self) -> Option<String> {
        let entry = (!self.outer.is_empty())
            .then(|| format!("read the tensors of its entry `{}`", self.outer.join("` / `")));
        let prefix =
            (!self.prefix.is_empty()).then(|| format!("left out the prefix `{}` of all names", self.prefix));
        match (entry, prefix) {
            (Some(entry), Some(prefix)) => Some(format!("{entry} and {prefix}")),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrapped(names: &[&str]) -> (Vec<String>, Option<String>) {
        let mut wrapping = Wrapping::default();
        let tensors = names.iter().map(|name| ((*name).to_owned(), ())).collect();
        (wrapping.without_prefix(tensors).into_keys().collect(), wrapping.description())
    }

    #[test]
    fn only_a_prefix_of_all_names_is_left_out() {
        let both = Some("left out the prefix `module.model.` of all names".to_owned());
        let names = ["module.model.a", "module.model.b.c"];
        assert_eq!(unwrapped(&names), (vec!["a".to_owned(), "b.c".to_owned()], both));
        for names in [&["b", "module.a"][..], &["module."], &["modules.a"], &["layer1.a", "layer1.b"], &[]] {
            assert_eq!(unwrapped(names), (names.iter().map(|&n| n.to_owned()).collect(), None));
        }
    }
}
