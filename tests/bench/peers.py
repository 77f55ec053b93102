#!/usr/bin/env python3
"""Mini-Infer beside ONNX Runtime, on one machine, in turn.

    python3 -m venv venv && venv/bin/pip install onnxruntime numpy
    venv/bin/python tests/bench/peers.py [--threads N] [--blocks N] [--json] MINIINFER MODEL[:NAME=SHAPE]..

Each block times one, then the other, over the same shapes, for half a second; the ratio is taken
block by block, so that a drift of the machine's speed cancels out. Printed: the median of each, the
median ratio and its range, and the load average. A ratio below 1 means Mini-Infer is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

try:
    import numpy as np
    import onnxruntime as ort
except ImportError as missing:
    print(f"SKIP: {missing.name} is not installed for {sys.executable}", file=sys.stderr)
    sys.exit(77)

NUMPY = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}


def ours(binary, model, shapes, threads, seconds):
    command = [binary, "bench", model, "-d", "cpu", "--json", "--warmup", "100", "--threads",
               str(threads), "--no-verify", "--duration", str(int(seconds * 1000))]
    for name, shape in shapes.items():
        command += ["--shape", f"{name}={'x'.join(map(str, shape))}"]
    document = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    if document["error"]:
        raise SystemExit(f"{model}: {document['error']['message']}")
    return document["results"][0]["latency_ns"]["median"] / 1000


class Peer:
    def __init__(self, model, shapes, threads):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(model, options, ["CPUExecutionProvider"])
        random = np.random.default_rng(0)
        self.feeds = {}
        for spec in self.session.get_inputs():
            shape = shapes.get(spec.name, [d if isinstance(d, int) else 1 for d in spec.shape])
            dtype = NUMPY[spec.type]
            self.feeds[spec.name] = (random.random(shape, dtype) if dtype == np.float32 else
                                     random.integers(0, 2, shape, dtype))

    def time(self, seconds):
        end = time.perf_counter() + 0.1
        while time.perf_counter() < end:
            self.session.run(None, self.feeds)
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or not times:
            begin = time.perf_counter()
            self.session.run(None, self.feeds)
            times.append(time.perf_counter() - begin)
        return statistics.median(times) * 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    rows = []
    table = (lambda text: None) if args.json else print
    table(f"ONNX Runtime {ort.__version__}, {args.threads} threads, {args.blocks} blocks of "
          f"{args.seconds} s each, load {os.getloadavg()[0]:.1f}")
    table(f"{'MODEL':24} {'OURS us':>10} {'ORT us':>10} {'RATIO':>6}  RANGE")
    for item in args.models:
        model, *given = item.split(":")
        shapes = {n: [int(d) for d in s.split("x")] for n, s in (g.split("=") for g in given)}
        peer = Peer(model, shapes, args.threads)
        pairs = [(ours(args.binary, model, shapes, args.threads, args.seconds),
                  peer.time(args.seconds)) for _ in range(args.blocks)]
        ratios = sorted(a / b for a, b in pairs)
        label = os.path.basename(model)
        if label == "model.onnx":
            label = os.path.basename(os.path.dirname(model))
        rows.append({"model": model, "ours_us": statistics.median(a for a, _ in pairs),
                     "peer_us": statistics.median(b for _, b in pairs),
                     "ratio": statistics.median(ratios), "ratios": ratios})
        table(f"{label:24} {statistics.median(a for a, _ in pairs):10.1f} "
              f"{statistics.median(b for _, b in pairs):10.1f} {statistics.median(ratios):6.2f}  "
              f"{ratios[0]:.2f}..{ratios[-1]:.2f}")
    if args.json:
        print(json.dumps({"peer": f"ONNX Runtime {ort.__version__}", "threads": args.threads,
                          "load_1m": os.getloadavg()[0], "results": rows}))


if __name__ == "__main__":
    main()
