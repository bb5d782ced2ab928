//! Files that stand in the place of other files.

use std::fmt;

/// The bytes at the front of a file that [`Placeholder::of`] needs.
pub const PLACEHOLDER_HEAD: u64 = 512;

const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The thing that Git or a server has put in the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// The pointer of Git LFS to a large file that was not fetched.
    LfsPointer,
    /// A page that says why there is no file.
    HtmlPage,
}

impl Placeholder {
    /// The kind of the file that begins with `head`; `None` for any other file.
    pub fn of(head: &[u8]) -> Option<Self> {
        let text = head.trim_ascii_start();
        let opens_with =
            |tag: &str| text.get(..tag.len()).is_some_and(|t| t.eq_ignore_ascii_case(tag.as_bytes()));
        if head.starts_with(LFS_POINTER) {
            Some(Self::LfsPointer)
        } else if ["<!doctype html", "<html", "<head"].into_iter().any(opens_with) {
            Some(Self::HtmlPage)
        } else {
            None
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LfsPointer => {
                "it is a Git LFS pointer, not the file that it stands for; `git lfs pull` brings that"
            }
            Self::HtmlPage => {
                "it is an HTML page, not the file; open it in a browser to see what the server said"
            }
        })
    }
}

impl std::error::Error for Placeholder {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_and_pages_are_told_from_files() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
        assert_eq!(Placeholder::of(pointer), Some(Placeholder::LfsPointer));
        for page in [&b"\n <!DOCTYPE HTML>"[..], b"<html>404", b"<HEAD>"] {
            assert_eq!(Placeholder::of(page), Some(Placeholder::HtmlPage));
        }
        for file in [&b""[..], b"<ht", b"version 1", b"\x89PNG\r\n", b"<svg>"] {
            assert_eq!(Placeholder::of(file), None);
        }
    }
}
