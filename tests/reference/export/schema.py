"""Compares crates/onnx/proto/onnx.proto with the schema that ONNX publishes.

The Python package `onnx` is built from the published schema. Every message, field and value of an
enumeration of ours must be there with the same number, label and type. The script ends with 1 where
one is not.
"""

import re
import sys
from pathlib import Path

import onnx

OURS = Path(__file__).parents[3] / "crates/onnx/proto/onnx.proto"
TYPES = {1: "double", 2: "float", 3: "int64", 5: "int32", 9: "string", 12: "bytes", 11: "message", 14: "enum"}


def messages(text):
    """The fields and values of each message, under its full name."""
    path, found = [], {}
    for line in text.splitlines():
        line = line.split("//")[0].strip()
        if opened := re.match(r"(message|enum|oneof) (\w+) {", line):
            path.append((opened[1], opened[2]))
        elif line == "}":
            path.pop()
        elif field := re.match(r"(?:(optional|repeated) )?(\w+) (\w+) = (\d+);", line):
            name = ".".join(part for kind, part in path if kind == "message")
            found.setdefault(name, []).append((field[3], int(field[4]), field[1], field[2]))
        elif value := re.match(r"(\w+) = (\d+);", line):
            name = ".".join(part for _, part in path)
            found.setdefault(name, []).append((value[1], int(value[2]), None, "value"))
    return found


def main():
    faults, count = [], 0
    for name, entries in messages(OURS.read_text()).items():
        first, *rest = name.split(".")
        descriptor = getattr(onnx, first).DESCRIPTOR
        for part in rest:
            descriptor = descriptor.nested_types_by_name.get(part) or descriptor.enum_types_by_name[part]
        for entry, number, label, kind in entries:
            count += 1
            if kind == "value":
                theirs = descriptor.values_by_name.get(entry)
                fits = theirs is not None and theirs.number == number
            else:
                theirs = descriptor.fields_by_name.get(entry)
                fits = theirs is not None and theirs.number == number
                known = fits and TYPES.get(theirs.type)
                fits = fits and (known == kind or known in ("message", "enum"))
                fits = fits and (label == "repeated") == bool(theirs.is_repeated)
            if not fits:
                faults.append(f"{name}.{entry} = {number}")
    print(f"onnx {onnx.__version__}: {count} fields and values compared, {len(faults)} differ")
    print("\n".join(faults))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
