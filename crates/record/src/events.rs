//! Event files, which TensorBoard draws.
//!
//! A file is a row of TFRecords, each with a serialized `Event` of
//! `tensorboard/compat/proto/event.proto`. The few fields that scalars need are written here by
//! hand.

use fmam_metrics::METRICS;

use crate::RunRecord;

/// The text of the first event of a file; TensorBoard reads a file without it as one of an older
/// format.
const FILE_VERSION: &[u8] = b"brain.Event:2";

/// Fields of the messages `Event`, `Summary` and `Summary.Value` by their numbers.
mod field {
    pub(super) const EVENT_WALL_TIME: u8 = 1;
    pub(super) const EVENT_STEP: u8 = 2;
    pub(super) const EVENT_FILE_VERSION: u8 = 3;
    pub(super) const EVENT_SUMMARY: u8 = 5;
    pub(super) const SUMMARY_VALUE: u8 = 1;
    pub(super) const VALUE_TAG: u8 = 1;
    pub(super) const VALUE_SIMPLE_VALUE: u8 = 2;
}

/// Wire types of protocol buffers, the lower three bits of a field's key.
mod wire {
    pub(super) const VARINT: u8 = 0;
    pub(super) const FIXED64: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const FIXED32: u8 = 5;
}

/// One value of a series in an event file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scalar<'a> {
    /// Name of the series, `loss/student` say; TensorBoard groups by the part before the first `/`.
    pub(crate) tag: &'a str,
    /// Place on the horizontal axis.
    pub(crate) step: i64,
    /// The value at `step`.
    pub(crate) value: f32,
}

/// The content of a TensorBoard event file with `scalars` in their order. `wall_time`, in seconds
/// since the Unix epoch, is that of every event, so that equal scalars give equal bytes.
pub(crate) fn event_file(scalars: &[Scalar<'_>], wall_time: f64) -> Vec<u8> {
    let mut file = Vec::new();
    let mut first = event(wall_time, 0);
    put_bytes(&mut first, field::EVENT_FILE_VERSION, FILE_VERSION);
    put_record(&mut file, &first);
    for scalar in scalars {
        let mut event = event(wall_time, scalar.step);
        put_bytes(&mut event, field::EVENT_SUMMARY, &summary(scalar));
        put_record(&mut file, &event);
    }
    file
}

/// The content of the event file of `run`: its training losses as `loss/<stage>` at the epochs of
/// the stage, and its metrics but the oracles as `metrics/<key>` at the last epoch (0 without a
/// training).
pub(crate) fn training_events(run: &RunRecord) -> Vec<u8> {
    let tags: Vec<String> = run.curve.iter().map(|point| format!("loss/{}", point.stage)).collect();
    let losses = run.curve.iter().zip(&tags).map(|(point, tag)| Scalar {
        tag,
        step: point.epoch as i64,
        value: point.loss as f32,
    });
    let step = run.curve.last().map_or(0, |point| point.epoch as i64);
    let is_oracle = |key: &str| METRICS.iter().any(|metric| metric.key == key && metric.is_oracle);
    let metrics = run.metrics.iter().filter(|(key, _)| !is_oracle(key));
    let metrics: Vec<(String, f64)> =
        metrics.filter_map(|(key, value)| Some((format!("metrics/{key}"), value?))).collect();
    let metrics = metrics.iter().map(|(tag, value)| Scalar { tag, step, value: *value as f32 });
    let scalars: Vec<Scalar<'_>> = losses.chain(metrics).collect();
    event_file(&scalars, run.started_at as f64)
}

/// The name of the event file of `run`. TensorBoard reads files with `tfevents` in their names
/// only.
pub(crate) fn event_file_name(run: &RunRecord) -> String {
    format!("events.out.tfevents.{}.fmam", run.started_at)
}

/// An `Event` without content. As proto3 has it, a zero is not written.
fn event(wall_time: f64, step: i64) -> Vec<u8> {
    let mut event = Vec::new();
    if wall_time != 0.0 {
        put_key(&mut event, field::EVENT_WALL_TIME, wire::FIXED64);
        event.extend(wall_time.to_le_bytes());
    }
    if step != 0 {
        put_key(&mut event, field::EVENT_STEP, wire::VARINT);
        put_varint(&mut event, step as u64);
    }
    event
}

/// A `Summary` with one value.
fn summary(scalar: &Scalar<'_>) -> Vec<u8> {
    let mut value = Vec::new();
    put_bytes(&mut value, field::VALUE_TAG, scalar.tag.as_bytes());
    // A member of a oneof: its presence says which one it is, so a zero is written too.
    put_key(&mut value, field::VALUE_SIMPLE_VALUE, wire::FIXED32);
    value.extend(scalar.value.to_le_bytes());
    let mut summary = Vec::new();
    put_bytes(&mut summary, field::SUMMARY_VALUE, &value);
    summary
}

/// Appends a string, bytes or a message.
fn put_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    put_key(message, field, wire::BYTES);
    put_varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// Appends the key of a field. Below 16, as all numbers here are, it takes one byte.
fn put_key(message: &mut Vec<u8>, field: u8, wire_type: u8) {
    message.push((field << 3) | wire_type);
}

/// Appends `value`, seven bits a byte, the lowest first; the top bit says that more follow.
fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// Appends `data` as a TFRecord: its length, the length's checksum, `data`, its checksum.
fn put_record(file: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked_crc(&length).to_le_bytes());
    file.extend(data);
    file.extend(masked_crc(data).to_le_bytes());
}

/// CRC-32C as TFRecord masks it, since a checksum of data that holds checksums is a weak one.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use fmam_core::CurvePoint;
    use fmam_metrics::{AUPRO, Level};

    use super::*;
    use crate::fixture::record;

    /// By TensorBoard's own code: `tests/reference/tensorboard/make.py`, which has the scalars of
    /// the test below.
    const REFERENCE: &[u8] = include_bytes!("../../../tests/reference/tensorboard/events.bin");

    #[test]
    fn the_bytes_are_those_of_tensorboard() {
        let long = "é".repeat(70);
        let scalars = [
            Scalar { tag: "loss/student", step: 0, value: 0.0 },
            Scalar { tag: "loss/student", step: 1, value: -0.03125 },
            Scalar { tag: "loss/student", step: 300, value: 1e-6 },
            Scalar { tag: "metrics/image_auroc", step: 300, value: 0.9 },
            Scalar { tag: &long, step: -1, value: f32::INFINITY },
        ];
        assert_eq!(event_file(&scalars, 1_700_000_000.25), REFERENCE);
    }

    #[test]
    fn a_training_is_its_losses_then_its_metrics() {
        let mut run = record("mvtec", "screw", "rkd", 0);
        let point = |stage: &str, epoch, loss| CurvePoint { stage: stage.to_owned(), epoch, loss };
        run.curve =
            vec![point("feature-mapping", 1, 0.5), point("student", 1, 0.25), point("student", 2, 0.1)];
        run.metrics.set(&AUPRO, None);
        let scalars = [
            Scalar { tag: "loss/feature-mapping", step: 1, value: 0.5 },
            Scalar { tag: "loss/student", step: 1, value: 0.25 },
            Scalar { tag: "loss/student", step: 2, value: 0.1 },
            Scalar { tag: "metrics/image_auroc", step: 2, value: 0.9 },
            Scalar { tag: "metrics/pixel_auroc", step: 2, value: 0.95 },
            Scalar { tag: "metrics/image_ap", step: 2, value: 0.96 },
            Scalar { tag: "metrics/pixel_ap", step: 2, value: 0.5 },
        ];
        assert_eq!(training_events(&run), event_file(&scalars, 1_700_000_000.0));
        assert_eq!(event_file_name(&run), "events.out.tfevents.1700000000.fmam");
    }

    #[test]
    fn metrics_without_a_training_are_at_step_0() {
        let mut run = record("mvtec", "screw", "padim", 0);
        for metric in METRICS.iter().filter(|metric| metric.level != Level::Image) {
            run.metrics.set(metric, None);
        }
        let scalars = [
            Scalar { tag: "metrics/image_auroc", step: 0, value: 0.9 },
            Scalar { tag: "metrics/image_ap", step: 0, value: 0.96 },
        ];
        assert_eq!(training_events(&run), event_file(&scalars, 1_700_000_000.0));
    }
}
