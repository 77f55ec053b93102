#!/usr/bin/env python3
"""Two threads beside one, in turn, on a quiet machine and with a busy neighbour.

    tests/bench/threads.py [--blocks N] [--seconds S] [--threads N] MINIINFER MODEL[:NAME=SHAPE]..

Each block times one thread, then several, over the same shapes; the neighbour spins on the first
processor this program may use. Printed, with and without it: the median over the blocks of the
median and of the mean latency on one thread, and the median of each block's ratio to it with its
range. A ratio below 1 means that more threads are faster; the bar is that none is above 1.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess


def latency(binary, model, shapes, threads, seconds):
    command = [binary, "bench", model, "-d", "cpu", "--json", "--warmup", "20", "--threads",
               str(threads), "--duration", str(int(seconds * 1000))]
    for shape in shapes:
        command += ["--shape", shape]
    document = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    if document["error"]:
        raise SystemExit(f"{model}: {document['error']['message']}")
    return document["results"][0]["latency_ns"]


@contextlib.contextmanager
def neighbour(busy):
    if not busy:
        yield
        return
    first = min(os.sched_getaffinity(0))
    process = subprocess.Popen(["yes"], stdout=subprocess.DEVNULL)
    try:
        os.sched_setaffinity(process.pid, {first})
        yield
    finally:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    print(f"{args.threads} threads by 1, {args.blocks} blocks of {args.seconds} s each, "
          f"load {os.getloadavg()[0]:.1f}")
    print(f"{'MODEL':20} {'CORES':6} {'MEDIAN us':>10} {'RATIO':>6}  {'RANGE':12} "
          f"{'MEAN us':>10} {'RATIO':>6}  RANGE")
    for item in args.models:
        model, *shapes = item.split(":")
        label = os.path.basename(model)
        if label == "model.onnx":
            label = os.path.basename(os.path.dirname(model))
        for busy in (False, True):
            with neighbour(busy):
                pairs = [[latency(args.binary, model, shapes, threads, args.seconds)
                          for threads in (1, args.threads)] for _ in range(args.blocks)]
            columns = []
            for key in ("median", "mean"):
                ratios = sorted(many[key] / one[key] for one, many in pairs)
                columns.append(f"{statistics.median(one[key] for one, _ in pairs) / 1000:10.1f} "
                               f"{statistics.median(ratios):6.2f}  "
                               f"{ratios[0]:.2f}..{ratios[-1]:.2f}".ljust(31))
            print(f"{label[:20]:20} {'shared' if busy else 'quiet':6} {columns[0]} "
                  f"{columns[1].rstrip()}", flush=True)


if __name__ == "__main__":
    main()
