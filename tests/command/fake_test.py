#!/usr/bin/env python3
"""The digits model on the fake device, through the command: fake_test.py MINIINFER DIGITS_FOLDER"""

import subprocess
import sys
import unittest

MINIINFER, DIGITS = sys.argv[1], sys.argv[2]


def run(*args):
    return subprocess.run([MINIINFER, *args], capture_output=True, text=True, timeout=120)


class Fake(unittest.TestCase):
    def digits(self, *args, devices="fake:0"):
        return run("run", DIGITS + "/digits.onnx", "-d", devices, "--inputs",
                   DIGITS + "/samples.npz", *args)

    def test_it_is_listed_and_never_the_default(self):
        out = run("devices").stdout
        self.assertIn("fake:0", out)
        self.assertIn("cpu:0 *", out)

    def test_digits_strictly_placed(self):
        result = self.digits("--expect", DIGITS + "/expected.npz")
        self.assertEqual(result.returncode, 0, result.stderr)
        placement = run("inspect", DIGITS + "/digits.onnx", "-d", "fake:0").stdout
        self.assertIn("fake:0 7/7", placement)
        self.assertNotIn("ledger", result.stderr)

    def test_two_devices_share_the_work(self):
        result = self.digits("--expect", DIGITS + "/expected.npz", "--option", "fake.devices=2",
                             devices="fake:1,cpu")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_faults_end_with_the_right_code(self):
        for plan, code in (("alloc#1=oom", 6), ("launch#1=lost", 7), ("sync#1=lost", 7),
                           ("copy#1=lost", 7), ("launch#2=fail", 70)):
            with self.subTest(plan=plan):
                result = self.digits("--option", f"fake.plan={plan}")
                self.assertEqual(result.returncode, code, result.stderr)
                self.assertIn("error: ", result.stderr)

    def test_compare_agrees_with_cpu(self):
        result = run("compare", DIGITS + "/digits.onnx", "-d", "cpu,fake:0")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
