#!/usr/bin/env python3
"""How long hard lists of buffers take to pack: planner.py [--capacity BYTES] MINIINFER LIST.csv..

The median of three runs each. MiniMalloc's "challenging" instances fit into 1,048,576 bytes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--capacity", default="1048576")
    parser.add_argument("binary")
    parser.add_argument("lists", nargs="*")
    args = parser.parse_args()
    shared = Path(os.environ.get("MINIINFER_SHARED", "/nonexistent")) / "planner"
    lists = args.lists or sorted(map(str, shared.glob("*.csv")))
    if not lists:
        print("SKIP: no list is named, and MINIINFER_SHARED names none", file=sys.stderr)
        raise SystemExit(77)
    command = [args.binary, "mem", "pack", "--json", "--capacity", args.capacity]
    for path in lists:
        runs = [json.loads(subprocess.run([*command, path], capture_output=True, text=True).stdout)
                for _ in range(3)]
        if runs[0]["error"]:
            raise SystemExit(f"{path}: {runs[0]['error']['message']}")
        seconds = statistics.median(run["duration_ns"] for run in runs) * 1e-9
        print(f"{Path(path).name}  {runs[0]['bytes']} bytes, {runs[0]['found_by']}, "
              f"{runs[0]['search_nodes']} nodes, {seconds:.3f} s; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
