#!/usr/bin/env python3
"""A device that is not the host's, through the command: fake_test.py MINIINFER DIGITS_FOLDER"""

import json
import re

from cli import (DEVICE, DIGITS, INTERNAL, LOST, MEMORY, MODEL, OK, RUN, SAMPLES, Case, document, main,
                 w)

EXPECT = ["--expect", DIGITS / "expected.npz"]


class Fake(Case):
    def digits(self, code, *args, **how):
        return self.expect(code, "run", MODEL, *SAMPLES, *args, **how)

    def partly(self):
        """A model of which the fake device runs one node."""
        return self.model([("Softmax", ["x"], ["a"], {}, "soft"), ("CumSum", ["a", "axis"], ["b"], {}, "sum"),
                           ("TopK", ["b", "k"], ["y", "i"], {}, "top")],
                          inputs=[w.value_info("x", [2, 8])], outputs=[w.value_info("y", [2, 3])],
                          initializers=[w.tensor("axis", [], [1], w.INT64),
                                        w.tensor("k", [1], [3], w.INT64)])

    def test_it_is_listed_and_never_the_default(self):
        out = self.expect(OK, "devices").stdout
        self.assertIn("fake:0", out)
        self.assertIn("cpu:0 *", out)
        self.assertEqual(document("run", MODEL, *SAMPLES)["nodes"], {"cpu:0": 7})

    def test_digits_strictly_placed(self):
        self.digits(OK, "-d", "fake:0", *EXPECT)
        self.assertIn("fake:0 7/7", self.expect(OK, "inspect", MODEL, "-d", "fake:0").stdout)
        self.assertEqual(document("run", MODEL, *SAMPLES, "-d", "fake:0")["nodes"], {"fake:0": 7})

    def test_the_ledger_balances_when_the_command_ends(self):
        for args in (["run", MODEL, *SAMPLES, "-d", "fake:0", *EXPECT],
                     ["run", MODEL, *SAMPLES, "-d", "fake:0,cpu"],
                     ["compare", MODEL, "-d", "cpu,fake:0"],
                     ["inspect", MODEL, "-d", "fake:0"],
                     ["bench", MODEL, "-d", "fake:0", "--warmup", 0, "--duration", 50],
                     ["run", self.partly(), "-i", "x=random", "-d", "fake:0,cpu"]):
            with self.subTest(args=args):
                self.assert_balanced(self.expect(OK, *args, "--log", "info"))

    def assert_balanced(self, result, some=True):
        said = re.findall(r"fake: (.*)", result.stderr)
        closed = [line for line in said if "closed" in line]
        self.assertEqual(len(closed), 1, result.stderr)
        found = re.fullmatch(r"fake:0 closed balanced, (\d+) allocations, (\d+) launches", closed[0])
        self.assertTrue(found, closed[0])
        if some:
            self.assertGreater(int(found[1]), 0)

    def test_a_failed_run_gives_everything_back(self):
        for plan, code in (("launch#2=fail", INTERNAL), ("copy#2=fail", INTERNAL), ("alloc#1+=oom", MEMORY)):
            with self.subTest(plan=plan):
                self.assert_balanced(self.digits(code, "-d", "fake:0", "--log", "info", "--option",
                                                 f"fake.plan={plan}"), some=False)

    def test_a_placement_that_cannot_be_met_lists_every_node(self):
        path = self.partly()
        for command in ("run", "bench", "inspect", "compare"):
            with self.subTest(command=command):
                devices = "fake:0,cpu" if command == "compare" else "fake:0"
                result = self.expect(DEVICE, command, path, *(["-i", "x=random"] if command == "run" else []),
                                     "-d", devices, text="2 of 3 nodes cannot run on fake:0")
                self.assertIn("allow a fallback: -d fake:0,cpu", result.stderr)
                rows = [line.split() for line in result.stderr.splitlines() if line.startswith("  ")]
                self.assertEqual([row[:2] for row in rows],
                                 [["NODE", "OPERATOR"], ["sum", "CumSum"], ["top", "TopK"]])
        error = document("run", path, "-i", "x=random", "-d", "fake:0")["error"]
        self.assertEqual([node["name"] for node in error["nodes"]], ["sum", "top"])
        self.assertTrue(all(node["reason"] and node["types"] for node in error["nodes"]))

    def test_a_fallback_runs_and_says_what_went_where(self):
        path = self.partly()
        args = ["run", path, "-i", "x=random", "-d", "fake:0,cpu"]
        self.assertIn("cpu:0 2/3, fake:0 1/3 nodes", self.expect(OK, *args).stderr)
        self.assertEqual(document(*args)["nodes"], {"cpu:0": 2, "fake:0": 1})
        self.expect(OK, "compare", path, "-d", "cpu,cpu")
        mixed = self.dir / "mixed.npz"
        self.expect(OK, *args, "--outputs", mixed)
        self.expect(OK, "run", path, "-i", "x=random", "-d", "cpu", "--expect", mixed)
        placement = document("inspect", path, "-d", "fake:0,cpu", "--placement")["placement"]
        self.assertEqual([node["device"] for node in placement], ["fake:0", "cpu:0", "cpu:0"])
        self.assertIsNone(placement[0]["reason"])
        self.assertTrue(placement[1]["reason"])

    def test_two_devices_share_the_work(self):
        self.digits(OK, *EXPECT, "--option", "fake.devices=2", "-d", "fake:1,cpu")

    def test_faults_end_with_the_right_code(self):
        for plan, code in (("open#1=fail", DEVICE), ("alloc#1+=oom", MEMORY), ("stream#1=oom", MEMORY),
                           ("launch#1=lost", LOST), ("launch#3=lost", LOST), ("run#3=lost", LOST),
                           ("sync#1=lost", LOST), ("copy#1=lost", LOST), ("launch#2=fail", INTERNAL)):
            with self.subTest(plan=plan):
                self.digits(code, "-d", "fake:0", "--option", f"fake.plan={plan}")

    def test_a_device_too_small(self):
        out = self.dir / "y.npy"
        self.digits(MEMORY, "-d", "fake:0", "--option", "fake.memory=65536", "-o", f"scores=@{out}",
                    text="fake:0")
        self.assertEqual(self.files(), [])

    def test_a_device_lost_in_a_measurement(self):
        self.expect(LOST, "bench", MODEL, "-d", "fake:0", "--option", "fake.plan=sync#20=lost",
                    text="fake:0")

    def test_an_operator_that_fails_on_its_data(self):
        path = self.model([("Gather", ["c", "i"], ["y"], {}, "pick")],
                          inputs=[w.value_info("i", [2], w.INT64)],
                          initializers=[w.tensor("c", [3], [1.0, 2.0, 3.0])])
        self.expect(OK, "run", path, "-i", "i=random:0:0..2", "-d", "fake:0")
        self.expect(RUN, "run", path, "-i", "i=random:0:7..9", "-d", "fake:0", text="pick")

    def test_compare_agrees_with_cpu(self):
        self.expect(OK, "compare", MODEL, "-d", "cpu,fake:0")

    def test_a_profile_has_a_slice_for_each_step(self):
        trace = self.dir / "trace.json"
        for devices in ("cpu", "fake:0"):
            self.expect(OK, "bench", MODEL, "-d", devices, "--warmup", 0, "--duration", 1, "--profile",
                        trace)
            slices = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"]
            kernels = [s for s in slices if s["args"]["nodes"]]
            nodes = [n for s in kernels for n in s["args"]["nodes"]]
            # Flatten does nothing.
            self.assertEqual({node.split("_")[0].rstrip("12") for node in nodes},
                             {"conv", "relu", "linear", "softmax"})
            steps = document("inspect", MODEL, "-d", devices)["steps"]
            self.assertEqual(len([s for s in slices if s["name"] != "wait"]), steps)
            for before, after in zip(slices, slices[1:]):
                self.assertGreaterEqual(after["ts"] + 1e-3, before["ts"] + before["dur"])
            self.assertTrue(all(s["args"]["bytes"] > 0 for s in kernels))
            timed = {s["args"]["timed"] for s in kernels}
            self.assertEqual(timed, {"work" if devices == "cpu" else "handing over"})
            self.assertEqual([s["name"] for s in slices].count("wait"), devices != "cpu")


if __name__ == "__main__":
    main()
