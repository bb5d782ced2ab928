//! Paths in JSON, which holds text only: a path that is UTF-8 is a string; every other path is an
//! object with a text for people and with its bytes, so that it can be compared and opened again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path that is the same after it went through JSON. One that is UTF-8 is written as a string,
/// every other one as `{"shown": "...", "bytes": "..."}`, with two hexadecimal digits a byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordedPath(pub PathBuf);

impl RecordedPath {
    /// The bytes of the path as hexadecimal digits; `None` for a path that is UTF-8.
    pub fn hex(&self) -> Option<String> {
        hex(&self.0)
    }
}

impl<P: Into<PathBuf>> From<P> for RecordedPath {
    fn from(path: P) -> Self {
        Self(path.into())
    }
}

impl Serialize for RecordedPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text::of(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RecordedPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Text::deserialize(deserializer)?.into_path()))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Bytes {
        shown: String,
        /// Two hexadecimal digits a byte.
        bytes: String,
    },
}

impl Text {
    fn of(path: &Path) -> Self {
        let shown = path.to_string_lossy().into_owned();
        match hex(path) {
            None => Self::Plain(shown),
            Some(bytes) => Self::Bytes { shown, bytes },
        }
    }

    fn into_path(self) -> PathBuf {
        match self {
            Self::Plain(text) => text.into(),
            Self::Bytes { shown, bytes } => path_of(&bytes).unwrap_or_else(|| shown.into()),
        }
    }
}

fn hex(path: &Path) -> Option<String> {
    let digits = || path.as_os_str().as_encoded_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    path.to_str().is_none().then(digits)
}

pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(Text::of).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(Text::into_path))
}

#[cfg(unix)]
fn path_of(digits: &str) -> Option<PathBuf> {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = pairs.iter().map(byte).collect::<Option<Vec<u8>>>()?;
    rest.is_empty().then(|| OsString::from_vec(bytes).into())
}

/// The bytes of a path are those of one kind of system.
#[cfg(not(unix))]
fn path_of(_digits: &str) -> Option<PathBuf> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        #[serde(with = "super")]
        path: Option<PathBuf>,
    }

    #[test]
    fn every_path_comes_back_and_text_stays_text() {
        let text = |path: &Option<PathBuf>| serde_json::to_string(&Holder { path: path.clone() }).unwrap();
        let odd = |byte| Some(PathBuf::from(OsString::from_vec(vec![b'p', byte, b'q'])));
        for path in [None, Some(PathBuf::from("/data/ä")), odd(0xff), odd(0xfe)] {
            assert_eq!(serde_json::from_str::<Holder>(&text(&path)).unwrap(), Holder { path });
        }
        assert_eq!(text(&Some("/d".into())), r#"{"path":"/d"}"#);
        assert_eq!(text(&None), r#"{"path":null}"#);
        assert_eq!(text(&odd(0xff)), r#"{"path":{"shown":"p�q","bytes":"70ff71"}}"#);
        let damaged = r#"{"path":{"shown":"p","bytes":"7"}}"#;
        assert_eq!(serde_json::from_str::<Holder>(damaged).unwrap(), Holder { path: Some("p".into()) });
    }

    #[test]
    fn a_path_of_its_own_has_the_same_form() {
        for bytes in [&b"a.png"[..], b"\xff.png"] {
            let path = RecordedPath(OsString::from_vec(bytes.to_vec()).into());
            let text = serde_json::to_string(&path).unwrap();
            assert_eq!(
                format!(r#"{{"path":{text}}}"#),
                serde_json::to_string(&Holder { path: Some(path.0.clone()) }).unwrap()
            );
            assert_eq!(serde_json::from_str::<RecordedPath>(&text).unwrap(), path);
        }
        assert_eq!(RecordedPath::from("a").hex(), None);
    }
}
