//! The server as a client meets it: in process, and over a socket where the connection matters.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

#[path = "suite/client.rs"]
mod client;
#[path = "suite/collecting.rs"]
mod collecting;
#[path = "suite/connections.rs"]
mod connections;
#[path = "suite/limits.rs"]
mod limits;
#[path = "suite/reloading.rs"]
mod reloading;
#[path = "suite/verdicts.rs"]
mod verdicts;
