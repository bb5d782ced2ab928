use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Error;

/// The threads of a session: those that compute, and how many decode.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    /// `None` for the threads that all of the process shares.
    pool: Option<Arc<ThreadPool>>,
    /// Threads that decode images.
    pub(crate) loaders: usize,
}

impl Workers {
    /// `threads` threads, or one a core, shared with the rest of the process.
    pub(crate) fn new(threads: Option<usize>) -> Result<Self, Error> {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let pool = |threads: usize| ThreadPoolBuilder::new().num_threads(threads).build().map(Arc::new);
        let loaders = threads.unwrap_or_else(cores).max(1);
        // The shared threads do where they are as many.
        let own = threads.filter(|&threads| threads != rayon::current_num_threads());
        Ok(Self { pool: own.map(pool).transpose().map_err(Error::Threads)?, loaders })
    }

    /// Does `work` on the threads that compute.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}
