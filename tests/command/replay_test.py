#!/usr/bin/env python3
"""Replays traces of allocations: replay_test.py MINIINFER DIGITS_FOLDER"""

import gzip
import os

from cli import DEVICE, FILE, MEMORY, MODEL, OK, USAGE, Case, document, main, run

TRACE = "a 0 1000 0\na 1 3000 0\nf 0\na 2 500 7\nf 1\n"
RMM = """Thread,Time,Action,Pointer,Size,Stream
9,10:11:12.000001,allocate,0x7f0000001000,1000,0x0
9,10:11:12.000002,allocate,0x7f0000002000,3000,0x0
9,10:11:12.000003,free,0x7f0000001000,1000,0x0
9,10:11:12.000004,allocate failure,(nil),99999999999,0x0
8,10:11:12.000005,allocate,0x7f0000001000,500,0x55aa
8,10:11:12.000006,free,0x7f0000002000,3000,0x55aa
"""
FAKE = ["-d", "fake:0"]


class Replay(Case):
    def trace(self, text, name="t.trace"):
        path = self.dir / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def rows(self, path, *args, **how):
        result = document("mem", "replay", path, *args, **how)
        self.assertIsNone(result["error"], result["error"])
        return {row["allocator"]: row for row in result["results"]}

    def test_a_row_for_each_allocator_says_what_was_live_and_reserved(self):
        rows = self.rows(self.trace(TRACE), *FAKE)
        self.assertEqual(list(rows), ["raw", "pool", "caching"])
        for row in rows.values():
            self.assertEqual((row["events"], row["live_peak"], row["failures"]), (5, 4000, 0))
            self.assertGreater(row["ns_per_op"], 0)
            self.assertEqual(row["ratio"], row["reserved_peak"] / row["live_peak"])
        self.assertEqual((rows["raw"]["reserved_peak"], rows["raw"]["driver_calls"]), (4000, 5))
        for name in ("pool", "caching"):
            self.assertGreaterEqual(rows[name]["reserved_peak"], 4000)
            self.assertGreater(rows[name]["driver_calls"], 0)
        out = self.expect(OK, "mem", "replay", self.trace(TRACE), *FAKE).stdout
        for text in ("TRACE", "RATIO", "t.trace", "caching"):
            self.assertIn(text, out)

    def test_rmm_csv_and_gzip_are_the_same_trace(self):
        packed = gzip.compress(TRACE.encode())
        half = TRACE.index("f 0")
        columns = [line.split(",") for line in RMM.splitlines()]
        turned = "\r\n".join(",".join(reversed(cells)) for cells in columns)
        whole = [self.rows(path, *FAKE, "--allocator", "raw,pool") for path in
                 (self.trace(TRACE), self.trace(RMM, "rmm.csv"), self.trace(packed, "t.gz"),
                  self.trace(turned, "turned.csv"), self.trace(TRACE + "\n\n", "lines"),
                  self.trace(gzip.compress(TRACE[:half].encode()) +
                             gzip.compress(TRACE[half:].encode()), "parts.gz"))]
        for rows in whole:
            for name, row in rows.items():
                for key in ("events", "live_peak", "reserved_peak"):
                    self.assertEqual(row[key], whole[0][name][key], key)

    def test_a_long_trace_unpacks_to_its_last_line(self):
        lines = [f"a {i} {i % 4096 + 1} {i % 3}\nf {i}\n" for i in range(70000)]
        text = "".join(lines) + "a 0 123456789 0\n"
        row = self.rows(self.trace(gzip.compress(text.encode())), *FAKE, "--allocator", "pool")["pool"]
        self.assertEqual((row["events"], row["live_peak"]), (140001, 123456789))

    def test_each_replay_has_a_pool_of_its_own(self):
        path = self.trace(TRACE)
        result = document("mem", "replay", path, path, *FAKE, "--allocator",
                          "caching,caching,pool,pool?slack=1.5,caching/tracking")
        self.assertIsNone(result["error"])
        self.assertEqual(len(result["results"]), 10)
        for row in result["results"]:
            self.assertEqual(row["driver_calls"], result["results"][0]["driver_calls"], row)

    def test_options_and_layers_are_the_factorys(self):
        path = self.trace("".join(f"a {i} 1048576 0\n" for i in range(8)))
        names = "caching?virtual_memory=off,limit?bytes=4MiB,pool/limit?bytes=2MiB"
        result = document("mem", "replay", path, *FAKE, "--allocator", names)
        failures = {row["allocator"]: row["failures"] for row in result["results"]}
        self.assertEqual(failures, dict(zip(names.split(","), (0, 4, 6))))
        self.assertEqual(result["error"]["exit_code"], MEMORY)
        limited = document("mem", "replay", path, *FAKE, "--allocator", "caching",
                           env={"MINIINFER_MEMORY": "limit=4MiB"})
        self.assertGreater(limited["results"][0]["failures"], 0)
        self.expect(USAGE, "mem", "replay", path, *FAKE, "--allocator", "nosuch",
                    text="presets are")
        self.expect(USAGE, "mem", "replay", path, *FAKE, "--allocator", "pool,")
        self.expect(USAGE, "mem", "replay", path, *FAKE, "--allocator", "pool?slak=2",
                    text="no option 'slak'")

    def test_what_finds_no_memory_is_counted_and_the_rest_goes_on(self):
        path = self.trace("a 0 1000000 0\na 1 9000000000 0\na 2 8000000000 0\nf 1\nf 0\na 1 500 0\n")
        small = ["--option", "fake.memory=4000000"]
        result = run("mem", "replay", path, *FAKE, *small, "--json")
        self.assertEqual(result.returncode, MEMORY)
        for args in (small, ["--option", "fake.plan=alloc#2+=oom;map#1+=oom;create#1+=oom"]):
            with self.subTest(args=args):
                result = document("mem", "replay", path, *FAKE, *args)
                self.assertEqual(result["error"]["code"], "out_of_memory")
                self.assertIn("t.trace, raw", result["error"]["where"])
                self.assertEqual(len(result["results"]), 3)
                for row in result["results"]:
                    self.assertGreaterEqual(row["failures"], 2, row)
                    self.assertIn("fake:0", row["first_failure"])
        row = document("mem", "replay", path, *FAKE, *small)["results"][1]
        self.assertEqual((row["failures"], row["live_peak"]), (2, 1000000))
        self.expect(MEMORY, "mem", "replay", path, *FAKE, *small, text="FAILURES")

    def test_the_ledger_balances(self):
        path = self.trace(TRACE)
        for args in ([], ["--option", "fake.memory=1000"], ["--option", "fake.granularity=0"],
                     ["--option", "fake.seed=5"], ["--option", "fake.inline=1"],
                     ["--option", "fake.plan=alloc#2=lost"]):
            with self.subTest(args=args):
                said = run("mem", "replay", path, *FAKE, *args, "--log", "info").stderr
                self.assertIn("fake:0 closed balanced", said)

    def test_the_hosts_memory_can_be_asked(self):
        rows = self.rows(self.trace(TRACE), "-d", "cpu")
        self.assertEqual(rows["caching"]["live_peak"], 4000)

    def test_a_line_that_is_no_event_is_named(self):
        head = RMM.splitlines()[0] + "\n"
        for line, text, reason in (
                (2, "a 0 1 0\nb 1\n", "neither a ID BYTES STREAM nor f ID"),
                (1, "a 0 1\n", "neither"), (3, "a 0 1 0\n\nf 0 0\n", "neither"),
                (1, "a 0 -1 0\n", 'the size "-1"'), (1, "a 0 1e3 0\n", 'the size "1e3"'),
                (1, "a x 1 0\n", 'the block\'s number "x"'), (1, "a 0 1 s\n", 'the stream "s"'),
                (1, "a 0  1 0\n", "neither"),
                (1, "a 0 18446744073709551616 0\n", "2^64"),
                (2, "a 0 4000000000000000000 0\na 1 4000000000000000000 0\n", "2^62"),
                (1, "f 5\n", "no such block is live"), (3, "a 0 1 0\nf 0\nf 0\n", "no such block"),
                (2, "a 0 1 0\na 0 2 0\n", "live already"),
                (1, "nonsense\n", "names no column Action"),
                (1, "Action,Pointer,Size\n", "names no column Stream"),
                (2, head + "1,2,steal,0x1,1,0x0\n", 'action "steal"'),
                (2, head + "1,2,allocate,0x1,1\n", "5 cells"),
                (2, head + "1,2,allocate,0xzz,1,0x0\n", 'Pointer "0xzz"'),
                (3, head + "1,2,allocate,0x1,10,0x0\n1,2,free,0x1,11,0x0\n", "has 10 bytes, not 11"),
                (1025, "".join(f"a {i} 1 {i}\n" for i in range(1025)),
                 "more than 1024 streams")):
            with self.subTest(text=text[:60]):
                path = self.trace(text)
                self.expect(USAGE, "mem", "replay", path, *FAKE, text=reason)
                where = document("mem", "replay", path, *FAKE)["error"]["where"]
                self.assertEqual(where, f"{path}:{line}")
        for text in ("", "\n\n", head, b"\x1f\x8b"):
            with self.subTest(text=text):
                self.expect(USAGE, "mem", "replay", self.trace(text), *FAKE)

    def test_files_that_cannot_be_read(self):
        self.expect(FILE, "mem", "replay", self.dir / "nosuch", *FAKE)
        packed = gzip.compress(os.urandom(100000))
        self.expect(USAGE, "mem", "replay", self.trace(packed[:-20]), *FAKE, text="is cut off")
        self.expect(USAGE, "mem", "replay", self.trace(packed[:50] + b"\0" * 50 + packed[100:]), *FAKE,
                    text="what gzip packed")
        self.expect(USAGE, "mem", "replay", self.trace(packed + b"more"), *FAKE, text="is damaged")
        self.expect(USAGE, "mem", "replay", MODEL, *FAKE)
        self.expect(USAGE, "mem", "replay", self.dir, *FAKE)
        # A good one before it is replayed all the same.
        result = document("mem", "replay", self.trace(TRACE, "good"), self.trace("f 1\n"), *FAKE)
        self.assertEqual((len(result["results"]), result["error"]["exit_code"]), (3, USAGE))

    def test_devices_that_are_not_there(self):
        path = self.trace(TRACE)
        self.expect(USAGE, "mem", "replay", path)
        self.expect(USAGE, "mem", "replay", path, "-d", "cpu:")
        self.expect(DEVICE, "mem", "replay", path, "-d", "nosuch:0")
        self.expect(DEVICE, "mem", "replay", path, "-d", "fake:7")


if __name__ == "__main__":
    main()
