//! Connections: they are accepted, served within limits, and brought to an end.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Limits;
use crate::metrics::Metrics;

/// Bytes of the header of a request, at most.
const HEADER: usize = 32 * 1024;
/// The longest time for the header of a request, and between two requests of a connection.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Time after the server was told to stop in which clients see it and end their connections.
const FAREWELL: Duration = Duration::from_millis(500);
/// Time to wait after an error of the system, which may have no more file descriptors.
const RECOVERY: Duration = Duration::from_millis(100);

/// Serves connections until `stop`, then finishes the requests that were taken. `stopping` is
/// called in between.
pub(crate) async fn listen(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    metrics: &Arc<Metrics>,
    stop: impl Future<Output = ()>,
    stopping: impl FnOnce(),
) {
    let (graceful, room) = (GracefulShutdown::new(), Arc::new(Semaphore::new(limits.connections)));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME.min(limits.time))
        .max_buf_size(HEADER)
        .half_close(false);
    let serve = |stream: TcpStream, room: OwnedSemaphorePermit| {
        // An answer is written at once; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        let metrics = Arc::clone(metrics);
        metrics.connections.inc();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            metrics.connections.dec();
            drop(room);
        });
    };
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            // A connection beyond the limit waits in the queue of the system.
            let Ok(room) = Arc::clone(&room).acquire_owned().await else { return None };
            Some((listener.accept().await, room))
        };
        match futures_util::future::select(pin!(accepted), stop.as_mut()).await {
            futures_util::future::Either::Left((Some((Ok((stream, _)), room)), _)) => serve(stream, room),
            futures_util::future::Either::Left((Some((Err(error), _)), _)) => recover(&error).await,
            futures_util::future::Either::Left((None, _)) | futures_util::future::Either::Right(_) => break,
        }
    }
    stopping();
    // Connections that the system has accepted already may have sent a request.
    while let Ok(room) = Arc::clone(&room).try_acquire_owned() {
        match listener.accept().now_or_never() {
            Some(Ok((stream, _))) => serve(stream, room),
            Some(Err(_)) | None => break,
        }
    }
    drop(listener);
    // Every answer from now on ends its connection, so that clients do not send into a connection
    // that is about to be closed. Then those that send nothing are closed.
    let whole = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(FAREWELL, room.acquire_many(whole)).await;
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = limits.grace.as_secs_f64(), "requests were not finished in time");
    }
}

async fn recover(error: &io::Error) {
    let of_client = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
    if !of_client.contains(&error.kind()) {
        tracing::error!(%error, "no connection can be accepted");
        tokio::time::sleep(RECOVERY).await;
    }
}
