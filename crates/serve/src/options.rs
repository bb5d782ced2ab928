use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fmam_files::Digest;
use subtle::ConstantTimeEq;

use crate::ServeError;

/// Bytes of a file of tokens, at most.
const MAX_BYTES: u64 = 1 << 20;

/// A model of the server: its name in requests, and the folder that `fmam fit` wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFolder {
    /// The name, of letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
}

impl ModelFolder {
    /// The model in `folder` under `name`, or under the name of the folder.
    ///
    /// # Errors
    /// [`ServeError::ModelName`] for a name that does not fit into an address.
    pub fn new(name: Option<&str>, folder: &Path) -> Result<Self, ServeError> {
        let own = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.map(str::to_owned).or_else(own).unwrap_or_else(|| "model".to_owned());
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(fits) {
            return Err(ServeError::ModelName { name });
        }
        Ok(Self { name, folder: folder.to_owned() })
    }
}

/// Upper bounds of what requests can make the server hold or do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body of a request.
    pub body: usize,
    /// Bytes of all bodies that are held at a time, at least [`Limits::body`].
    pub bodies: usize,
    /// Pixels of an image, from its header.
    pub pixels: usize,
    /// Images of a request.
    pub images: usize,
    /// Images that are read, wait for their scores or are scored, at least [`Limits::images`]; a
    /// request beyond it gets 503.
    pub queue: usize,
    /// Open connections; a further one waits to be accepted.
    pub connections: usize,
    /// The longest time for the header of a request, again for its body, and again for its answer.
    pub time: Duration,
    /// The longest time to finish requests after the server was told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 32 << 20,
            bodies: 256 << 20,
            pixels: 50_000_000,
            images: 32,
            queue: 64,
            connections: 256,
            time: Duration::from_secs(30),
            grace: Duration::from_secs(30),
        }
    }
}

/// The folder for images that a person called good or defective.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collecting {
    /// The folder; images go to `good` and `defective` in it, or in a folder for each model where
    /// the server has several.
    pub folder: PathBuf,
    /// Images in the folder, at most.
    pub images: usize,
    /// Bytes in the folder, at most.
    pub bytes: u64,
}

/// The requests that are answered.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The tokens, one of which a request must have; empty for every request.
    pub tokens: Vec<Token>,
    /// Names of the server in the header `Host`, beside those of this machine's loopback and
    /// `address`. Every name is accepted where the server listens on all addresses, unless there
    /// are some here.
    pub hosts: Vec<String>,
    /// The address that the server listens on; `None` where no host is checked.
    pub address: Option<IpAddr>,
}

/// A secret of which only the digest is kept.
#[derive(Clone)]
pub struct Token(Digest);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// Characters of a token, at least.
    pub const SHORTEST: usize = 16;

    /// The token `text`.
    pub fn new(text: &str) -> Self {
        Self(Digest::of(text))
    }

    /// The tokens in a file, one a line.
    ///
    /// # Errors
    /// [`ServeError::Read`]; [`ServeError::ShortToken`] for one below [`Token::SHORTEST`]
    /// characters, or a file without a token.
    pub fn read(path: &Path) -> Result<Vec<Self>, ServeError> {
        let text = fmam_files::read_text_limited(path, MAX_BYTES)
            .map_err(|source| ServeError::Read { path: path.to_owned(), source })?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() || lines.iter().any(|line| line.chars().count() < Self::SHORTEST) {
            return Err(ServeError::ShortToken { path: path.to_owned(), shortest: Self::SHORTEST });
        }
        Ok(lines.into_iter().map(Self::new).collect())
    }

    /// True if `text` is the token. The time does not depend on how much of it is right.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(Digest::of(text).as_bytes()).into()
    }
}

/// The options of a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Upper bounds.
    pub limits: Limits,
    /// The requests that are answered.
    pub access: Access,
    /// The folder for judged images; `None` where none are kept.
    pub collecting: Option<Collecting>,
    /// Time between two looks at the folders of the models; `None` where changes are not looked
    /// for.
    pub reload: Option<Duration>,
    /// Images that are scored together, at most; `None` for 1 on a CPU, and for the number of the
    /// detector on a GPU.
    pub batch: Option<usize>,
    /// Threads that score; each scores a batch of its own, by the one model in memory. 0 is 1.
    pub workers: usize,
}

impl Options {
    /// # Errors
    /// [`ServeError::Limit`] for bounds that do not go together.
    pub(crate) fn check(&self) -> Result<(), ServeError> {
        let Limits { body, bodies, pixels, images, queue, connections, time, .. } = self.limits;
        let refuse = |what, least| Err(ServeError::Limit { what, least });
        if body == 0 || pixels == 0 || images == 0 || connections == 0 || time.is_zero() {
            return refuse("every limit", 1);
        }
        if bodies < body {
            return refuse("bytes of all bodies", body);
        }
        if queue < images {
            return refuse("images in the queue", images);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_into_an_address() {
        let name = |name: Option<&str>, folder: &str| ModelFolder::new(name, Path::new(folder));
        assert_eq!(name(None, "models/screw").unwrap().name, "screw");
        assert_eq!(name(Some("a-1.2"), "x").unwrap().name, "a-1.2");
        for bad in ["", "a/b", "..", ".hidden", "a b", "ä"] {
            assert!(matches!(name(Some(bad), "x"), Err(ServeError::ModelName { .. })), "{bad}");
        }
    }

    #[test]
    fn tokens_are_long_one_a_line_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "0123456789abcdef\n\n  fedcba9876543210  \n").unwrap();
        let tokens = Token::read(&path).unwrap();
        assert!(tokens[0].is("0123456789abcdef") && tokens[1].is("fedcba9876543210"));
        assert!(!tokens[0].is("0123456789abcdeF") && !tokens[0].is(""));
        assert!(!format!("{tokens:?}").contains("0123"));
        for short in ["", "short\n", "0123456789abcdef\nshort"] {
            std::fs::write(&path, short).unwrap();
            assert!(matches!(Token::read(&path), Err(ServeError::ShortToken { .. })), "{short}");
        }
        assert!(matches!(Token::read(&folder.path().join("none")), Err(ServeError::Read { .. })));
    }

    #[test]
    fn bounds_that_no_request_could_meet_are_refused() {
        let with = |limits| Options { limits, ..Options::default() }.check();
        assert!(with(Limits::default()).is_ok());
        let default = Limits::default;
        for limits in [
            Limits { body: 0, ..default() },
            Limits { bodies: 1, ..default() },
            Limits { queue: 1, ..default() },
            Limits { time: Duration::ZERO, ..default() },
        ] {
            assert!(matches!(with(limits), Err(ServeError::Limit { .. })), "{limits:?}");
        }
    }
}
