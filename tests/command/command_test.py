#!/usr/bin/env python3
"""The command as its user meets it: exit codes, messages, files, JSON.

    command_test.py MINIINFER DIGITS_FOLDER

Needs Python's own library alone. Bad input is made here; nothing may end by a signal.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "models"))
import write_models as w  # noqa: E402

MINIINFER, DIGITS = sys.argv[1], Path(sys.argv[2])
MODEL = DIGITS / "digits.onnx"
OK, DIFFERENT, USAGE, MODEL_REJECTED, PLUGIN, DEVICE, MEMORY, LOST, STOPPED, FILE, RUN = range(11)


def run(*args, env=None, timeout=60, **how):
    how.setdefault("stdout", subprocess.PIPE)
    how.setdefault("stderr", subprocess.PIPE)
    return subprocess.run([MINIINFER, *map(str, args)], env={**os.environ, **(env or {})},
                          timeout=timeout, text=True, **how)


class Command(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.dir = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def expect(self, code, *args, text=None, **how):
        """Runs, checks the exit code and that a failure says so in one line on stderr."""
        result = run(*args, **how)
        self.assertEqual(result.returncode, code, f"{args}\n{result.stdout}\n{result.stderr}")
        if code not in (OK, DIFFERENT):
            errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
            self.assertEqual(len(errors), 1, result.stderr)
        if text:
            self.assertIn(text, result.stderr + result.stdout)
        return result

    def model(self, nodes, inputs=None, outputs=None, name="m", initializers=(), opset=17, ir=8):
        """Writes a model; `nodes` are (op, inputs, outputs, attributes)."""
        m = w.Model(name, 1)
        for op, ins, outs, *attributes in nodes:
            m.node(op, ins, outputs=outs, **(attributes[0] if attributes else {}))
        m.initializers = list(initializers)
        m.opset = opset
        m.write(self.dir, inputs or [w.value_info("x", [2])],
                outputs or [w.value_info("y", [2])])
        return self.dir / f"{name}.onnx"

    # -- usage

    def test_help_and_version(self):
        self.assertIn("boundary v0.1", self.expect(OK, "--version").stdout)
        self.assertIn("exit codes", self.expect(OK, "--help").stdout)
        for sub in ("devices", "run", "bench", "compare", "inspect", "conformance", "env", "doctor"):
            self.assertIn("--json", self.expect(OK, sub, "--help").stdout)

    def test_wrong_usage(self):
        for args in ([], ["nosuch"], ["run"], ["run", MODEL, "--nosuch"], ["run", MODEL, "-d"],
                     ["devices", "extra"], ["run", MODEL, "--threads", "-1"],
                     ["run", MODEL, "--log", "loud"], ["plugin"]):
            with self.subTest(args=args):
                self.expect(USAGE, *args)

    # -- devices

    def test_devices(self):
        self.assertIn("cpu:0", self.expect(OK, "devices").stdout)
        document = json.loads(self.expect(OK, "devices", "--json").stdout)
        self.assertEqual(document["schema_version"], 1)
        self.assertIsNone(document["error"])
        cpu = [d for d in document["devices"] if d["id"] == "cpu:0"][0]
        self.assertEqual(cpu["state"], "ready")
        self.assertIn("float32", cpu["types"])
        self.assertGreaterEqual(cpu["threads"], 1)

    def test_no_plugins_at_all(self):
        result = self.expect(OK, "devices", "--json", env={"MINIINFER_PLUGINS": "none"})
        self.assertEqual([d["id"] for d in json.loads(result.stdout)["devices"]], ["cpu:0"])

    def test_device_lists(self):
        samples = ["--inputs", DIGITS / "samples.npz"]
        self.expect(DEVICE, "run", MODEL, "-d", "nosuch", *samples, text="cpu:0")
        self.expect(DEVICE, "run", MODEL, "-d", "cpu:99", *samples)
        for bad in ("cpu:-1", "cpu:18446744073709551616", "cpu:", ":0", "cpu,,cpu", "CPU"):
            with self.subTest(bad=bad):
                self.expect(USAGE, "run", MODEL, "-d", bad, *samples)
        self.expect(OK, "run", MODEL, "-d", "nosuch,cpu", *samples, text="warning")

    # -- running

    def test_digits(self):
        result = self.expect(OK, "run", MODEL, "--inputs", DIGITS / "samples.npz",
                             "--expect", DIGITS / "expected.npz")
        self.assertIn("float32[20,10]", result.stdout)
        self.assertIn("equal", result.stdout)

    def test_outputs_are_whole_or_not_there(self):
        out = self.dir / "scores.npy"
        samples = ["--inputs", DIGITS / "samples.npz"]
        self.expect(OK, "run", MODEL, *samples, "-o", f"scores=@{out}")
        self.assertTrue(out.read_bytes().startswith(b"\x93NUMPY"))
        both = self.dir / "all.npz"
        self.expect(OK, "run", MODEL, *samples, "--outputs", both)
        self.expect(OK, "run", MODEL, *samples, "--expect", both, "--rtol", 0, "--atol", 0)
        self.expect(FILE, "run", MODEL, *samples, "-o", "scores=@/nonexistent/x.npy")
        self.expect(USAGE, "run", MODEL, *samples, "-o", "labels=@" + str(out))
        self.expect(USAGE, "run", MODEL, *samples, "-o", "scores")
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["all.npz", "scores.npy"])

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

    def test_bad_npy_files(self):
        def header(text, magic=b"\x93NUMPY\x01\x00"):
            return magic + len(text).to_bytes(2, "little") + text.encode()
        good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8), }\n"
        cases = {"empty": b"", "magic": b"PK\x03\x04", "short": header(good) + bytes(8),
                 "long": header(good) + bytes(1000), "object": header(good.replace("<f4", "|O")),
                 "code": header("__import__('os').abort()"),
                 "negative": header(good.replace("(1, 1, 8, 8)", "(-1, 1, 8, 8)")),
                 "overflow": header(good.replace("(1, 1, 8, 8)", "(4611686018427387904, 8)")),
                 "version": header(good, b"\x93NUMPY\x09\x00")}
        for name, data in cases.items():
            with self.subTest(name=name):
                path = self.dir / "bad.npy"
                path.write_bytes(data)
                result = run("run", MODEL, "-i", f"image=@{path}")
                self.assertIn(result.returncode, (USAGE, MODEL_REJECTED, MEMORY, FILE), result.stderr)
                self.assertIn("error: ", result.stderr)

    # -- model files

    def test_model_files_that_are_none(self):
        self.expect(FILE, "run", self.dir / "missing.onnx", text="missing.onnx")
        empty = self.dir / "empty.onnx"
        empty.touch()
        self.expect(MODEL_REJECTED, "run", empty, text="empty")
        self.assertIn(run("run", self.dir).returncode, (FILE, MODEL_REJECTED))
        fifo = self.dir / "fifo.onnx"
        os.mkfifo(fifo)
        self.assertIn(run("run", fifo, timeout=20).returncode, (FILE, MODEL_REJECTED))
        text = self.dir / "text.onnx"
        text.write_text("this is no model\n" * 100)
        self.expect(MODEL_REJECTED, "run", text)

    def test_truncated_models(self):
        data = MODEL.read_bytes()
        path = self.dir / "cut.onnx"
        for i in range(1, 40):
            path.write_bytes(data[:len(data) * i // 40])
            result = run("inspect", path)
            self.assertEqual(result.returncode, MODEL_REJECTED, f"{i}: {result.stderr}")

    def test_every_unknown_operator_is_listed(self):
        path = self.model([("NoSuch", ["x"], ["a"]), ("Relu", ["a"], ["b"]),
                           ("NorThis", ["b"], ["y"])])
        result = self.expect(MODEL_REJECTED, "run", path, "-i", "x=zeros")
        self.assertIn("NoSuch", result.stderr)
        self.assertIn("NorThis", result.stderr)
        document = json.loads(run("inspect", path, "--json").stdout)
        self.assertEqual([n["operator"] for n in document["error"]["nodes"]], ["NoSuch", "NorThis"])
        self.expect(MODEL_REJECTED, "run", self.model([("Relu", ["x"], ["y"])], opset=1000), text="1000")

    def test_graphs_that_are_none(self):
        for nodes in ([("Relu", ["y"], ["y"])],
                      [("Neg", ["b"], ["a"]), ("Neg", ["a"], ["b"]), ("Add", ["a", "x"], ["y"])],
                      [("Relu", ["x"], ["y"]), ("Neg", ["x"], ["y"])],
                      [("Add", ["x", "nowhere"], ["y"])],
                      [("Relu", ["x"], ["z"])]):
            with self.subTest(nodes=nodes):
                self.expect(MODEL_REJECTED, "run", self.model(nodes), "-i", "x=zeros")

    def test_shapes_that_overflow(self):
        path = self.model([("Relu", ["x"], ["y"])],
                          inputs=[w.value_info("x", [1 << 62, 8])],
                          outputs=[w.value_info("y", [1 << 62, 8])])
        self.assertIn(run("run", path, "-i", "x=zeros").returncode, (MODEL_REJECTED, MEMORY, USAGE))
        huge = self.model([("ConstantOfShape", ["n"], ["y"])], name="huge",
                          initializers=[w.tensor("n", [2], [1 << 20, 1 << 20], w.INT64)],
                          outputs=[w.value_info("y", ["a", "b"])])
        self.assertIn(run("run", huge, "-i", "x=zeros").returncode, (MODEL_REJECTED, MEMORY))

    def test_data_of_the_wrong_size(self):
        bad = w.field(1, 3) + w.field(2, w.FLOAT) + w.field(8, "c") + w.field(9, bytes(8))
        path = self.model([("Add", ["x", "c"], ["y"])], initializers=[bad])
        self.expect(MODEL_REJECTED, "run", path, "-i", "x=zeros", text="c")

    def test_external_data_stays_beneath_the_model(self):
        outside = self.dir / "outside.bin"
        outside.write_bytes(bytes(8))
        inner = self.dir / "inner"
        inner.mkdir()
        (inner / "link.bin").symlink_to(outside)
        (inner / "good.bin").write_bytes(bytes(8))
        for location, code in (("../outside.bin", MODEL_REJECTED), (str(outside), MODEL_REJECTED),
                               ("link.bin", MODEL_REJECTED), ("", MODEL_REJECTED),
                               (".", MODEL_REJECTED), ("good.bin", OK)):
            with self.subTest(location=location):
                entry = w.field(1, "location") + w.field(2, location)
                tensor = (w.field(1, 2) + w.field(2, w.FLOAT) + w.field(8, "c") +
                          w.field(13, entry) + w.field(14, 1))
                path = self.model([("Add", ["x", "c"], ["y"])], initializers=[tensor])
                path = path.rename(inner / "m.onnx")
                result = run("run", path, "-i", "x=zeros")
                if code == OK:
                    self.assertEqual(result.returncode, OK, result.stderr)
                else:
                    self.assertIn(result.returncode, (MODEL_REJECTED, FILE), result.stderr)

    def test_index_out_of_range_in_the_data(self):
        path = self.model([("Gather", ["c", "i"], ["y"])],
                          inputs=[w.value_info("i", [2], w.INT64)],
                          initializers=[w.tensor("c", [3], [1.0, 2.0, 3.0])])
        self.expect(OK, "run", path, "-i", "i=random:0:-3..2")
        self.expect(RUN, "run", path, "-i", "i=random:0:7..9", text="out of range")

    # -- limits, time, signals

    def test_limits(self):
        self.expect(MEMORY, "run", MODEL, "-i", "image=zeros", "--shape", "image=1000x1x8x8",
                    "--mem-limit", "cpu=64K", text="limit")
        self.expect(USAGE, "run", MODEL, "-i", "image=zeros", "--mem-limit", "cpu=lots")
        self.expect(USAGE, "run", MODEL, "-i", "image=zeros", "--mem-limit", "64K")

    def test_interrupt(self):
        process = subprocess.Popen([MINIINFER, "bench", MODEL, "--duration", "60000"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        self.assertEqual(process.returncode, STOPPED)

    def test_stdout_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            self.expect(FILE, "devices", stdout=full)
            self.expect(FILE, "devices", "--json", stdout=full)
        result = subprocess.run(f"'{MINIINFER}' devices >&-", shell=True, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, FILE)
        result = subprocess.run(["bash", "-c", f"'{MINIINFER}' run '{MODEL}' --inputs "
                                 f"'{DIGITS}/samples.npz' --json | true; exit ${{PIPESTATUS[0]}}"])
        self.assertIn(result.returncode, (OK, FILE))

    # -- the other subcommands

    def test_json_is_one_document_also_on_failure(self):
        for args in (["run", self.dir / "missing.onnx", "--json"],
                     ["run", MODEL, "--inputs", DIGITS / "samples.npz", "--json"],
                     ["inspect", MODEL, "--json", "--placement", "--passes"],
                     ["bench", MODEL, "--json", "--warmup", "5", "--duration", "20"],
                     ["plugin", "list", "--json"], ["plugin", "check", MODEL, "--json"],
                     ["env", "--json"], ["doctor", "--json"],
                     ["compare", MODEL, "-d", "cpu,cpu", "--json"]):
            with self.subTest(args=args):
                document = json.loads(run(*args).stdout)
                self.assertEqual(document["schema_version"], 1)
                self.assertIn("error", document)

    def test_inspect(self):
        out = self.expect(OK, "inspect", MODEL, "--placement").stdout
        for text in ("IR 8, opset 17", "float32[N,1,8,8]", "cpu:0 7/7", "Conv 2", "softmax"):
            self.assertIn(text, out)

    def test_bench(self):
        out = self.expect(OK, "bench", MODEL, "--warmup", "5", "--duration", "50").stdout
        self.assertIn("MEDIAN us", out)
        self.assertIn("7/7", out)

    def test_plugin_check(self):
        self.expect(PLUGIN, "plugin", "check", MODEL)
        self.expect(PLUGIN, "plugin", "check", self.dir / "missing.so")
        fifo = self.dir / "libminiinfer_x.so"
        os.mkfifo(fifo)
        self.expect(PLUGIN, "plugin", "check", fifo, timeout=20)

    def test_doctor(self):
        out = self.expect(OK, "doctor").stdout
        self.assertIn("digits on cpu:0, max error", out)

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
    unittest.main(argv=[sys.argv[0], "-v"])
