#!/usr/bin/env python3
"""The command as its user meets it: command_test.py MINIINFER DIGITS_FOLDER"""

import hashlib
import json
import os
import pickle

from cli import (DEVICE, DIFFERENT, DIGITS, FILE, MEMORY, MODEL, OK, PLUGIN, SAMPLES, USAGE, Case, document,
                 main, run, w)


class Command(Case):
    # -- usage

    def test_help_and_version(self):
        self.assertIn("boundary v0.1", self.expect(OK, "--version").stdout)
        self.assertIn("exit codes", self.expect(OK, "--help").stdout)
        for sub in ("devices", "run", "bench", "compare", "inspect", "conformance", "mem plan",
                    "mem pack", "mem replay", "plugin list", "plugin check", "env", "doctor"):
            out = self.expect(OK, *sub.split(), "--help").stdout
            self.assertIn(f"Usage: miniinfer {sub} ", out)
            self.assertIn("--json", out)
            self.assertLessEqual(max(map(len, out.splitlines())), 110, out)

    def test_wrong_usage(self):
        for args in ([], ["nosuch"], ["run"], ["run", MODEL, "--nosuch"], ["run", MODEL, "-d"],
                     ["devices", "extra"], ["run", MODEL, "--threads", "-1"],
                     ["run", MODEL, "--log", "loud"], ["plugin"], ["mem"]):
            with self.subTest(args=args):
                self.expect(USAGE, *args)

    # -- devices

    def test_devices(self):
        self.assertIn("cpu:0", self.expect(OK, "devices").stdout)
        cpu = [d for d in document("devices")["devices"] if d["id"] == "cpu:0"][0]
        self.assertEqual(cpu["state"], "ready")
        self.assertIn("float32", cpu["types"])
        self.assertGreaterEqual(cpu["threads"], 1)

    def test_no_plugins_at_all(self):
        devices = document("devices", env={"MINIINFER_PLUGINS": "none"})["devices"]
        self.assertEqual([d["id"] for d in devices], ["cpu:0"])

    def test_device_lists(self):
        self.expect(DEVICE, "run", MODEL, "-d", "nosuch", *SAMPLES, text="cpu:0")
        self.expect(DEVICE, "run", MODEL, "-d", "cpu:99", *SAMPLES)
        for bad in ("cpu:-1", "cpu:18446744073709551616", "cpu:", ":0", "cpu,,cpu", "CPU"):
            with self.subTest(bad=bad):
                self.expect(USAGE, "run", MODEL, "-d", bad, *SAMPLES)
        self.expect(OK, "run", MODEL, "-d", "nosuch,cpu", *SAMPLES, text="warning")
        for level, shown in (("warn", True), ("error", False)):
            result = run("run", MODEL, "-d", "nosuch,cpu", *SAMPLES, "--json", "--log", level)
            self.assertEqual("warning" in result.stderr, shown)
            warning = json.loads(result.stdout)["warnings"][0]
            self.assertEqual(warning["code"], "devices")
            self.assertIn("nosuch", warning["message"])

    # -- running

    def test_digits(self):
        result = self.expect(OK, "run", MODEL, "--inputs", DIGITS / "samples.npz",
                             "--expect", DIGITS / "expected.npz")
        self.assertIn("float32[20,10]", result.stdout)
        self.assertIn("equal", result.stdout)

    def test_output_files(self):
        out = self.dir / "scores.npy"
        self.expect(OK, "run", MODEL, *SAMPLES, "-o", f"scores=@{out}")
        self.assertTrue(out.read_bytes().startswith(b"\x93NUMPY"))
        both = self.dir / "all.npz"
        self.expect(OK, "run", MODEL, *SAMPLES, "--outputs", both)
        self.expect(OK, "run", MODEL, *SAMPLES, "--expect", both, "--rtol", 0, "--atol", 0)
        self.expect(USAGE, "run", MODEL, *SAMPLES, "-o", f"labels=@{out}", text="outputs: scores")
        self.expect(USAGE, "run", MODEL, *SAMPLES, "-o", "scores")
        self.assertEqual(self.files(), ["all.npz", "scores.npy"])

    def test_memory_snapshot(self):
        for device in ("cpu:0", "fake:0"):
            with self.subTest(device=device):
                file = self.dir / "memory.pickle"
                self.expect(OK, "run", MODEL, *SAMPLES, "-d", device, "--memory-snapshot", file)
                snapshot = pickle.loads(file.read_bytes())
                names = {frame["name"] for segment in snapshot["segments"] for block in segment["blocks"]
                         for frame in block["frames"]}
                self.assertIn("weights", names)
                file = self.dir / "memory.json"
                self.expect(OK, "run", MODEL, *SAMPLES, "-d", device, "--memory-snapshot", file)
                self.assertIn("traceEvents", json.loads(file.read_text()))
        self.expect(USAGE, "run", MODEL, *SAMPLES, "--memory-snapshot", self.dir / "memory.txt",
                    text=".pickle, .json or .csv")
        self.expect(FILE, "run", MODEL, *SAMPLES, "--memory-snapshot", self.dir / "no" / "memory.csv")

    def test_a_pool_that_fails_is_written_where_the_environment_says(self):
        result = self.expect(MEMORY, "run", MODEL, *SAMPLES, "-d", "fake:0",
                             env={"MINIINFER_MEMORY": "limit=64K", "MINIINFER_MEMORY_SNAPSHOT": str(self.dir)})
        [file] = self.dir.glob("memory-fake-0-*.pickle")
        self.assertIn(f"what lies where is in {file}", result.stderr)
        self.assertIn("segments", pickle.loads(file.read_bytes()))

    def test_different_outputs(self):
        zeros = self.model([("Sub", ["x", "x"], ["y"])], name="zeros")
        out = self.dir / "y.npz"
        self.expect(OK, "run", zeros, "-i", "x=random", "--outputs", out)
        neg = self.model([("Neg", ["x"], ["y"])], name="neg")
        self.expect(DIFFERENT, "run", neg, "-i", "x=random:3:1..2", "--expect", out, text="differ")

    def test_wrong_inputs(self):
        for args, text in (([], "missing"), (["-i", "picture=zeros"], "image"),
                           (["-i", "image"], "NAME=VALUE"), (["-i", "image=what"], "random"),
                           (["-i", "image=random:x"], "SEED"),
                           (["-i", "image=zeros", "-i", "image=zeros"], "twice"),
                           (["-i", "image=zeros", "--shape", "image=1x2x8x8"], "float32[N,1,8,8]"),
                           (["-i", "image=zeros", "--shape", "image=1x-1x8x8"], "--shape"),
                           (["-i", "image=zeros", "--shape", "nosuch=1"], "image")):
            with self.subTest(args=args):
                self.expect(USAGE, "run", MODEL, *args, text=text)
        self.expect(FILE, "run", MODEL, "-i", "image=@/nonexistent.npy")

    # -- the other subcommands

    def test_inspect(self):
        out = self.expect(OK, "inspect", MODEL, "--placement").stdout
        for text in ("IR 8, opset 17", "float32[N,1,8,8]", "cpu:0 7/7", "Conv 2", "softmax"):
            self.assertIn(text, out)

    def test_inspect_plans_for_the_sizes_given(self):
        peak = [document("inspect", MODEL, *args)["memory"][0]["peak_bytes"]
                for args in ([], ["--shape", "image=20x1x8x8"], SAMPLES)]
        self.assertLess(peak[0], peak[1])
        self.assertEqual(peak[1], peak[2])

    def test_bench(self):
        out = self.expect(OK, "bench", MODEL, "--warmup", "5", "--duration", "50").stdout
        self.assertIn("MEDIAN us", out)
        self.assertIn("7/7", out)

    def test_bench_verifies_what_it_timed(self):
        row = document("bench", MODEL, "--warmup", 0, "--duration", 1)["results"][0]
        self.assertIs(row["verified"], True)
        self.assertLess(row["max_abs_error"], 1e-5)
        self.assertEqual(row["model_sha256"], hashlib.sha256(MODEL.read_bytes()).hexdigest())
        row = document("bench", MODEL, "--warmup", 0, "--duration", 1, "--no-verify")["results"][0]
        self.assertIsNone(row["verified"])

    def test_bench_says_when_the_outputs_are_wrong(self):
        # A difference of large numbers, which a batch normalisation inside the convolution rounds
        # elsewhere.
        sizes = [1, 1, 4, 4]
        path = self.model([("Conv", ["x", "w"], ["a"]),
                           ("BatchNormalization", ["a", "one", "zero", "mean", "one"], ["y"])],
                          inputs=[w.value_info("x", sizes)], outputs=[w.value_info("y", sizes)],
                          initializers=[w.tensor("w", [1, 1, 1, 1], [1000.1]), w.tensor("one", [1], [1.0]),
                                        w.tensor("zero", [1], [0.0]), w.tensor("mean", [1], [1e6])])
        args = ["bench", path, "--warmup", 0, "--duration", 1, "-i", "x=random:0:999..1000"]
        self.expect(DIFFERENT, *args, text="warning: output y differs")
        self.assertIs(document(*args)["results"][0]["verified"], False)
        self.expect(DIFFERENT, *args, "--threads", "1,2")
        self.expect(OK, *args, "--no-verify")

    def test_sha256_at_the_edges_of_its_blocks(self):
        # A comment of the right length (the field doc_string) after a model of 2 nodes.
        plain = self.model([("Neg", ["x"], ["y"])]).read_bytes()
        for extra in [*range(3, 70), (1 << 20) - len(plain), (1 << 20) - len(plain) + 1]:
            size = extra - 2 if extra < 130 else extra - 4
            head = b"\x32" + (bytes([size]) if extra < 130 else
                              bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]))
            path = self.dir / "doc.onnx"
            path.write_bytes(plain + head + b"x" * size)
            row = document("bench", path, "--warmup", 0, "--duration", 0, "--no-verify")["results"][0]
            self.assertEqual(row["model_sha256"], hashlib.sha256(path.read_bytes()).hexdigest(), extra)

    def test_bench_gives_a_row_for_each_number_of_threads(self):
        args = ["bench", MODEL, "--warmup", "1", "--duration", "10", "--threads", "1,2"]
        self.assertEqual([row["threads"] for row in document(*args)["results"]], [1, 2])
        out = self.expect(OK, *args).stdout.splitlines()
        self.assertEqual([line.split()[1] for line in out[1:]], ["THREADS", "1", "2"])
        self.expect(USAGE, "bench", MODEL, "--threads", "1,x")
        self.expect(USAGE, "bench", MODEL, "--threads", "1,2", "--profile", self.dir / "t.json")
        self.expect(USAGE, "run", MODEL, "--threads", "1,2")
        # What ends one row ends the command, once, in the same words.
        failed = self.expect(FILE, "bench", self.dir / "none.onnx", "--threads", "1,2", text="none.onnx")
        self.assertEqual(failed.stderr,
                         self.expect(FILE, "bench", self.dir / "none.onnx").stderr)

    def test_plugin_check(self):
        self.expect(PLUGIN, "plugin", "check", MODEL)
        self.expect(PLUGIN, "run", MODEL, *SAMPLES, "--plugin", self.dir / "libminiinfer_no.so")
        self.expect(PLUGIN, "plugin", "check", self.dir / "missing.so")
        fifo = self.dir / "libminiinfer_x.so"
        os.mkfifo(fifo)
        self.expect(PLUGIN, "plugin", "check", fifo, timeout=20)

    def test_doctor(self):
        out = self.expect(OK, "doctor").stdout
        self.assertIn("digits on cpu:0, max error", out)
        self.assertEqual(document("doctor")["problems"], 0)

    def test_conformance(self):
        self.expect(FILE, "conformance", self.dir)
        test = self.dir / "test_digits"
        (test / "test_data_set_0").mkdir(parents=True)
        (test / "model.onnx").write_bytes(MODEL.read_bytes())
        (test / "test_data_set_0" / "input_0.pb").write_bytes((DIGITS / "images.pb").read_bytes())
        (test / "test_data_set_0" / "output_0.pb").write_bytes((DIGITS / "expected.pb").read_bytes())
        junit = self.dir / "report.xml"
        out = self.expect(OK, "conformance", self.dir, "--junit", junit, "--atol", "1e-5").stdout
        self.assertTrue(out.endswith("1 passed, 0 failed, 0 skipped\n"), out)
        self.assertIn("<testcase", junit.read_text())
        self.expect(USAGE, "conformance", self.dir, "--filter", "nothing*")
        wrong = (DIGITS / "expected.pb").read_bytes()
        (test / "test_data_set_0" / "output_0.pb").write_bytes(wrong[:-4] + b"\0\0\x80\x3f")
        self.expect(DIFFERENT, "conformance", self.dir, text="1 failed")


if __name__ == "__main__":
    main()
