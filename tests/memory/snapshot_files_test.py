#!/usr/bin/env python3
"""The files of a memory snapshot keep the rules of who reads them: snapshot_files_test.py WRITE_SNAPSHOTS"""

import csv
import json
import pickle
import pickletools
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

# What torch/utils/viz/MemoryViz.js knows of pickle.
OPCODES = {"PROTO", "FRAME", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "MARK", "SETITEM", "SETITEMS", "APPEND",
           "APPENDS", "LIST", "DICT", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BININT", "BININT1", "BININT2",
           "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "NONE", "NEWTRUE", "NEWFALSE", "MEMOIZE",
           "BINPUT", "BINGET", "LONG_BINPUT", "LONG_BINGET", "STOP"}
ACTIONS = {"alloc", "free_requested", "free_completed", "oom"}
STATES = {"active_allocated", "active_pending_free", "inactive"}
EXACT = 2**53  # JavaScript's numbers


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([WRITER, folder], check=True)
            cls.pickled = Path(folder, "snapshot.pickle").read_bytes()
            cls.trace = json.loads(Path(folder, "snapshot.json").read_text())
            cls.rows = list(csv.DictReader(Path(folder, "snapshot.csv").open()))
        cls.snapshot = pickle.loads(cls.pickled)

    def test_the_pickle_has_no_opcode_the_viewer_does_not_know(self):
        seen = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(self.pickled)]
        self.assertEqual(seen[0], ("PROTO", 2))
        self.assertEqual({name for name, _ in seen} - OPCODES, set())

    def test_lists_come_in_pieces_that_javascript_takes_as_arguments(self):
        depth, counts = 0, {}
        for opcode, _, _ in pickletools.genops(self.pickled):
            if opcode.name == "MARK":
                depth += 1
                counts[depth] = 0
            elif opcode.name == "APPENDS":
                self.assertLessEqual(counts[depth], 1000)
                depth -= 1
            elif opcode.name == "SETITEMS":
                depth -= 1
                counts[depth] = counts.get(depth, 0) + 1
        self.assertEqual(depth, 0)

    def test_blocks_tile_their_segments(self):
        self.assertGreater(len(self.snapshot["segments"]), 1)
        for segment in self.snapshot["segments"]:
            self.assertEqual(segment["device"], 0)
            address = segment["address"]
            for block in segment["blocks"]:
                self.assertEqual(block["address"], address)
                self.assertGreater(block["size"], 0)
                self.assertLessEqual(block["requested_size"], block["size"])
                self.assertIn(block["state"], STATES)
                self.assertNotIn("category", block)
                address += block["size"]
            self.assertEqual(address, segment["address"] + segment["total_size"])
            self.assertLess(address, EXACT)
            active = sum(b["size"] for b in segment["blocks"] if b["state"] != "inactive")
            self.assertEqual(segment["active_size"], active)

    def test_blocks_have_what_was_asked_for_and_by_what_name(self):
        active = [b for s in self.snapshot["segments"] for b in s["blocks"] if b["state"] == "active_allocated"]
        self.assertEqual(len(active), 1501)
        names = {frame["name"] for block in active for frame in block["frames"]}
        self.assertEqual(names, {'small "blocks"', "weights"})
        self.assertEqual(sum(b["requested_size"] for b in active),
                         sum(1 + i % 700 for i in range(1, 3000, 2)) + (24 << 20))

    def test_events_are_the_devices_trace(self):
        [trace] = self.snapshot["device_traces"]
        self.assertEqual({event["action"] for event in trace}, ACTIONS)
        self.assertEqual(sum(event["action"] == "alloc" for event in trace), 3002)
        live = {}
        for event, after in zip(trace, trace[1:] + [None]):
            self.assertLess(event["addr"], EXACT)
            if event["action"] == "alloc":
                self.assertNotIn(event["addr"], live)
                live[event["addr"]] = event["size"]
            elif event["action"] == "free_requested":  # the viewer makes the two one
                self.assertEqual((after["action"], after["addr"]), ("free_completed", event["addr"]))
            elif event["action"] == "free_completed":
                self.assertEqual(live.pop(event["addr"]), event["size"])
        active = {b["address"]: b["requested_size"] for s in self.snapshot["segments"] for b in s["blocks"]
                  if b["state"] == "active_allocated"}
        self.assertEqual(live, active)
        [failure] = [event for event in trace if event["action"] == "oom"]
        self.assertEqual(failure["size"], 1 << 30)
        self.assertGreater(failure["device_free"], 0)

    def test_the_trace_counts_from_nothing_to_what_is_in_use(self):
        events = self.trace["traceEvents"]
        counter = [event["args"]["bytes"] for event in events if event["ph"] == "C"]
        self.assertEqual(counter[0], 0)
        self.assertEqual(counter[-1], sum(1 + i % 700 for i in range(1, 3000, 2)) + (24 << 20))
        begun = [event["id"] for event in events if event["ph"] == "b"]
        ended = [event["id"] for event in events if event["ph"] == "e"]
        self.assertEqual(len(begun), len(set(begun)))
        self.assertEqual(len(ended), 1501)
        self.assertEqual(set(ended) - set(begun), set())
        [failure] = [event for event in events if event["ph"] == "i"]
        self.assertEqual(failure["name"], "too much")
        self.assertIn("of a thread\\x01", {event["name"] for event in events})

    def test_the_csv_is_a_log_of_rmm(self):
        self.assertEqual(list(self.rows[0]), ["Thread", "Time", "Action", "Pointer", "Size", "Stream"])
        live = {}
        for row in self.rows:
            self.assertRegex(row["Time"], r"^\d\d:\d\d:\d\d\.\d{6}$")
            self.assertGreater(int(row["Thread"]), 0)
            pointer, size = int(row["Pointer"], 16), int(row["Size"])
            if row["Action"] == "allocate":
                live[pointer] = size
            elif row["Action"] == "free":
                self.assertEqual(live.pop(pointer), size)
            else:
                self.assertEqual((row["Action"], size), ("allocate failure", 1 << 30))
        self.assertEqual(len(live), 1501)
        self.assertEqual(len({row["Thread"] for row in self.rows}), 2)


if __name__ == "__main__":
    WRITER = sys.argv.pop(1)
    unittest.main()
