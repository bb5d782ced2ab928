use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use fmam::Session;

use crate::collect::Collector;
use crate::listen::listen;
use crate::metrics::Metrics;
use crate::models::{Models, Slot};
use crate::openapi::openapi;
use crate::routes::{App, router};
use crate::scorer::Scorer;
use crate::work::{Room, Work};
use crate::{ModelFolder, Options, ServeError};

/// Time between two questions whether the server should end.
const HEARTBEAT: Duration = Duration::from_millis(50);

/// A server of detectors.
///
/// ```no_run
/// use fmam_serve::{ModelFolder, Options, Server};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let session = fmam::Session::new()?;
/// let models = vec![ModelFolder::new(None, "models/screw".as_ref())?];
/// let server = Server::open(session, models, Options::default())?;
/// let listener = std::net::TcpListener::bind("127.0.0.1:8080")?;
/// server.run(listener, || false)?;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    app: Arc<App>,
    options: Options,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Server {
    /// Loads the models and starts the threads that score.
    ///
    /// # Errors
    /// [`ServeError::Model`] naming a model that cannot be loaded, [`ServeError::SameName`],
    /// [`ServeError::NoModel`]; [`ServeError::Limit`] for options that do not go together;
    /// [`ServeError::Write`] for a folder of judged images that cannot be made;
    /// [`ServeError::System`].
    pub fn open(session: Session, models: Vec<ModelFolder>, options: Options) -> Result<Self, ServeError> {
        options.check()?;
        let models = Models::load(&session, models)?;
        let names: Vec<&str> = models.iter().map(Slot::name).collect();
        let collecting = options.collecting.clone();
        let collector = collecting.map(|collecting| Collector::open(collecting, &names)).transpose()?;
        let metrics = Arc::new(Metrics::new());
        let scorer = Scorer::start(&session, &metrics, options.workers, options.batch)
            .map_err(|source| ServeError::System { source })?;
        let room = Room::new(&options.limits, session.loader_threads());
        let work = Work { scorer, room, limits: options.limits, metrics };
        let is_stopping = AtomicBool::new(false);
        Ok(Self { app: Arc::new(App { session, models, work, collector, is_stopping }), options })
    }

    /// The handlers of all addresses, for a program that has its own sockets.
    pub fn router(&self) -> Router {
        router(Arc::clone(&self.app), self.options.access.clone(), openapi())
    }

    /// Looks at the folders of all models, and loads those that changed: a change is loaded when
    /// two looks in turn find the same. [`Server::run`] does this by itself.
    pub fn look(&self) {
        look(&self.app);
    }

    /// Answers requests on `listener` until `is_over`, which is asked several times a second, then
    /// finishes those that it took.
    ///
    /// # Errors
    /// [`ServeError::System`] for a socket or threads that the system does not give.
    pub fn run(&self, listener: TcpListener, is_over: impl Fn() -> bool) -> Result<(), ServeError> {
        let system = |source| ServeError::System { source };
        let threads = self.app.session.loader_threads();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // They read, write and wait; images are decoded on the threads that may block, one of
            // which may be loading a model.
            .worker_threads(threads.min(4))
            .max_blocking_threads(threads + 1)
            .thread_name("fmam serve")
            .enable_all()
            .build()
            .map_err(system)?;
        listener.set_nonblocking(true).map_err(system)?;
        runtime
            .block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let looking =
                    self.options.reload.map(|pause| tokio::spawn(keep_looking(Arc::clone(&self.app), pause)));
                let stop = async {
                    while !is_over() {
                        tokio::time::sleep(HEARTBEAT).await;
                    }
                };
                let stopping = || {
                    self.app.is_stopping.store(true, Ordering::Relaxed);
                    tracing::info!("told to stop; requests that were taken are finished");
                };
                let (limits, metrics) = (&self.options.limits, &self.app.work.metrics);
                listen(listener, self.router(), limits, metrics, stop, stopping).await;
                if let Some(looking) = looking {
                    looking.abort();
                }
                Ok(())
            })
            .map_err(system)?;
        // A model may be on its way into memory; nobody waits for it.
        runtime.shutdown_background();
        self.app.work.scorer.finish();
        tracing::info!("ended");
        Ok(())
    }
}

fn look(app: &App) {
    for slot in app.models.iter() {
        slot.look(&app.session);
    }
}

async fn keep_looking(app: Arc<App>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let looker = Arc::clone(&app);
        // A panic is logged by the hook of the process; the next look comes all the same.
        let _ = tokio::task::spawn_blocking(move || look(&looker)).await;
    }
}
