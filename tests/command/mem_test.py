#!/usr/bin/env python3
"""Plans and packs memory: mem_test.py MINIINFER DIGITS_FOLDER"""

from cli import FILE, MEMORY, MODEL, MODEL_REJECTED, OK, USAGE, Case, document, main, run

TIGHT = "id,lower,upper,size\na,0,2,1\nb,1,3,2\nc,2,4,1\n"
# 2 bytes are alive at once, 9 are needed: that takes a proof.
SPREAD = "id,lower,upper,size,alignment\na,0,2,1,8\nb,1,3,1,8\n"


class Mem(Case):
    def list(self, text, name="buffers.csv"):
        path = self.dir / name
        path.write_text(text)
        return path

    def rows(self, path):
        head, *lines = path.read_text().splitlines()
        return [dict(zip(head.split(","), line.split(","))) for line in lines]

    def check(self, path, size):
        """Independent of the planner: no two rows overlap in time and place."""
        rows = [{k: int(v) for k, v in row.items() if k != "id"} for row in self.rows(path)]
        for i, a in enumerate(rows):
            self.assertLessEqual(a["offset"] + a["size"], size)
            for b in rows[:i]:
                self.assertFalse(a["lower"] < b["upper"] and b["lower"] < a["upper"] and
                                 a["offset"] < b["offset"] + b["size"] and
                                 b["offset"] < a["offset"] + a["size"], (a, b))

    def test_plan_shows_where_buffers_lie(self):
        out = self.expect(OK, "mem", "plan", MODEL).stdout
        for text in ("LOWER BOUND", "cpu:0", "STEPS", "fault", "workspace"):
            self.assertIn(text, out)
        device = document("mem", "plan", MODEL)["devices"][0]
        self.assertGreaterEqual(device["arena_bytes"], device["lower_bound_bytes"])
        ends = [b["offset"] + b["bytes"] for b in device["buffers"]]
        self.assertEqual(max(ends), device["arena_bytes"])
        inspected = document("inspect", MODEL)["memory"][0]
        for key in ("weights_bytes", "lower_bound_bytes", "peak_bytes"):
            self.assertEqual(device[key], inspected[key])
        larger = document("mem", "plan", MODEL, "--shape", "image=20x1x8x8")["devices"][0]
        self.assertGreater(larger["arena_bytes"], device["arena_bytes"])

    def test_what_plan_writes_pack_reads(self):
        path, packed = self.dir / "buffers.csv", self.dir / "packed.csv"
        self.expect(OK, "mem", "plan", MODEL, "-o", path)
        device = document("mem", "plan", MODEL)["devices"][0]
        self.assertEqual(len(self.rows(path)), len(device["buffers"]))
        result = document("mem", "pack", path, "-o", packed)
        self.assertEqual(result["bytes"], device["arena_bytes"])
        self.check(packed, result["bytes"])
        self.expect(OK, "mem", "pack", packed)
        self.expect(USAGE, "mem", "plan", MODEL, "-d", "fake:0,cpu", "--no-pass", "nosuch")
        self.expect(MODEL_REJECTED, "mem", "plan", path)
        self.expect(FILE, "mem", "plan", MODEL, "-o", self.dir / "nosuch" / "f.csv")

    def test_pack(self):
        path = self.list(TIGHT)
        out = self.expect(OK, "mem", "pack", path, "--capacity", 4).stdout
        self.assertIn("lower bound", out)
        result = document("mem", "pack", path)
        self.assertEqual((result["bytes"], result["optimal"], result["buffer_count"]), (3, True, 3))
        aligned = self.list("size,id,alignment,upper,lower\r\n1,a,8,2,0\r\n\r\n2,b,16,3,1\r\n")
        self.expect(OK, "mem", "pack", aligned, "-o", self.dir / "o.csv")
        self.assertEqual(sorted(row["offset"] for row in self.rows(self.dir / "o.csv")), ["0", "8"])

    def test_what_does_not_fit_says_whether_that_is_proven(self):
        self.expect(MEMORY, "mem", "pack", self.list(TIGHT), "--capacity", 2, text="3 are needed")
        hard = self.list(SPREAD)
        bound = document("mem", "pack", hard, "--time", 0)["lower_bound_bytes"]
        best = document("mem", "pack", hard)["bytes"]
        self.assertLess(bound, best)
        proven = run("mem", "pack", hard, "--capacity", best - 1)
        self.assertEqual(proven.returncode, MEMORY)
        self.assertIn("LIMIT_EXCEEDED", proven.stderr)
        unknown = run("mem", "pack", hard, "--capacity", best - 1, "--time", 0)
        self.assertEqual(unknown.returncode, MEMORY)
        self.assertIn("TIMEOUT", unknown.stderr)

    def test_bad_lists(self):
        head = "id,lower,upper,size\n"
        for text, reason in (("", "no buffer"), (head, "no buffer"), ("1,2,3,4\n", "column id"),
                             (head + "a,0,2,0\n", "line 2: a buffer of no bytes"),
                             (head + "a,0,2,-5\n", 'size "-5"'), (head + "a,0,2\n", 'size ""'),
                             (head + "a,3,2,5\n", "ends at 2"), (head + "a,2,2,5\n", "ends at 2"),
                             (head + "a,0,2,1e3\n", 'size "1e3"'),
                             (head + "a,0,2,18446744073709551616\n", "2^64"),
                             ("id,lower,upper,size,alignment\na,0,2,5,3\n", "power of two")):
            with self.subTest(text=text):
                self.expect(USAGE, "mem", "pack", self.list(text), text=reason)
        self.expect(MEMORY, "mem", "pack", self.list(head + "a,0,2,18446744073709551615\n"),
                    text="2^62")
        self.expect(FILE, "mem", "pack", self.dir / "nosuch.csv")
        self.expect(USAGE, "mem", "pack", self.list(TIGHT), "--capacity", "-1")
        self.expect(USAGE, "mem", "pack", self.list(TIGHT), "--time", "-1")


if __name__ == "__main__":
    main()
