#!/usr/bin/env python3
"""Recorded traces need little more memory than they use: recorded_traces_test.py MINIINFER DIGITS_FOLDER

They lie in traces/ of the folder that MINIINFER_SHARED names. Where the device cannot map memory the
pool cannot move it, and what it needs is told, not judged.
"""

import os
import sys
from pathlib import Path

from cli import Case, document, main

FOLDER = Path(os.environ.get("MINIINFER_SHARED", "/nonexistent")) / "traces"
TRACES = sorted(FOLDER.glob("*.trace.gz"))
if not TRACES:
    print("SKIP: MINIINFER_SHARED names no folder with traces/*.trace.gz", file=sys.stderr)
    sys.exit(77)


class RecordedTraces(Case):
    def rows(self, *args):
        result = document("mem", "replay", *TRACES, "-d", "fake:0", "--allocator", "pool,caching",
                          *args)
        self.assertIsNone(result["error"])
        self.assertEqual(len(result["results"]), 2 * len(TRACES))
        for row in result["results"]:
            print(f"{Path(row['trace']).name:24}{row['allocator']:10}{row['ratio']:8.4f}"
                  f"{row['driver_calls']:8} driver calls", file=sys.stderr)
        return result["results"]

    def test_mapped_memory_is_moved_to_where_it_is_needed(self):
        for row in self.rows():
            with self.subTest(trace=row["trace"], allocator=row["allocator"]):
                self.assertLessEqual(row["ratio"], 1.05)

    def test_a_device_without_mapped_memory_serves_them(self):
        for row in self.rows("--option", "fake.granularity=0"):
            with self.subTest(trace=row["trace"], allocator=row["allocator"]):
                self.assertEqual(row["failures"], 0)


if __name__ == "__main__":
    main()
