"""An event file by TensorBoard's own protocol buffers and record writer; fixture of crates/report/src/events.rs.

    python3.11 -m venv /tmp/tb && /tmp/tb/bin/pip install tensorboard==2.21.0 protobuf==7.36.2 numpy==2.4.6
    /tmp/tb/bin/python tests/reference/tensorboard/make.py

Writes events.bin next to this file: an event with the file version, then one for each of SCALARS, all at WALL_TIME.
The package is the only source of its bytes. TensorBoard's EventAccumulator then reads the file back; it must see SCALARS.

The scalars: a step and a value of zero (proto3 leaves out the step, but not the value, a member of a oneof), a negative
and a small value, a step of two bytes as a varint, one of ten (negative), and a tag whose length takes two bytes, outside ASCII.
"""

import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

WALL_TIME = 1_700_000_000.25
SCALARS = [
    ("loss/student", 0, 0.0),
    ("loss/student", 1, -0.03125),
    ("loss/student", 300, 1e-6),
    ("metrics/image_auroc", 300, 0.9),
    ("é" * 70, -1, float("inf")),
]


def event_file():
    events = [Event(wall_time=WALL_TIME, file_version="brain.Event:2")]
    for tag, step, value in SCALARS:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        events.append(Event(wall_time=WALL_TIME, step=step, summary=summary))
    file = io.BytesIO()
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString(deterministic=True))
    return file.getvalue()


def read_back(path):
    """The scalars in the event file at `path`, sorted, and the wall times there."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, Path(folder) / "events.out.tfevents.1700000000.fmam")
        events = EventAccumulator(folder).Reload()
        points = [(tag, point) for tag in events.Tags()["scalars"] for point in events.Scalars(tag)]
    return sorted((tag, point.step, point.value) for tag, point in points), {point.wall_time for _, point in points}


path = Path(__file__).parent / "events.bin"
path.write_bytes(event_file())
expected = sorted((tag, step, float(np.float32(value))) for tag, step, value in SCALARS)
assert read_back(path) == (expected, {WALL_TIME})
print(path.name, path.stat().st_size, "bytes")
