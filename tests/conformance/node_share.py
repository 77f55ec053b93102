#!/usr/bin/env python3
"""How many of ONNX's node tests a device passes of those that the CPU passes in float types.

    node_share.py MINIINFER [--device cuda:0] [--least 60] [--list]

MINIINFER_ONNX_TESTS names an unpacked onnx/backend/test/data, whose node/ is run. A test is in float
types where an input or an output that comes with it is. Two shares are printed: of the device alone,
strictly, and of the device before the CPU. Ends with 1 where the first is below --least percent or the
second below 100, with 77 where the device is not there or the variable is not set.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

FLOATS = {1, 10, 11, 16}  # TensorProto: FLOAT, FLOAT16, DOUBLE, BFLOAT16


def element_type(data):
    """Of a TensorProto; None of anything else."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while at < len(data):
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                break
        return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
            if key >> 3 == 2:
                return value
        elif key & 7 == 2:
            at += varint()
        else:
            return None
    return None


def is_float(folder):
    return any(element_type(file.read_bytes()) in FLOATS
               for file in folder.glob("test_data_set_*/*put_*.pb"))


def passed(options, devices):
    command = [options.binary, "conformance", str(options.folder), "-d", devices, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    document = json.loads(done.stdout)
    if document["error"]:
        raise SystemExit(f"{devices}: {document['error']['message']}")
    print(f"{devices}: {document['summary']['passed']} passed, {document['summary']['failed']} failed, "
          f"{document['summary']['skipped']} skipped", flush=True)
    return {test["name"]: test for test in document["tests"] if test["status"] == "passed"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--least", type=float, default=60, help="percent, strictly on the device")
    parser.add_argument("--list", action="store_true", help="name what the device alone does not pass")
    options = parser.parse_args()
    data = os.environ.get("MINIINFER_ONNX_TESTS")
    if not data:
        print("skipped: MINIINFER_ONNX_TESTS is not set")
        return 77
    options.folder = Path(data) / "node"
    found = subprocess.run([options.binary, "devices", "--open", "--json"], capture_output=True,
                           text=True)
    devices = {d["id"]: d for d in json.loads(found.stdout)["devices"]}
    if options.device not in devices or not devices[options.device]["opened"]:
        print(f"skipped: {options.device} is not there")
        return 77
    on_cpu = passed(options, "cpu")
    floats = {name for name, test in on_cpu.items() if is_float(Path(test["path"]))}
    shares = {}
    for chosen in (options.device, f"{options.device},cpu"):
        missing = floats - passed(options, chosen).keys()
        shares[chosen] = 100 * (1 - len(missing) / len(floats))
        print(f"{chosen}: {len(floats) - len(missing)} of the {len(floats)} that cpu passes in float "
              f"types, {shares[chosen]:.1f}%")
        if missing and (options.list or "," in chosen):
            print("  not:", " ".join(sorted(missing)))
    alone, with_cpu = shares.values()
    return 0 if alone >= options.least and with_cpu == 100 else 1


if __name__ == "__main__":
    sys.exit(main())
