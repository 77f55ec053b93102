#!/usr/bin/env python3
"""Whether a device gives what the CPU gives, model by model, strictly placed.

    devices_agree.py MINIINFER MODELS_FOLDER DIGITS_FOLDER [--device cuda:0] [--precisions strict,fp16]
                     [--own]

MODELS_FOLDER is what tests/models/write_models.py wrote. MINIINFER_SHARED and MINIINFER_ONNX_TESTS, as
in real_models.py, add the models that nobody here made; without them, or with --own, their rows are
left out. A row has the largest error, and the relative L2 error over all outputs, against cpu:0
strictly. Strict is right within 1e-4 + 1e-3 |b|, a lower precision within a relative L2 error of 3e-3
but for what FLOAT16 lists; what is not, or does not run, makes the script end with 1. Ends with 77
where the device is not there.
"""

import argparse
import array
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from real_models import NAMED, light_folders

TYPES = {"f4": "f", "f8": "d", "i4": "i", "i8": "q", "i2": "h", "i1": "b", "u1": "B", "u2": "H",
         "u4": "I", "u8": "Q", "b1": "B"}
MOST_L2 = 3e-3
# What float16 cannot give, whoever computes: the most that is let pass, None where numbers are beyond
# it, and why, as ONNX Runtime shows over the same inputs.
FLOAT16 = {
    "ppocrv4_det": (6e-3, "4.1e-3 in ONNX Runtime with weights and values rounded, 2.9e-3 with weights"),
    "light_bvlc_alexnet": (None, "values up to 3.6e12, float16 ends at 65504"),
    "light_inception_v1": (None, "values up to 1.2e21, float16 ends at 65504"),
    "light_resnet50": (None, "values up to 1.3e19, float16 ends at 65504"),
    "light_squeezenet": (None, "values up to 1.4e10, float16 ends at 65504"),
    "light_vgg19": (None, "values up to 3.7e31, float16 ends at 65504"),
    "light_zfnet512": (None, "values up to 4.1e12, float16 ends at 65504"),
}


def read_npz(path):
    """name: flat values, of types that Python has; what else there is is left out."""
    values = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            begin = 10 if data[6] == 1 else 12
            end = begin + int.from_bytes(data[8:begin], "little")
            kind = re.search(rb"'descr': '[<|]([a-z]\d)'", data[begin:end])
            if kind and kind[1].decode() in TYPES:
                values[name.removesuffix(".npy")] = array.array(TYPES[kind[1].decode()], data[end:])
    return values


def relative_l2(got, want):
    wrong = sum((g - w) ** 2 for name in want for g, w in zip(got[name], want[name]))
    whole = sum(w ** 2 for name in want for w in want[name])
    return (wrong / whole) ** 0.5 if whole else wrong ** 0.5


def models(options, scratch):
    """(name, model, arguments that give its inputs)"""
    yield "digits", options.digits / "digits.onnx", ["--inputs", options.digits / "samples.npz"]
    for name in ("lenet5", "bert_tiny"):
        given = [part for file in sorted(options.models.glob(f"{name}.*.pb"))
                 for part in ("-i", f"{file.name.split('.')[1]}=@{npy(file, scratch)}")]
        yield name, options.models / f"{name}.onnx", given
    if options.own:
        return
    shared, data = os.environ.get("MINIINFER_SHARED"), os.environ.get("MINIINFER_ONNX_TESTS")
    for name in NAMED if shared else ():
        folder = Path(shared) / "models" / name
        yield name, folder / "model.onnx", ["--inputs", folder / "test_data_set_0"]
    for folder in light_folders(Path(data), scratch) if data else ():
        yield folder.name, folder / "model.onnx", ["--inputs", folder / "test_data_set_0"]
    for variable in ("MINIINFER_SHARED", "MINIINFER_ONNX_TESTS"):
        if not os.environ.get(variable):
            print(f"left out: {variable} is not set")


def npy(file, scratch):
    """The tensor of write_models.py in a file that -i takes."""
    data, at, dims, kind, raw = file.read_bytes(), 0, [], 0, b""

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
            if key >> 3 == 1:
                dims.append(value)
            elif key >> 3 == 2:
                kind = value
        else:
            size = varint()
            if key >> 3 == 9:
                raw = data[at:at + size]
            at += size
    shape = ", ".join(map(str, dims)) + ("," if len(dims) == 1 else "")
    header = f"{{'descr': '<{'i8' if kind == 7 else 'f4'}', 'fortran_order': False, 'shape': ({shape}), }}"
    header = header.ljust(117) + "\n"
    out = scratch / f"{file.stem}.npy"
    out.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + raw)
    return out


def run(options, *arguments):
    done = subprocess.run([options.binary, "run", *map(str, arguments), "--json"], capture_output=True,
                          text=True)
    return done.returncode, json.loads(done.stdout)


def verdict(name, precision, equal, l2):
    """(whether it is right, the word for it, why it is judged in a way of its own)"""
    if precision == "strict":
        return equal, "yes" if equal else "NO", ""
    most, why = FLOAT16.get(name, (MOST_L2, "")) if precision == "fp16" else (MOST_L2, "")
    if why and l2 <= MOST_L2:
        return False, "NO", "agrees within 3e-3 against expectation: " + why
    if most is None:
        return True, "-", why
    return l2 <= most, "yes" if l2 <= most else "NO", why


def row(options, name, model, inputs, precision, folder):
    """(whether it is right, what to print)"""
    want, got = folder / "want.npz", folder / "got.npz"
    if precision == options.precisions[0]:
        code, document = run(options, model, *inputs, "-d", "cpu", "--outputs", want)
        if code != 0:
            return False, "cpu: " + document["error"]["message"]
    tolerances = ["--rtol", "1e-3", "--atol", "1e-4"]
    code, document = run(options, model, *inputs, "-d", options.device, "--precision", precision,
                         "--outputs", got, "--expect", want, *tolerances)
    if document["error"]:
        return False, document["error"]["message"]
    errors = [output["max_abs_error"] or 0 for output in document["expected"]]
    l2 = relative_l2(read_npz(got), read_npz(want))
    good, word, why = verdict(name, precision, code == 0, l2)
    return good, f"{word:7}{max(errors):12.2e}{l2:12.2e}  {why}".rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("models", type=Path)
    parser.add_argument("digits", type=Path)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--precisions", type=lambda text: text.split(","), default=["strict", "fp16"])
    parser.add_argument("--own", action="store_true", help="only models that were made here")
    options = parser.parse_args()
    probe = ["inspect", options.digits / "digits.onnx", "-d", options.device, "--json"]
    done = subprocess.run([options.binary, *map(str, probe)], capture_output=True, text=True)
    error = json.loads(done.stdout)["error"]
    if error and error["code"] in ("unavailable", "not_found"):
        print("skipped:", error["message"])
        return 77
    good = True
    print(f"{'MODEL':24}{'MATH':8}{'AGREES':7}{'MAX ABS':>12}{'REL L2':>12}")
    with tempfile.TemporaryDirectory() as scratch:
        for name, model, inputs in models(options, Path(scratch)):
            for precision in options.precisions:
                right, text = row(options, name, model, inputs, precision, Path(scratch))
                good = good and right
                print(f"{name:24}{precision:8}{text}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
