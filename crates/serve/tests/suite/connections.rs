use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use fmam_serve::{Limits, Options};

use crate::client::{ask, get, good, server};

/// A server on a socket, until it is told to stop.
struct Running {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    router: Router,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, is_over) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (server, over) = (server(options), Arc::clone(&is_over));
        let router = server.router();
        let run = move || server.run(listener, || over.load(Ordering::Relaxed)).unwrap();
        Self { address, is_over, router, thread: Some(std::thread::spawn(run)) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// The status of the answer to these bytes; `None` where the connection is closed without one.
    fn status(&self, request: &[u8]) -> Option<u16> {
        let mut stream = self.connect();
        // The server may answer and close before it has read all.
        let _ = stream.write_all(request);
        status(&mut stream)
    }

    fn stop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut answer = Vec::new();
    // A reset after the answer is the end, too.
    let _ = stream.read_to_end(&mut answer);
    let line = String::from_utf8_lossy(&answer);
    line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

fn predict(image: &[u8], connection: &str) -> Vec<u8> {
    let request = format!(
        "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nConnection: {connection}\r\n\
         Content-Length: {}\r\n\r\n",
        image.len()
    );
    [request.as_bytes(), image].concat()
}

#[test]
fn malformed_requests_get_a_status_of_their_own() {
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let server = Running::start(Options { limits, ..Options::default() });
    assert_eq!(server.status(&predict(&good(), "close")), Some(200));
    let huge = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    assert_eq!(server.status(huge.as_bytes()), Some(431));
    assert_eq!(server.status(b"NO HTTP AT ALL\r\n\r\n"), Some(400));
    assert_eq!(server.status(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), Some(400));
    let escape = b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(server.status(escape), Some(404));
    // A body that never comes, and a header that never ends.
    let slow =
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9\r\n\r\nabc";
    assert_eq!(server.status(slow), Some(408));
    let start = Instant::now();
    let never = server.status(b"GET / HTTP/1.1\r\nHost: local");
    assert!(matches!(never, None | Some(408)), "{never:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
    // It is as well as before.
    assert_eq!(server.status(&predict(&good(), "close")), Some(200));
}

#[test]
fn a_server_that_is_told_to_stop_answers_what_it_took() {
    let mut server = Running::start(Options::default());
    let (image, address) = (good(), server.address);
    let (answered, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let request = predict(&image, "close");
            let (answered, lost) = (Arc::clone(&answered), Arc::clone(&lost));
            std::thread::spawn(move || {
                // Until no connection is taken any longer.
                while let Ok(mut stream) = TcpStream::connect(address) {
                    stream.write_all(&request).unwrap();
                    let count = if status(&mut stream) == Some(200) { &answered } else { &lost };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.stop();
    for client in clients {
        client.join().unwrap();
    }
    // A connection that stayed in the queue of the system is none of the server's. Each request
    // that the server counts has its answer.
    let (answered, lost) = (answered.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
    let figures = String::from_utf8(ask(&server.router, get("/metrics")).body).unwrap();
    let counted = format!("fmam_requests_total{{route=\"/v1/predict\",status=\"200\"}} {answered}");
    assert!(figures.lines().any(|line| line == counted), "{answered} answered, {lost} not: {figures}");
    let routes = figures.lines().filter(|line| line.starts_with("fmam_requests_total")).count();
    assert_eq!(routes, 1, "{figures}");
    assert!(lost <= 4, "{lost} connections were not taken");
    assert!(TcpStream::connect(address).is_err());
}
