use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fmam_files::{Hasher, LockError, open_locked, remove_leftovers_of, sync_dir, write_atomic};
use ureq::http::{HeaderMap, Response};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use crate::cache::MAX_NOTE;
use crate::digest::CHUNK;
use crate::roots::trusted_roots;
use crate::{ExpectedSha256, FetchError};

/// The longest time that a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// The interval at which a waiting download asks for cancellation.
const TICK: Duration = Duration::from_millis(50);

/// A file to fetch.
#[derive(Debug, Clone)]
pub struct Download {
    /// Address; `https://` or `http://`.
    pub url: String,
    /// Target path. Its folder must exist. The bytes under way lie beside it in `NAME.part`, and
    /// their version in `NAME.etag`, so that a later run finds both.
    pub path: PathBuf,
    /// The expected digest, if known.
    pub sha256: Option<ExpectedSha256>,
    /// Bytes that it may have at most.
    pub max_bytes: u64,
}

/// The number of tries of a download, and the waits between them.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Attempts in a row that may bring nothing new.
    pub attempts: u32,
    /// Wait before the second attempt; it doubles with each further one.
    pub first_wait: Duration,
    /// Longest wait, also where the server asks for a longer one.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 6, first_wait: Duration::from_secs(1), longest_wait: Duration::from_secs(60) }
    }
}

impl Download {
    /// Fetches the file and gives its SHA-256 in hexadecimal digits. An interrupted download goes
    /// on from where it was, if the server still has the same file.
    ///
    /// The variables `ALL_PROXY`, `HTTPS_PROXY` and `HTTP_PROXY`, of which the first that is set
    /// counts for every address, `NO_PROXY`, and the same in lower case are honoured. The
    /// certificates that servers are trusted by are the platform's, or those in the program where
    /// it has none; where `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, those alone.
    ///
    /// `progress` is told how many bytes there are, and of how many where that is known; `false`
    /// stops.
    ///
    /// # Errors
    /// [`FetchError`]; what can be resumed stays beside the target, nothing else does.
    pub fn run(
        &self,
        retry: &Retry,
        progress: &mut dyn FnMut(u64, Option<u64>) -> bool,
    ) -> Result<String, FetchError> {
        if !["https://", "http://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            return Err(FetchError::BadUrl { url: self.url.clone() });
        }
        let part = Part::open(&self.path)?;
        let fetched = self.fetch(&part, retry, progress).and_then(|()| {
            let digest = part.digest()?;
            match &self.sha256 {
                Some(expected) if !expected.matches(&digest) => Err(FetchError::WrongDigest {
                    url: self.url.clone(),
                    expected: expected.to_string(),
                    found: digest,
                }),
                _ => Ok(digest),
            }
        });
        match fetched {
            Ok(digest) => part.finish(&self.path).map(|()| digest),
            Err(error) => {
                // A fault of the network, the disk or the server may pass.
                let may_go_on = !matches!(
                    error,
                    FetchError::TooLarge { .. }
                        | FetchError::WrongDigest { .. }
                        | FetchError::Status { status: 404 | 410, .. }
                );
                part.leave(may_go_on, &self.url);
                Err(error)
            }
        }
    }

    fn fetch(
        &self,
        part: &Part,
        retry: &Retry,
        progress: &mut dyn FnMut(u64, Option<u64>) -> bool,
    ) -> Result<(), FetchError> {
        let config = Agent::config_builder()
            .user_agent(concat!("fmam/", env!("CARGO_PKG_VERSION")))
            // A range and a digest are of the bytes as they are.
            .accept_encoding("identity")
            .http_status_as_error(false)
            .https_only(self.url.starts_with("https://"))
            .tls_config(TlsConfig::builder().root_certs(trusted_roots()?).build())
            .timeout_resolve(Some(PATIENCE))
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .timeout_per_write(Some(PATIENCE))
            .build();
        let agent = Agent::new_with_config(config);
        let mut wait = retry.first_wait;
        let mut failures = 0;
        let mut furthest = part.len()?;
        let mut total = None;
        loop {
            let attempt = self.attempt(&agent, part, &mut |done, told| {
                total = told.or(total);
                progress(done, total)
            });
            let error = match attempt {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let asked = match &error {
                FetchError::Busy { seconds, .. } => Duration::from_secs(*seconds),
                FetchError::Cut { .. } => Duration::ZERO,
                FetchError::Unreachable { source, .. } if may_pass(source.as_ref()) => Duration::ZERO,
                FetchError::Status { status, .. } if is_passing(*status) => Duration::ZERO,
                _ => return Err(error),
            };
            let have = part.len()?;
            // Whoever gets further each time gets there in the end.
            if have > furthest {
                (furthest, failures, wait) = (have, 0, retry.first_wait);
            }
            failures += 1;
            if failures >= retry.attempts || asked > retry.longest_wait {
                return Err(error);
            }
            if !sleep(wait.max(asked), || progress(have, total)) {
                return Err(FetchError::Cancelled { url: self.url.clone() });
            }
            wait = (2 * wait).min(retry.longest_wait);
        }
    }

    fn attempt(
        &self,
        agent: &Agent,
        part: &Part,
        progress: &mut dyn FnMut(u64, Option<u64>) -> bool,
    ) -> Result<(), FetchError> {
        let (have, validator) = part.resumable(&self.url)?;
        let mut request = agent.get(&self.url);
        if let Some(validator) = &validator {
            request = request.header("Range", format!("bytes={have}-")).header("If-Range", validator);
        }
        let response = request.call().map_err(|error| self.no_answer(error))?;
        let status = response.status().as_u16();
        match status {
            206 if validator.as_ref().is_some_and(|known| goes_on(response.headers(), have, known)) => {
                let expected = total_of(response.headers());
                self.receive(response, part, have, expected, progress)
            }
            200 => {
                part.start_anew(&self.url, validator_of(response.headers()))?;
                let expected = text(response.headers(), "content-length").and_then(|text| text.parse().ok());
                self.receive(response, part, 0, expected, progress)
            }
            // Nothing is left to send, or another file is there now.
            416 if total_of(response.headers()) == Some(have)
                && validator.as_ref().is_some_and(|known| is_same_version(response.headers(), known)) =>
            {
                Ok(())
            }
            206 | 416 => self.again(part),
            412 if validator.is_some() => self.again(part),
            _ => {
                let wait = text(response.headers(), "retry-after").and_then(|text| text.parse().ok());
                match wait.filter(|_| is_passing(status)) {
                    Some(seconds) => Err(FetchError::Busy { url: self.url.clone(), seconds }),
                    None => Err(FetchError::Status { url: self.url.clone(), status }),
                }
            }
        }
    }

    fn no_answer(&self, error: ureq::Error) -> FetchError {
        let is_insecure = match &error {
            // So TLS reports what it does not accept from the other side.
            ureq::Error::Io(error) => error.kind() == ErrorKind::InvalidData,
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
            _ => false,
        };
        let url = self.url.clone();
        if is_insecure {
            FetchError::Insecure { url, source: error.into() }
        } else {
            FetchError::Unreachable { url, source: error.into() }
        }
    }

    /// Forgets a part that the server has no rest of.
    fn again(&self, part: &Part) -> Result<(), FetchError> {
        part.start_anew(&self.url, None)?;
        Err(FetchError::Cut { url: self.url.clone(), received: 0, expected: None, source: None })
    }

    /// Appends the body to the part, which has `have` bytes and should get `expected`.
    fn receive(
        &self,
        response: Response<Body>,
        part: &Part,
        have: u64,
        expected: Option<u64>,
        progress: &mut dyn FnMut(u64, Option<u64>) -> bool,
    ) -> Result<(), FetchError> {
        let too_large = || FetchError::TooLarge { url: self.url.clone(), limit: self.max_bytes };
        if expected.is_some_and(|bytes| bytes > self.max_bytes) {
            return Err(too_large());
        }
        let cut = |received, source| FetchError::Cut { url: self.url.clone(), received, expected, source };
        let mut body = response.into_body().into_reader();
        let (mut received, mut buffer) = (have, vec![0; CHUNK]);
        loop {
            if !progress(received, expected) {
                return Err(FetchError::Cancelled { url: self.url.clone() });
            }
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(cut(received, Some(error))),
            };
            received += n as u64;
            if received > self.max_bytes {
                return Err(too_large());
            }
            part.append(&buffer[..n])?;
        }
        match expected {
            Some(bytes) if bytes != received => Err(cut(received, None)),
            _ => Ok(()),
        }
    }
}

/// True if a server with this status may answer otherwise later.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// The validator of this version of the file. A weak tag does not distinguish bytes.
fn validator_of(headers: &HeaderMap) -> Option<&str> {
    text(headers, "etag").filter(|tag| !tag.starts_with("W/")).or_else(|| text(headers, "last-modified"))
}

/// True when the response continues a file at byte `have` and is not known to be of another version
/// than `validator`. A response without total length is refused: a truncated file could not be
/// detected.
fn goes_on(headers: &HeaderMap, have: u64, validator: &str) -> bool {
    let range = text(headers, "content-range").and_then(|range| range.strip_prefix("bytes "));
    let start = range.and_then(|range| range.split('-').next()).and_then(|start| start.parse().ok());
    start == Some(have) && total_of(headers).is_some() && is_same_version(headers, validator)
}

/// False if the server states another version than `validator`.
fn is_same_version(headers: &HeaderMap, validator: &str) -> bool {
    let is_tag = |validator: &str| validator.starts_with('"');
    validator_of(headers).is_none_or(|found| found == validator || is_tag(found) != is_tag(validator))
}

/// True if a request with this error may succeed later; a wrong address never does.
fn may_pass(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    match error.downcast_ref::<ureq::Error>() {
        Some(ureq::Error::Io(error)) => error.kind() != ErrorKind::InvalidInput,
        Some(
            ureq::Error::Timeout(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Protocol(_)
            | ureq::Error::ConnectProxyFailed(_),
        ) => true,
        _ => false,
    }
}

/// Sleeps for `pause`, or until `tick` says stop: then `false`.
fn sleep(pause: Duration, mut tick: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while tick() {
        match pause.checked_sub(start.elapsed()) {
            Some(left) if !left.is_zero() => std::thread::sleep(left.min(TICK)),
            _ => return true,
        }
    }
    false
}

/// The length of the whole file that `Content-Range` says.
fn total_of(headers: &HeaderMap) -> Option<u64> {
    text(headers, "content-range")?.rsplit('/').next()?.parse().ok()
}

/// The file under way, which nobody else writes meanwhile.
struct Part {
    path: PathBuf,
    validator: PathBuf,
    file: File,
}

impl Part {
    fn open(target: &Path) -> Result<Self, FetchError> {
        let beside = |ending: &str| {
            let mut name = target.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        // Two endings of one length, so that a name that leaves room for the first leaves it for
        // both.
        let (path, validator) = (beside(".part"), beside(".etag"));
        let file = open_locked(&path).map_err(|error| match error {
            LockError::Held => FetchError::InUse { path: path.clone() },
            LockError::Io(source) => FetchError::Write { path: path.clone(), source },
        })?;
        remove_leftovers_of(&validator)
            .map_err(|source| FetchError::Write { path: validator.clone(), source })?;
        Ok(Self { file, path, validator })
    }

    fn error(&self, source: std::io::Error) -> FetchError {
        FetchError::Write { path: self.path.clone(), source }
    }

    /// Bytes that are there.
    fn len(&self) -> Result<u64, FetchError> {
        (&self.file).seek(SeekFrom::End(0)).map_err(|error| self.error(error))
    }

    /// Its SHA-256, read through the locked file: on Windows nobody else may read it.
    fn digest(&self) -> Result<String, FetchError> {
        let mut hasher = Hasher::default();
        (&self.file)
            .seek(SeekFrom::Start(0))
            .and_then(|_| std::io::copy(&mut &self.file, &mut hasher))
            .map_err(|source| FetchError::Read { path: self.path.clone(), source })?;
        Ok(hasher.finish().to_string())
    }

    /// Bytes that are there and what version of `url` they are of; none where that is not known.
    fn resumable(&self, url: &str) -> Result<(u64, Option<String>), FetchError> {
        let have = self.len()?;
        let known = fmam_files::read_text_limited(&self.validator, MAX_NOTE).unwrap_or_default();
        let validator = match known.split_once('\n') {
            Some((validator, of)) if have > 0 && of.trim_end() == url => Some(validator.to_owned()),
            _ => None,
        };
        Ok((have, validator))
    }

    fn start_anew(&self, url: &str, validator: Option<&str>) -> Result<(), FetchError> {
        // In this order, so that at no time the validator of one version lies beside bytes of
        // another.
        match fs::remove_file(&self.validator) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(self.error(error)),
            _ => {}
        }
        let emptied = self.file.set_len(0).and_then(|()| (&self.file).seek(SeekFrom::Start(0)));
        emptied.map_err(|error| self.error(error))?;
        if let Some(validator) = validator {
            write_atomic(&self.validator, |file| write!(file, "{validator}\n{url}\n"))
                .map_err(|error| self.error(error))?;
        }
        Ok(())
    }

    fn append(&self, bytes: &[u8]) -> Result<(), FetchError> {
        (&self.file).write_all(bytes).map_err(|error| self.error(error))
    }

    /// Moves the whole file to its place, and makes that last.
    fn finish(self, target: &Path) -> Result<(), FetchError> {
        // The version first, while the lock guards it: after the rename another process may write
        // its own.
        let _ = fs::remove_file(&self.validator);
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let moved = self.file.sync_all().and_then(|()| fs::rename(&self.path, target));
        let moved = moved.and_then(|()| sync_dir(folder.unwrap_or(Path::new("."))));
        moved.map_err(|source| FetchError::Write { path: target.to_owned(), source })
    }

    /// Leaves the part for the next try, if that can go on from it.
    fn leave(self, may_go_on: bool, url: &str) {
        let is_useful = may_go_on && self.resumable(url).is_ok_and(|(_, validator)| validator.is_some());
        if !is_useful {
            // Best effort: the error at hand is the one to tell.
            let _ = fs::remove_file(&self.validator);
            let _ = fs::remove_file(&self.path);
        }
    }
}
