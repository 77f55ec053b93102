#!/usr/bin/env python3
"""Packs MiniMalloc's hard instances in time: packing_test.py MINIINFER DIGITS_FOLDER

Six of them lie in planner/ of the folder that MINIINFER_SHARED names; each fits into 1,048,576 bytes.
"""

import csv
import os
import sys
from pathlib import Path

from cli import Case, document, main

FOLDER = Path(os.environ.get("MINIINFER_SHARED", "/nonexistent")) / "planner"
INSTANCES = sorted(FOLDER.glob("*.csv"))
if not INSTANCES:
    print("SKIP: MINIINFER_SHARED names no folder with planner/*.csv", file=sys.stderr)
    sys.exit(77)


class Packing(Case):
    def test_every_instance_fits_within_ten_seconds(self):
        for path in INSTANCES:
            with self.subTest(path=path.name):
                packed = self.dir / path.name
                result = document("mem", "pack", path, "--capacity", 1048576, "--time", 10,
                                  "-o", packed)
                self.assertIsNone(result["error"])
                self.assertLessEqual(result["bytes"], 1048576)
                self.verify(path, packed)

    def verify(self, path, packed):
        with path.open() as file:
            given = list(csv.DictReader(file))
        with packed.open() as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(given, [{k: r[k] for k in ("id", "lower", "upper", "size")} for r in rows])
        boxes = [[int(r[k]) for k in ("lower", "upper", "offset", "size")] for r in rows]
        for i, (lower, upper, offset, size) in enumerate(boxes):
            self.assertLessEqual(offset + size, 1048576)
            for other_lower, other_upper, other_offset, other_size in boxes[:i]:
                self.assertFalse(lower < other_upper and other_lower < upper and
                                 offset < other_offset + other_size and
                                 other_offset < offset + size)


if __name__ == "__main__":
    main()
