//! Certificates and proxies that the environment names. As it is of a whole process, each download
//! runs in one of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fmam_fetch::{Download, Retry};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The variable with the address that the process fetches.
const URL: &str = "FMAM_TEST_URL";
/// The variable with the folder for the file.
const DIR: &str = "FMAM_TEST_DIR";
const CONTENT: &[u8] = b"what is fetched";
/// A host that only the proxy knows.
const HOST: &str = "files.invalid";

/// Not a test of its own: what the other tests run as a process.
#[test]
fn in_a_process_of_its_own() {
    let (Some(url), Some(dir)) = (std::env::var_os(URL), std::env::var_os(DIR)) else { return };
    let dir = Path::new(&dir);
    let (url, path) = (url.into_string().unwrap(), dir.join("file.bin"));
    let quick =
        Retry { attempts: 2, first_wait: Duration::from_millis(1), longest_wait: Duration::from_millis(1) };
    let fetched = Download { url, path, sha256: None, max_bytes: 1000 }.run(&quick, &mut |_, _| true);
    if let Err(error) = fetched {
        let causes = std::iter::successors(Some(&error as &dyn Error), |error| (*error).source());
        let text: Vec<_> = causes.map(ToString::to_string).collect();
        std::fs::write(dir.join("error"), text.join(": ")).unwrap();
    }
}

/// Fetches `url` with these variables and none else of their kind; the error.
fn fetch(url: &str, variables: &[(&str, &str)]) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    // The part that an earlier download left.
    std::fs::write(dir.path().join("file.bin.part"), "what").unwrap();
    std::fs::write(dir.path().join("file.bin.etag"), format!("\"a\"\n{url}\n")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "in_a_process_of_its_own"]).env(URL, url).env(DIR, dir.path());
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    assert!(command.envs(variables.iter().copied()).output().unwrap().status.success());
    match std::fs::read_to_string(dir.path().join("error")) {
        Ok(error) => {
            assert!(dir.path().join("file.bin.part").exists(), "{error}");
            Err(error)
        }
        Err(_) => {
            assert_eq!(std::fs::read(dir.path().join("file.bin")).unwrap(), CONTENT);
            Ok(())
        }
    }
}

/// Handles every connection; where to.
fn listen(handle: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, handle) = (stream.unwrap(), Arc::clone(&handle));
            // A client that goes away is part of the tests.
            std::thread::spawn(move || handle(stream));
        }
    });
    address
}

fn answer(mut stream: impl Read + Write) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", CONTENT.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(CONTENT)?;
    stream.flush()
}

/// A proxy that takes everything from `target`; where it is and what it was asked.
fn proxy(target: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let address = listen(move |stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.is_empty()) {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            lines.push(line.trim_end().to_owned());
        }
        let credentials = lines.iter().find(|line| line.starts_with("Proxy-Authorization"));
        heard.lock().unwrap().push([Some(&lines[0]), credentials].into_iter().flatten().cloned().collect());
        (&stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let server = TcpStream::connect(target)?;
        let (mut from, mut to) = (server.try_clone()?, stream.try_clone()?);
        std::thread::spawn(move || io::copy(&mut from, &mut to).and_then(|_| to.shutdown(Shutdown::Both)));
        io::copy(&mut reader, &mut &server).map(drop)
    });
    (address, asked)
}

/// The root certificates of two companies, and a server's for this machine and [`HOST`] from
/// `company`, which `certificates/make.sh` made.
const COMPANY: &[u8] = include_bytes!("certificates/company.pem");
const OTHER: &[u8] = include_bytes!("certificates/other.pem");
const SERVER: &[u8] = include_bytes!("certificates/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("certificates/server.key");

/// A server with a certificate from [`COMPANY`].
fn secure_server() -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(SERVER).unwrap();
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap();
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    listen(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        answer(StreamOwned::new(connection, stream))
    })
}

#[test]
fn a_root_certificate_of_a_company_counts_where_it_is_named() {
    let address = secure_server();
    let url = format!("https://{address}/file.bin");
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("company.pem"), COMPANY).unwrap();
    std::fs::write(at("other.pem"), OTHER).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::write(at("folder/company.pem"), COMPANY).unwrap();

    for variables in
        [vec![], vec![("SSL_CERT_FILE", at("other.pem"))], vec![("SSL_CERT_FILE", String::new())]]
    {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let error = fetch(&url, &variables).unwrap_err();
        assert!(error.contains("root certificates in SSL_CERT_FILE"), "{error}");
        assert!(error.contains("UnknownIssuer"), "{error}");
    }
    fetch(&url, &[("SSL_CERT_FILE", &at("company.pem"))]).unwrap();
    fetch(&url, &[("SSL_CERT_DIR", &at("folder"))]).unwrap();
    fetch(&url, &[("SSL_CERT_FILE", &at("other.pem")), ("SSL_CERT_DIR", &at("folder"))]).unwrap();
    let error = fetch(&url, &[("SSL_CERT_FILE", &at("none.pem"))]).unwrap_err();
    assert!(error.contains("none.pem, which SSL_CERT_FILE"), "{error}");
}

#[test]
fn a_server_without_certificates_is_told() {
    let plain = listen(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let error = fetch(&format!("https://{plain}/file.bin"), &[]).unwrap_err();
    assert!(error.contains("no secure connection"), "{error}");
}

#[test]
fn proxies_are_asked_for_a_tunnel() {
    let address = secure_server();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("company.pem");
    std::fs::write(&file, COMPANY).unwrap();
    let trusted = ("SSL_CERT_FILE", file.to_str().unwrap());
    for (scheme, port, target) in [("http", 80, listen(answer)), ("https", 443, address)] {
        let url = format!("{scheme}://{HOST}/file.bin");
        let (address, asked) = proxy(target);
        let (plain, with_name) = (format!("http://{address}"), format!("http://a:b@{address}"));
        // Each of them for every address.
        for name in ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
            asked.lock().unwrap().clear();
            fetch(&url, &[(name, &plain), trusted]).unwrap();
            let tunnel = format!("CONNECT {HOST}:{port} HTTP/1.1");
            assert_eq!(*asked.lock().unwrap(), [tunnel], "{name}");
        }
        fetch(&url, &[("HTTPS_PROXY", &with_name), trusted]).unwrap();
        let told = asked.lock().unwrap().last().cloned().unwrap();
        assert!(told.ends_with("Proxy-Authorization: Basic YTpi"), "{told}");
    }
}

#[test]
fn no_proxy_is_asked_for_a_host_that_needs_none() {
    let url = format!("http://{}/file.bin", listen(answer));
    // Nobody listens there.
    let proxy = ("HTTP_PROXY", "http://127.0.0.1:1");
    let error = fetch(&url, &[proxy]).unwrap_err();
    assert!(error.contains("check the address, the network and the proxy variables"), "{error}");
    for name in ["NO_PROXY", "no_proxy"] {
        fetch(&url, &[proxy, (name, "localhost,127.0.0.1")]).unwrap();
        fetch(&url, &[proxy, (name, "*")]).unwrap();
        assert!(fetch(&url, &[proxy, (name, "localhost")]).is_err());
    }
}
