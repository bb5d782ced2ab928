//! An HTTP server of saved detectors: verdicts as `fmam predict` writes them, pictures on demand,
//! metrics, and a page for the people at the line.
//!
//! [`Server::open`] loads the models, [`Server::run`] answers until it is told to stop and finishes
//! what it took. The server trusts no request: sizes are checked against the header of an image
//! before a pixel is decoded, names are labels and never paths, and everything that a request can
//! make the server hold has an upper bound in [`Limits`].
//!
//! The way of a request: `listen` accepts a connection, `guard` checks host, origin and token,
//! `routes` finds the handler, `upload` reads the body, `work` decodes and hands prepared images to
//! `scorer`, whose threads form batches of the images that wait, and `answer` is the JSON of the
//! verdicts. `models` holds the detectors and replaces one whose folder changed (`fingerprint`);
//! `collect` keeps images that a person has judged; `metrics`, `openapi` and `page` are what their
//! names say. A request that is refused becomes a `Refusal`, with a 4xx or 5xx status
//! and a sentence.

mod answer;
mod collect;
mod error;
mod fingerprint;
mod guard;
mod listen;
mod metrics;
mod models;
mod openapi;
mod options;
mod page;
mod pictures;
mod query;
mod refusal;
mod routes;
mod scorer;
mod server;
mod upload;
mod work;

pub use error::ServeError;
pub use options::{Access, Collecting, Limits, ModelFolder, Options, Token};
pub use server::Server;
