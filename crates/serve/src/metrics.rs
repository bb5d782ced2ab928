//! The figures of a server in the text format of Prometheus.

use std::fmt::Write;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// The address as the server knows it, never as the client wrote it.
    pub(crate) route: &'static str,
    /// The status of the answer.
    pub(crate) status: u16,
}

/// The labels of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ImageLabels {
    /// The name of the model.
    pub(crate) model: String,
    /// `ok`, `defect`, `scored` for a model without a threshold, or `refused`.
    pub(crate) outcome: &'static str,
}

/// The label of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ModelLabels {
    /// The name of the model.
    pub(crate) model: String,
}

/// The label of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RouteLabels {
    pub(crate) route: &'static str,
}

/// The label of a collected image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct JudgementLabels {
    pub(crate) label: &'static str,
}

/// Counters, gauges and histograms.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) answered: Family<RouteLabels, Histogram>,
    pub(crate) images: Family<ImageLabels, Counter>,
    pub(crate) queued: Histogram,
    pub(crate) scored: Histogram,
    pub(crate) batches: Histogram,
    pub(crate) waiting: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) loaded: Family<ModelLabels, Gauge>,
    pub(crate) reloads: Family<ModelLabels, Gauge>,
    pub(crate) reload_failures: Family<ModelLabels, Gauge>,
    pub(crate) collected: Family<JudgementLabels, Counter>,
    memory: Gauge,
}

/// From a millisecond to 33 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(1e-3, 2.0, 16))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("fmam");
        let requests = Family::default();
        registry.register("requests", "Requests that were answered", requests.clone());
        let answered = Family::new_with_constructor(seconds as fn() -> Histogram);
        let help = "Time from the header of a request to its answer";
        registry.register_with_unit("request", help, Unit::Seconds, answered.clone());
        let images = Family::default();
        registry.register("images", "Images by their outcome", images.clone());
        let (queued, scored) = (seconds(), seconds());
        registry.register_with_unit("queue", "Time that an image waited", Unit::Seconds, queued.clone());
        registry.register_with_unit("batch", "Time that a batch took", Unit::Seconds, scored.clone());
        let batches = Histogram::new([1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0]);
        registry.register("batch_images", "Images that were scored together", batches.clone());
        let (waiting, in_flight, connections) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("queue_images", "Images that wait for their scores", waiting.clone());
        registry.register("requests_in_flight", "Requests that are not answered yet", in_flight.clone());
        registry.register("connections", "Open connections", connections.clone());
        let (loaded, reloads, reload_failures) = (Family::default(), Family::default(), Family::default());
        let help = "Time at which the model was loaded, since 1970";
        registry.register_with_unit("model_loaded", help, Unit::Seconds, loaded.clone());
        registry.register("model_reloads", "Changed folders that are in use", reloads.clone());
        let help = "Changed folders that could not be loaded";
        registry.register("model_reload_failures", help, reload_failures.clone());
        let collected = Family::default();
        registry.register("collected", "Images that were kept by judgement", collected.clone());
        let memory = Gauge::default();
        registry.register_with_unit("resident_memory", "Memory in use", Unit::Bytes, memory.clone());
        Self {
            registry,
            requests,
            answered,
            images,
            queued,
            scored,
            batches,
            waiting,
            in_flight,
            connections,
            loaded,
            reloads,
            reload_failures,
            collected,
            memory,
        }
    }

    /// All figures as text.
    pub(crate) fn text(&self) -> String {
        if let Some(bytes) = resident_memory() {
            self.memory.set(bytes);
        }
        let mut text = String::new();
        // A `String` takes every text.
        if text::encode(&mut text, &self.registry).is_err() {
            let _ = writeln!(text, "# the figures could not be written");
        }
        text
    }
}

/// Bytes of memory in use; `None` where the system does not tell.
fn resident_memory() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
