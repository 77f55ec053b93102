#!/usr/bin/env python3
"""PyTorch's own reader takes a memory snapshot: memory_viz_test.py WRITE_SNAPSHOTS

The reader is torch.cuda._memory_viz, or that file alone where MINIINFER_MEMORY_VIZ names it. It needs nothing
else of PyTorch."""

import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path


def reader():
    path = os.environ.get("MINIINFER_MEMORY_VIZ")
    if path:
        spec = importlib.util.spec_from_file_location("_memory_viz", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    try:
        from torch.cuda import _memory_viz
        return _memory_viz
    except ImportError:
        print("SKIP: no PyTorch here, and MINIINFER_MEMORY_VIZ names no torch/cuda/_memory_viz.py", file=sys.stderr)
        sys.exit(77)


viz = reader()
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([sys.argv[1], folder], check=True)
    snapshot = pickle.loads(Path(folder, "snapshot.pickle").read_bytes())
summary = viz.segsum(snapshot)  # asserts that all of each segment is accounted for
print(summary)
assert f"segments: {len(snapshot['segments'])}\n" in summary
listing = viz.trace(snapshot)
assert "6006 entries" not in listing and "raise OutOfMemoryError # 1.0GiB requested" in listing
assert "= seg_" in listing, "blocks are found in their segments"
by_block = viz.memory(snapshot, format_flamegraph=lambda lines: lines)
assert "active_allocated;tag:0:weights 25165824" in by_block, by_block[:500]
assert viz.segments(snapshot, format_flamegraph=lambda lines: lines).count("\n") >= 1501
page = viz.trace_plot(snapshot) + viz.segment_plot(snapshot)
assert "<html>" in page
