#!/usr/bin/env python3
"""Models that nobody here made, with their expected outputs.

    real_models.py MINIINFER [OPTION..]   # options of the command, such as -d fake:0,cpu

MINIINFER_ONNX_TESTS names an unpacked onnx/backend/test/data: the nine networks of light/ are run
over the input the ONNX project uses for them, arange(n) / n. MINIINFER_SHARED names a folder whose
models/ holds real models as backend-test folders. Skipped, with exit code 77, where neither is set.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "models"))
import write_models as w  # noqa: E402

NAMED = ("mnist-8", "ppocr_cls", "ppocrv4_det", "magika_v3_3")
LIGHT_SHAPE = [1, 3, 224, 224]


def conformance(binary, folders, *more):
    command = [binary, "conformance", "-v", "--rtol", "1e-3", "--atol", "1e-4", "--deadline", "300",
               *more, *map(str, folders)]
    print("$", " ".join(command[:9 + len(more)]), "..", flush=True)
    return subprocess.run(command).returncode


def light_folders(data, scratch):
    folders = []
    for model in sorted((data / "light").glob("*.onnx")):
        folder = scratch / model.stem
        (folder / "test_data_set_0").mkdir(parents=True)
        (folder / "model.onnx").symlink_to(model.resolve())
        expected = data / "light" / f"{model.stem}_output_0.pb"
        (folder / "test_data_set_0" / "output_0.pb").symlink_to(expected.resolve())
        count = 3 * 224 * 224
        values = [i / count for i in range(count)]
        (folder / "test_data_set_0" / "input_0.pb").write_bytes(w.tensor("", LIGHT_SHAPE, values))
        folders.append(folder)
    return folders


def main(binary, *options):
    data, shared = os.environ.get("MINIINFER_ONNX_TESTS"), os.environ.get("MINIINFER_SHARED")
    if not data and not shared:
        print("skipped: neither MINIINFER_ONNX_TESTS nor MINIINFER_SHARED is set")
        return 77
    code = 0
    if shared:
        code |= conformance(binary, [Path(shared) / "models" / name for name in NAMED], *options)
    if data:
        with tempfile.TemporaryDirectory() as scratch:
            folders = light_folders(Path(data), Path(scratch))
            if len(folders) != 9:
                print(f"found {len(folders)} light networks, not 9")
                return 1
            code |= conformance(binary, folders, *options)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
