use std::fmt;
use std::path::Path;
use std::str::FromStr;

use fmam_files::Digest;

use crate::FetchError;

/// Hexadecimal digits of a whole SHA-256.
const WHOLE: usize = 64;
/// Hexadecimal digits of the prefix that some publishers put into file names
/// (`resnet18-f37072fd.pth`).
const PREFIX: usize = 8;
/// Bytes read at once.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The SHA-256 that a download must have: 64 hexadecimal digits, or the first 8 where a publisher
/// tells no more. A prefix finds damage, not malice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedSha256(String);

impl ExpectedSha256 {
    /// True if the whole digest `found`, in lower-case hexadecimal digits, is the expected one.
    pub fn matches(&self, found: &str) -> bool {
        found.len() == WHOLE && found.starts_with(&self.0)
    }
}

impl FromStr for ExpectedSha256 {
    type Err = FetchError;

    /// # Errors
    /// [`FetchError::BadDigest`] for anything but 64 or 8 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, FetchError> {
        if matches!(text.len(), WHOLE | PREFIX) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(FetchError::BadDigest { text: text.to_owned() })
        }
    }
}

impl fmt::Display for ExpectedSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of a file in 64 lower-case hexadecimal digits.
///
/// # Errors
/// [`FetchError::Read`].
pub fn sha256_file(path: &Path) -> Result<String, FetchError> {
    let digest =
        Digest::of_file(path).map_err(|source| FetchError::Read { path: path.to_owned(), source })?;
    Ok(digest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn whole_and_prefix_match() {
        assert_eq!(Digest::of("").to_string(), EMPTY);
        for text in [EMPTY, &EMPTY[..8], "E3B0C442"] {
            assert!(text.parse::<ExpectedSha256>().unwrap().matches(EMPTY), "{text}");
        }
        assert!(!"e3b0c443".parse::<ExpectedSha256>().unwrap().matches(EMPTY));
        assert!(!"e3b0c442".parse::<ExpectedSha256>().unwrap().matches("e3b0c442"));
    }

    #[test]
    fn other_lengths_and_letters_are_refused() {
        for text in ["", "e3b0c44", "e3b0c4429", "e3b0c44g", &EMPTY[1..]] {
            assert!(matches!(text.parse::<ExpectedSha256>(), Err(FetchError::BadDigest { .. })), "{text}");
        }
    }
}
