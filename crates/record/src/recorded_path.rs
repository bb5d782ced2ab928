//! Paths in JSON, which holds text only: a path that is UTF-8 is a string; every other path is an
//! object with a text for people and with its bytes, so that it can be compared and opened again.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = path.as_ref().map(|path| match path.to_str() {
        Some(text) => Text::Plain(text.to_owned()),
        None => {
            let bytes = path.as_os_str().as_encoded_bytes();
            let bytes = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Text::Bytes { shown: path.to_string_lossy().into_owned(), bytes }
        }
    });
    text.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let text = Option::<Text>::deserialize(deserializer)?;
    Ok(text.map(|text| match text {
        Text::Plain(text) => text.into(),
        Text::Bytes { shown, bytes } => path_of(&bytes).unwrap_or_else(|| shown.into()),
    }))
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
}
