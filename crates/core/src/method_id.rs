use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The mark between a registered name and the variant of its settings.
const VARIANT_MARK: char = '@';
/// The suffix of the methods that feature mapping adapts.
const FMAM_SUFFIX: &str = "+fmam";

/// The name of a method in a run: a registered name, and perhaps a variant of its settings.
///
/// Grammar: `BASE` or `BASE@VARIANT`; a base that ends in `+fmam` is the adapted form of the base
/// without the suffix. Every crate asks this type instead of looking into the text.
///
/// ```
/// use fmam_core::MethodId;
///
/// let id: MethodId = "rkd+fmam@no-margin".into();
/// assert_eq!((id.base(), id.variant()), ("rkd+fmam", Some("no-margin")));
/// assert_eq!(id.plain_base(), Some("rkd"));
/// assert_eq!(id.to_string(), "rkd+fmam@no-margin");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct MethodId {
    name: String,
    /// Bytes of the base at the beginning of the name.
    base: usize,
}

impl MethodId {
    /// The variant `variant` of the method registered as `base`.
    pub fn new(base: &str, variant: Option<&str>) -> Self {
        match variant {
            Some(variant) => format!("{base}{VARIANT_MARK}{variant}").into(),
            None => base.into(),
        }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The registered name.
    pub fn base(&self) -> &str {
        &self.name[..self.base]
    }

    /// The name of the variant of the method's settings; `None` for the method itself.
    pub fn variant(&self) -> Option<&str> {
        self.name.get(self.base + VARIANT_MARK.len_utf8()..)
    }

    /// The method itself, without its variant.
    #[must_use]
    pub fn without_variant(&self) -> Self {
        self.base().into()
    }

    /// The registered name of the method that feature mapping adapts: `rkd` of `rkd+fmam`. `None`
    /// for a method without feature mapping.
    pub fn plain_base(&self) -> Option<&str> {
        self.base().strip_suffix(FMAM_SUFFIX)
    }

    /// True where feature mapping is part of the method.
    pub fn has_fmam(&self) -> bool {
        self.plain_base().is_some()
    }
}

impl From<&str> for MethodId {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl From<String> for MethodId {
    fn from(name: String) -> Self {
        let base = name.find(VARIANT_MARK).unwrap_or(name.len());
        Self { name, base }
    }
}

impl From<MethodId> for String {
    fn from(id: MethodId) -> Self {
        id.name
    }
}

impl FromStr for MethodId {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(name.into())
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq<str> for MethodId {
    /// True where the text of the name is `other`.
    fn eq(&self, other: &str) -> bool {
        self.name == other
    }
}

impl PartialEq<&str> for MethodId {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_base_and_perhaps_a_variant() {
        for (name, base, variant, plain) in [
            ("rkd", "rkd", None, None),
            ("rkd+fmam", "rkd+fmam", None, Some("rkd")),
            ("rkd@wide", "rkd", Some("wide"), None),
            ("nkd+fmam@a@b", "nkd+fmam", Some("a@b"), Some("nkd")),
            ("x@", "x", Some(""), None),
            ("a@+fmam", "a", Some("+fmam"), None),
        ] {
            let id = MethodId::from(name);
            assert_eq!((id.base(), id.variant(), id.plain_base()), (base, variant, plain), "{name}");
            assert_eq!((id.to_string().as_str(), id.as_str()), (name, name));
            assert_eq!(MethodId::new(base, variant), id);
            assert!(id == name && id.has_fmam() == plain.is_some());
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<MethodId>(&format!("\"{name}\"")).unwrap(), id);
        }
        assert_eq!(MethodId::from("rkd@wide").without_variant(), MethodId::from("rkd"));
    }
}
