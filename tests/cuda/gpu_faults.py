#!/usr/bin/env python3
"""The command on a GPU where what it needs is missing, old, hidden, taken or broken.

    gpu_faults.py MINIINFER DIGITS_FOLDER TESTS_FOLDER

TESTS_FOLDER is tests/cuda of a build or tests of a bundle: it has gpu_session_test, and folders of
stand-ins for NVIDIA's libraries. Each case is a process of its own. Ends with 77 and the reason where
there is no GPU; what needs none is in plugin_file_test.py.
"""

import json
import os
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "command"))
from cli import DEVICE, DIGITS, LOST, MEMORY, MODEL, OK, SAMPLES, Case, document, run  # noqa: E402

TESTS = Path(sys.argv[3]).resolve()
EXPECT = ["--expect", DIGITS / "expected.npz"]
GIVEN = os.environ.get("MINIINFER_CUDA_LIBRARIES", "")


def gpus(**env):
    return [d for d in document("devices", env=env)["devices"] if d["backend"] == "cuda"]


class Driver(Case):
    def test_an_old_one_is_told_with_both_versions_and_the_cpu_serves(self):
        env = {"LD_LIBRARY_PATH": str(TESTS / "old_driver")}
        self.expect(OK, "devices", env=env)
        said = self.expect(DEVICE, "run", MODEL, *SAMPLES, "-d", "cuda:0", env=env).stderr
        self.assertIn("too old", said)
        self.assertIn("CUDA 12.4", said)
        self.assertIn("driver 580", said)
        self.expect(OK, "run", MODEL, *SAMPLES, "-d", "cpu", *EXPECT, env=env)

    def test_listing_initialises_nothing(self):
        times = []
        for _ in range(20):
            before = time.perf_counter()
            run("devices")
            times.append((time.perf_counter() - before) * 1e3)
        print(f"miniinfer devices: {min(times):.1f} ms")
        self.assertLess(min(times), 10)


class VisibleDevices(Case):
    def test_empty_hides_all_and_is_named(self):
        (absent,) = gpus(CUDA_VISIBLE_DEVICES="")
        self.assertEqual(absent["state"], "absent")
        self.assertIn("CUDA_VISIBLE_DEVICES is empty", absent["reason"])
        self.expect(DEVICE, "run", MODEL, *SAMPLES, "-d", "cuda:0", env={"CUDA_VISIBLE_DEVICES": ""},
                    text="CUDA_VISIBLE_DEVICES is empty")
        self.expect(OK, "run", MODEL, *SAMPLES, *EXPECT, env={"CUDA_VISIBLE_DEVICES": ""})

    def test_what_names_no_gpu_hides_all_and_is_quoted(self):
        for wrong in ("99", "-1", "GPU-00000000-0000-0000-0000-000000000000", "nonsense"):
            with self.subTest(wrong=wrong):
                said = self.expect(DEVICE, "run", MODEL, *SAMPLES, "-d", "cuda:0",
                                   env={"CUDA_VISIBLE_DEVICES": wrong}).stderr
                self.assertTrue(wrong in said or "CUDA shows" in said, said)

    def test_a_part_is_what_there_is(self):
        everything = gpus()
        for i, gpu in enumerate(everything):
            env = {"CUDA_VISIBLE_DEVICES": str(i), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
            (seen,) = gpus(**env)
            self.assertEqual((seen["id"], seen["bus_id"]), ("cuda:0", gpu["bus_id"]))
            self.expect(OK, "run", MODEL, *SAMPLES, "-d", "cuda:0", *EXPECT, env=env)
            self.expect(DEVICE, "run", MODEL, *SAMPLES, "-d", "cuda:1", env=env, text="cuda:1")
        # What comes after a number that names nothing does not count.
        (seen,) = gpus(CUDA_VISIBLE_DEVICES="0,99", CUDA_DEVICE_ORDER="PCI_BUS_ID")
        self.assertEqual(seen["bus_id"], everything[0]["bus_id"])

    def test_a_number_too_large_lists_the_devices_there_are(self):
        said = self.expect(DEVICE, "run", MODEL, *SAMPLES, "-d", f"cuda:{len(gpus())}").stderr
        self.assertIn("cuda:0", said)


class Libraries(Case):
    """Each missing alone: a stand-in of an old version is found before any other of that name. Where
    the plugin looks further and finds a real one, the case is a skip."""

    def without(self, title, folder, *args):
        """A command with a log that names the libraries that were taken."""
        places = [str(TESTS / folder)]
        env = {"LD_LIBRARY_PATH": ":".join(filter(None, places + [os.environ.get("LD_LIBRARY_PATH")])),
               "MINIINFER_CUDA_LIBRARIES": ":".join(places + [self.others(folder)])}
        result = run(*args, "--log", "info", env=env)
        taken = re.search(rf"{title} [\d.]+: (\S+)", result.stderr)
        if taken:
            self.skipTest(f"{title} cannot be hidden: {taken[1]}")
        return result

    def others(self, folder):
        """A folder with links to the given libraries that the stand-ins do not replace."""
        names = {file.name.split(".so")[0] for file in (TESTS / folder).iterdir()}
        links = self.dir / "libraries"
        links.mkdir(exist_ok=True)
        for place in filter(None, GIVEN.split(":")):
            for file in Path(place).rglob("lib*.so*"):
                link = links / file.name
                if file.name.split(".so")[0] not in names and not link.exists():
                    link.symlink_to(file.resolve())
        return str(links)

    def test_without_cublas_products_are_refused_with_the_places_and_the_rest_runs(self):
        strict = self.without("cuBLASLt", "old_cublas_lt", "run", MODEL, *SAMPLES, "-d", "cuda:0")
        self.assertEqual(strict.returncode, DEVICE, strict.stderr)
        for part in ("Gemm", "libcublasLt.so.13", "is version 12.4.1, 13 is needed"):
            self.assertIn(part, strict.stderr)
        mixed = self.without("cuBLASLt", "old_cublas_lt", "run", MODEL, *SAMPLES, "-d", "cuda:0,cpu",
                             "--json", *EXPECT)
        self.assertEqual(mixed.returncode, OK, mixed.stderr)
        nodes = json.loads(mixed.stdout)["nodes"]
        self.assertGreaterEqual(nodes["cpu:0"], 1)
        self.assertGreaterEqual(nodes["cuda:0"], 1)

    def test_without_cudnn_convolutions_run_by_kernels_of_ours_and_a_warning_says_so(self):
        said = self.without("cuDNN", "old_cudnn", "run", MODEL, *SAMPLES, "-d", "cuda:0", *EXPECT)
        self.assertEqual(said.returncode, OK, said.stderr)
        self.assertIn("convolutions run without cuDNN", said.stderr)
        self.assertIn("is version 8.9.7, 9.0 or newer is needed", said.stderr)

    def test_without_nvrtc_elementwise_programs_are_interpreted_and_a_warning_says_so(self):
        path = self.model([("Sin", ["x"], ["a"]), ("Mul", ["a", "x"], ["b"]), ("Exp", ["b"], ["y"])])
        said = self.without("NVRTC", "old_nvrtc", "compare", path, "-d", "cpu,cuda:0")
        self.assertEqual(said.returncode, OK, said.stderr)
        self.assertIn("pointwise programs are interpreted", said.stderr)
        self.assertIn("is version 12.4, 13 is needed", said.stderr)


class Memory(Case):
    def test_what_another_process_holds_ends_with_the_numbers_and_code_6(self):
        holder = subprocess.Popen([TESTS / "gpu_session_test", "--no-skip",
                                   "--test-case=own process: hold all memory"],
                                  stdout=subprocess.PIPE, text=True)
        try:
            self.assertTrue(any(line.startswith("holding") for line in holder.stdout))
            said = self.expect(MEMORY, "run", MODEL, "-i", "image=random", "--shape",
                               "image=1048576x1x8x8", "-d", "cuda:0").stderr
            self.assertRegex(said, r"cuda:0|GPU at")
        finally:
            holder.kill()
            holder.wait()
            holder.stdout.close()
        for _ in range(50):  # the driver takes a moment to give it back
            result = run("run", MODEL, *SAMPLES, "-d", "cuda:0", *EXPECT)
            if result.returncode != MEMORY:
                break
            time.sleep(0.1)
        self.assertEqual(result.returncode, OK, result.stderr)


class Fault(Case):
    def test_a_kernels_fault_loses_the_device_and_ends_with_code_7(self):
        places = filter(None, [str(TESTS / "faulty_cublas_lt"), GIVEN])
        env = {"MINIINFER_CUDA_LIBRARIES": ":".join(places)}
        out = self.dir / "scores.npy"
        begin = time.perf_counter()
        said = self.expect(LOST, "run", MODEL, *SAMPLES, "-d", "cuda:0", "-o", f"scores=@{out}",
                           env=env).stderr
        print(f"lost and ended in {time.perf_counter() - begin:.1f} s: {said.splitlines()[0]}")
        self.assertIn("DEVICE_LOST", said)
        self.assertIn("700", said)
        self.assertEqual(self.files(), [])
        self.expect(OK, "run", MODEL, *SAMPLES, "-d", "cuda:0", *EXPECT)  # others are not touched


if __name__ == "__main__":
    usable = run("devices", "--open", "--json")
    found = [d for d in json.loads(usable.stdout)["devices"] if d["backend"] == "cuda"]
    if not any(d["opened"] for d in found):
        print("skipped:", found[0]["reason"] if found else "there is no CUDA plugin")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], "-v"])
