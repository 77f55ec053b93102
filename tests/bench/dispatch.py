#!/usr/bin/env python3
"""What a step costs beside its kernel: dispatch.py MINIINFER CHAIN_MODEL

A chain of 1,000 nodes of four elements, unfused, against the same chain fused into programs of at
most 64 instructions; the difference by the number of steps is what a step costs, kernel entry
included.
"""

import json
import subprocess
import sys


def median_ns(binary, model, *more):
    result = subprocess.run([binary, "bench", model, "-d", "cpu", "--json", "--duration", "1000", *more],
                            capture_output=True, text=True)
    return json.loads(result.stdout)["results"][0]["latency_ns"]["median"]


def main(binary, model):
    unfused = median_ns(binary, model, "--no-pass", "fuse-pointwise", "--no-pass", "in-place")
    fused = median_ns(binary, model)
    print(f"1000 steps {unfused / 1000:.2f} us, {unfused / 1000:.1f} ns a step with its kernel; "
          f"fused {fused / 1000:.2f} us")


if __name__ == "__main__":
    main(*sys.argv[1:])
