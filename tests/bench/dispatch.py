#!/usr/bin/env python3
"""What a step costs beside its kernel: dispatch.py [--json] MINIINFER CHAIN_MODEL

A chain of 1,000 nodes of four elements, unfused, against the same chain fused into programs of at
most 64 instructions; the difference by the number of steps is what a step costs, kernel entry
included. The two are timed in turn, five times; medians are shown.
"""

import argparse
import json
import os
import statistics
import subprocess

UNFUSED = ["--no-pass", "fuse-pointwise", "--no-pass", "in-place"]


def median_ns(binary, model, *more):
    command = [binary, "bench", model, "-d", "cpu", "--json", "--warmup", "50", "--duration", "300", *more]
    document = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    if document["error"]:
        raise SystemExit(f"{model}: {document['error']['message']}")
    return document["results"][0]["latency_ns"]["median"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("binary")
    parser.add_argument("model")
    args = parser.parse_args()
    pairs = [(median_ns(args.binary, args.model, *UNFUSED), median_ns(args.binary, args.model))
             for _ in range(5)]
    unfused, fused = (statistics.median(times) for times in zip(*pairs))
    if args.json:
        print(json.dumps({"unfused_ns": unfused, "fused_ns": fused, "step_ns": unfused / 1000,
                          "load_1m": os.getloadavg()[0]}))
        return
    print(f"1000 steps {unfused / 1000:.2f} us, {unfused / 1000:.1f} ns a step with its kernel; "
          f"fused {fused / 1000:.2f} us; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
