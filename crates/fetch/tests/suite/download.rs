//! Downloads from a server on this machine that cuts, lies and fails.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fmam_fetch::{Download, FetchError, Retry, sha256_file};

/// The server's answer to a request with a number and a `Range`.
type Answer = dyn Fn(usize, Option<u64>) -> Reply + Send + Sync;

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes that are announced; those of the body without it.
    announced: Option<usize>,
}

struct Server {
    url: String,
    /// The `Range` of each request.
    ranges: Arc<Mutex<Vec<Option<u64>>>>,
}

fn serve(answer: impl Fn(usize, Option<u64>) -> Reply + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file.bin", listener.local_addr().unwrap());
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let (asked, answer): (_, Box<Answer>) = (Arc::clone(&ranges), Box::new(answer));
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            reply(stream.unwrap(), number, &asked, answer.as_ref());
        }
    });
    Server { url, ranges }
}

fn reply(mut stream: TcpStream, number: usize, asked: &Mutex<Vec<Option<u64>>>, answer: &Answer) {
    let mut range = None;
    for line in BufReader::new(&stream).lines() {
        let line = line.unwrap().to_lowercase();
        if let Some(value) = line.strip_prefix("range: bytes=") {
            range = value.trim_end_matches('-').parse().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    asked.lock().unwrap().push(range);
    let Reply { status, headers, body, announced } = answer(number, range);
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
    head += &format!("Content-Length: {}\r\n", announced.unwrap_or(body.len()));
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    // The client may be gone: that is its business.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(&body));
}

fn content() -> Vec<u8> {
    (0..300_000_u32).map(|k| (k.wrapping_mul(k) >> 7) as u8).collect()
}

fn whole(status: u16) -> Reply {
    Reply { status, headers: vec![("ETag", "\"a\"".to_owned())], body: content(), announced: None }
}

fn failure(status: u16) -> Reply {
    Reply { status, headers: Vec::new(), body: b"no".to_vec(), announced: None }
}

/// The rest of the file from `start`, of version `tag`.
fn rest(start: u64, tag: &str) -> Reply {
    let body = content()[start as usize..].to_vec();
    let range = format!("bytes {start}-{}/{}", content().len() - 1, content().len());
    Reply {
        status: 206,
        headers: vec![("ETag", tag.to_owned()), ("Content-Range", range)],
        body,
        announced: None,
    }
}

/// The first `n` bytes, and then the connection ends.
fn cut(n: usize) -> Reply {
    let all = content();
    Reply { announced: Some(all.len()), body: all[..n].to_vec(), ..whole(200) }
}

const QUICK: Retry =
    Retry { attempts: 3, first_wait: Duration::from_millis(1), longest_wait: Duration::from_secs(2) };

fn fetch(server: &Server, dir: &Path, sha256: Option<&str>) -> Result<String, FetchError> {
    let path = dir.join("file.bin");
    let sha256 = sha256.map(|text| text.parse().unwrap());
    Download { url: server.url.clone(), path, sha256, max_bytes: 1 << 20 }.run(&QUICK, &mut |_, _| true)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn digest() -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, content()).unwrap();
    sha256_file(&path).unwrap()
}

/// Fetches and expects the whole file and nothing beside it.
fn expect_whole(server: &Server) {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(fetch(server, dir.path(), Some(&digest()[..8])).unwrap(), digest());
    assert_eq!(std::fs::read(dir.path().join("file.bin")).unwrap(), content());
    assert_eq!(names(dir.path()), ["file.bin"]);
}

#[test]
fn a_whole_file_arrives_with_its_digest() {
    expect_whole(&serve(|_, _| whole(200)));
}

#[test]
fn of_a_cut_file_only_the_rest_is_asked_for() {
    let server = serve(|_, range| range.map_or_else(|| cut(100_000), |start| rest(start, "\"a\"")));
    expect_whole(&server);
    assert_eq!(*server.ranges.lock().unwrap(), [None, Some(100_000)]);
}

#[test]
fn another_version_or_a_server_without_ranges_begins_anew() {
    // Told to send a range of version "a", the server sends the whole of version "b".
    let server = serve(|number, _| if number == 0 { cut(50_000) } else { whole(200) });
    expect_whole(&server);
    // A range from another place is not appended.
    let server = serve(|number, range| match (number, range) {
        (0, _) => cut(50_000),
        (1, _) => rest(7, "\"a\""),
        _ => whole(200),
    });
    expect_whole(&server);
}

#[test]
fn versions_pieces_and_addresses_are_not_mixed() {
    // The rest of another version, from a server that ignores If-Range.
    let server = serve(|number, range| match range {
        Some(start) => rest(start, "\"b\""),
        None if number == 0 => cut(50_000),
        None => whole(200),
    });
    expect_whole(&server);
    // Pieces that each say of what whole they are; whoever gets further each time gets there,
    // whatever the number of attempts.
    let server = serve(|_, range| {
        let Some(start) = range else { return cut(40_000) };
        let mut piece = rest(start, "\"a\"");
        piece.body.truncate(40_000);
        piece
    });
    expect_whole(&server);
    assert!(server.ranges.lock().unwrap().len() > QUICK.attempts as usize);
    // A piece of a whole of unknown length is not taken for all that was missing.
    expect_whole(&serve(|number, range| {
        let Some(start) = range else { return if number == 0 { cut(40_000) } else { whole(200) } };
        let mut piece = rest(start, "\"a\"");
        piece.body.truncate(40_000);
        piece.headers[1].1 = format!("bytes {start}-{}/*", start + 39_999);
        piece
    }));
    // A download from one address is not continued from another.
    let dir = tempfile::tempdir().unwrap();
    assert!(
        fetch(&serve(|_, range| if range.is_some() { failure(503) } else { cut(9000) }), dir.path(), None)
            .is_err()
    );
    assert_eq!(names(dir.path()), ["file.bin.etag", "file.bin.part"]);
    let other = serve(|_, range| if range.is_some() { failure(404) } else { whole(200) });
    assert_eq!(fetch(&other, dir.path(), None).unwrap(), digest());
}

#[test]
fn a_server_that_has_no_rest_of_this_version_gives_the_whole_anew() {
    // All bytes were there but one that never came, as of an old version as long as the new one is.
    let begun =
        || Reply { announced: Some(content().len() + 1), body: vec![7; content().len()], ..whole(200) };
    let stale = || {
        let range = format!("bytes */{}", content().len());
        Reply { headers: vec![("ETag", "\"b\"".to_owned()), ("Content-Range", range)], ..failure(416) }
    };
    expect_whole(&serve(move |number, range| match range {
        Some(_) => stale(),
        None if number == 0 => begun(),
        None => whole(200),
    }));
    expect_whole(&serve(|number, range| match range {
        Some(_) => failure(412),
        None if number == 0 => cut(50_000),
        None => whole(200),
    }));
}

#[test]
fn a_wait_can_be_stopped() {
    let server = serve(|_, _| failure(500));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.bin");
    let download = Download { url: server.url.clone(), path, sha256: None, max_bytes: 1 << 20 };
    let hour = Duration::from_secs(3600);
    let patient = Retry { attempts: 2, first_wait: hour, longest_wait: hour };
    let mut asked = 0;
    let stopped = download.run(&patient, &mut |_, _| {
        asked += 1;
        asked < 3
    });
    assert!(matches!(stopped, Err(FetchError::Cancelled { .. })), "{stopped:?}");
}

#[test]
fn what_passes_is_waited_for() {
    expect_whole(&serve(|number, _| if number < 2 { failure(500) } else { whole(200) }));
    let busy = || Reply { headers: vec![("Retry-After", "1".to_owned())], ..failure(429) };
    expect_whole(&serve(move |number, _| if number == 0 { busy() } else { whole(200) }));
    let moved = |server: &Server| {
        let to = server.url.clone();
        serve(move |_, _| Reply { headers: vec![("Location", to.clone())], ..failure(302) })
    };
    expect_whole(&moved(&serve(|_, _| whole(200))));
}

#[test]
fn what_does_not_pass_is_told_and_leaves_nothing() {
    let check = |answer: fn() -> Reply, requests: usize, is_right: fn(&FetchError) -> bool| {
        let server = serve(move |_, _| answer());
        let dir = tempfile::tempdir().unwrap();
        let error = fetch(&server, dir.path(), Some("00000000")).unwrap_err();
        assert!(is_right(&error), "{error}");
        assert!(names(dir.path()).is_empty(), "{error}: {:?}", names(dir.path()));
        assert_eq!(server.ranges.lock().unwrap().len(), requests, "{error}");
    };
    check(|| failure(404), 1, |error| matches!(error, FetchError::Status { status: 404, .. }));
    check(|| failure(503), 3, |error| matches!(error, FetchError::Status { status: 503, .. }));
    check(|| whole(200), 1, |error| matches!(error, FetchError::WrongDigest { .. }));
    let patience = || Reply { headers: vec![("Retry-After", "3600".to_owned())], ..failure(429) };
    check(patience, 1, |error| matches!(error, FetchError::Busy { seconds: 3600, .. }));
    let huge = || Reply { announced: Some(1 << 30), ..whole(200) };
    check(huge, 1, |error| matches!(error, FetchError::TooLarge { .. }));
}

#[test]
fn a_wrong_length_is_an_error_and_what_came_is_kept_for_the_next_try() {
    let server = serve(|number, range| match range {
        Some(start) if number > 2 => rest(start, "\"a\""),
        Some(start) => Reply { announced: Some(content().len()), body: Vec::new(), ..rest(start, "\"a\"") },
        None => cut(1000),
    });
    let dir = tempfile::tempdir().unwrap();
    let error = fetch(&server, dir.path(), None).unwrap_err();
    assert!(matches!(error, FetchError::Cut { received: 1000, .. }), "{error}");
    assert_eq!(names(dir.path()), ["file.bin.etag", "file.bin.part"]);
    assert_eq!(fetch(&server, dir.path(), None).unwrap(), digest());
    assert_eq!(names(dir.path()), ["file.bin"]);
}

#[test]
fn what_came_is_kept_unless_it_is_of_no_use() {
    for (status, stays) in [(403, true), (407, true), (503, true), (404, false), (410, false)] {
        let server = serve(move |_, range| if range.is_some() { failure(status) } else { cut(9000) });
        let dir = tempfile::tempdir().unwrap();
        let error = fetch(&server, dir.path(), None).unwrap_err();
        assert!(matches!(error, FetchError::Status { .. }), "{error}");
        assert_eq!(!names(dir.path()).is_empty(), stays, "{status}: {:?}", names(dir.path()));
    }
}

/// A file system takes names of at most 255 bytes.
#[test]
fn a_long_name_leaves_room_for_what_lies_beside_it() {
    let server = serve(|_, range| range.map_or_else(|| cut(100_000), |start| rest(start, "\"a\"")));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("n".repeat(250));
    let download = Download { url: server.url.clone(), path: path.clone(), sha256: None, max_bytes: 1 << 20 };
    assert_eq!(download.run(&QUICK, &mut |_, _| true).unwrap(), digest());
    assert_eq!(std::fs::read(path).unwrap(), content());
    assert_eq!(names(dir.path()).len(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_text_is_a_name_like_any_other() {
    let server = serve(|_, _| whole(200));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(std::os::unix::ffi::OsStrExt::from_bytes(b"p\xffq") as &std::ffi::OsStr);
    let download = Download { url: server.url.clone(), path: path.clone(), sha256: None, max_bytes: 1 << 20 };
    let digest = download.run(&QUICK, &mut |_, _| true).unwrap();
    fmam_fetch::record_digest(&path, &digest).unwrap();
    assert_eq!(fmam_fetch::check_digest(&path).unwrap(), digest);
    std::fs::write(&path, "another").unwrap();
    assert!(matches!(fmam_fetch::check_digest(&path), Err(FetchError::Changed { .. })));
}

#[test]
fn a_stopped_download_goes_on_later_and_no_two_write_at_once() {
    let server = serve(|_, range| range.map_or_else(|| whole(200), |start| rest(start, "\"a\"")));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.bin");
    let download = Download { url: server.url.clone(), path, sha256: None, max_bytes: 1 << 20 };
    let mut inner = None;
    let stopped = download.run(&QUICK, &mut |done, _| {
        inner.get_or_insert_with(|| download.run(&QUICK, &mut |_, _| true).unwrap_err());
        done < 100_000
    });
    assert!(matches!(inner, Some(FetchError::InUse { .. })), "{inner:?}");
    assert!(matches!(stopped, Err(FetchError::Cancelled { .. })));
    assert_eq!(download.run(&QUICK, &mut |_, _| true).unwrap(), digest());
    assert!(server.ranges.lock().unwrap()[1].is_some_and(|start| start >= 100_000));
    let nowhere = Download { url: "ftp://x/y".to_owned(), ..download.clone() };
    assert!(matches!(nowhere.run(&QUICK, &mut |_, _| true), Err(FetchError::BadUrl { .. })));
    let closed = Download { url: "http://127.0.0.1:1/x".to_owned(), ..download };
    assert!(matches!(closed.run(&QUICK, &mut |_, _| true), Err(FetchError::Unreachable { .. })));
}
