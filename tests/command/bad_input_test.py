#!/usr/bin/env python3
"""What is wrong with files and arguments ends with its exit code and a message: no signal, no half
written file. bad_input_test.py MINIINFER DIGITS_FOLDER"""

import errno
import json
import os
import resource
import subprocess

from cli import (DEVICE, FILE, MEMORY, MINIINFER, MODEL, MODEL_REJECTED, OK, RUN, SAMPLES,
                 USAGE, Case, document, main, run, w)


def small_files():
    """At most 200 bytes a file: a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))


class Models(Case):
    def test_model_files_that_are_none(self):
        self.expect(FILE, "run", self.dir / "missing.onnx", text="missing.onnx")
        empty = self.dir / "empty.onnx"
        empty.touch()
        self.expect(MODEL_REJECTED, "run", empty, text="empty")
        self.expect(MODEL_REJECTED, "run", self.dir, text="directory")
        fifo = self.dir / "fifo.onnx"
        os.mkfifo(fifo)
        self.expect(MODEL_REJECTED, "run", fifo, text="not a file", timeout=20)
        self.expect(MODEL_REJECTED, "run", "/dev/zero", text="not a file", timeout=20)
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
        failed = document("inspect", path)
        self.assertEqual([n["operator"] for n in failed["error"]["nodes"]], ["NoSuch", "NorThis"])
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

    def test_integer_division_by_zero(self):
        path = self.model([("Div", ["x", "z"], ["y"])],
                          inputs=[w.value_info("x", [2], w.INT64), w.value_info("z", [2], w.INT64)],
                          outputs=[w.value_info("y", [2], w.INT64)])
        self.expect(OK, "run", path, "-i", "x=random", "-i", "z=random:0:1..3")
        self.expect(RUN, "run", path, "-i", "x=random", "-i", "z=zeros", text="div_1")


class Inputs(Case):
    def test_wrong_types_and_shapes(self):
        ints = self.model([("Identity", ["x"], ["y"])], name="ints",
                          inputs=[w.value_info("x", [2, 2], w.INT64)],
                          outputs=[w.value_info("y", [2, 2], w.INT64)])
        floats = self.model([("Identity", ["x"], ["y"])], name="floats")
        out = self.dir / "out.npy"
        self.expect(OK, "run", floats, "-i", "x=random", "-o", f"y=@{out}")
        self.expect(USAGE, "run", ints, "-i", f"x=@{out}", text="input x is int64[2,2], got float32[2]")
        for command in ("run", "bench", "inspect"):
            with self.subTest(command=command):
                self.expect(USAGE, command, MODEL, "-i", f"image=@{out}", text="float32[N,1,8,8]")
                self.expect(USAGE, command, MODEL, "-i", f"picture=@{out}", text="inputs: image")
                self.expect(FILE, command, MODEL, "-i", "image=@/nonexistent.npy")
                self.expect(USAGE, command, MODEL, "-i", f"image=@{self.dir}", text="regular file")
                self.expect(USAGE, command, MODEL, "--inputs", MODEL)

    def test_npz_with_names_that_are_no_inputs(self):
        both = self.dir / "y.npz"
        self.expect(OK, "run", MODEL, *SAMPLES, "--outputs", both)
        self.expect(USAGE, "run", MODEL, "--inputs", both, text="inputs: image")
        self.expect(FILE, "run", MODEL, "--inputs", self.dir / "none.npz")
        self.expect(FILE, "run", MODEL, "--inputs", self.dir)

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

    def test_device_lists(self):
        for bad in ("cpu,", ",cpu", "cpu;cpu", "../cpu", "cpu:0\x1b[2J", "cpu 0", "cpu:+1"):
            with self.subTest(bad=bad):
                self.expect(USAGE, "run", MODEL, "-d", bad, *SAMPLES)
        # What follows the colon may also be the name a device has by itself.
        for absent in ("nosuch:0", "cpu:7", "cpu:GPU-0", "nosuch,cpu:7"):
            with self.subTest(absent=absent):
                self.expect(DEVICE, "run", MODEL, "-d", absent, *SAMPLES, text="cpu:0")


class Outputs(Case):
    def test_a_full_disk_leaves_no_file(self):
        for args in (["-o", f"scores=@{self.dir}/scores.npy"], ["--outputs", self.dir / "all.npz"]):
            with self.subTest(args=args):
                self.expect(FILE, "run", MODEL, *SAMPLES, *args,
                            preexec_fn=small_files, text=os.strerror(errno.EFBIG))
                self.assertEqual(self.files(), [])

    def test_a_full_device(self):
        for args in (["-o", "scores=@/dev/full"], ["--outputs", "/dev/full"]):
            with self.subTest(args=args):
                self.expect(FILE, "run", MODEL, *SAMPLES, *args, text=os.strerror(errno.ENOSPC))

    def test_a_file_that_was_there_stays_as_it_was(self):
        old = self.dir / "scores.npy"
        old.write_bytes(b"old")
        self.expect(FILE, "run", MODEL, *SAMPLES, "-o", f"scores=@{old}",
                    preexec_fn=small_files)
        self.assertEqual(old.read_bytes(), b"old")
        self.assertEqual(self.files(), ["scores.npy"])

    def test_places_that_cannot_be_written(self):
        for path in ("/nonexistent/x", self.dir, f"{MODEL}/x"):
            for args in (["-o", f"scores=@{path}"], ["--outputs", path]):
                with self.subTest(args=args):
                    self.expect(FILE, "run", MODEL, *SAMPLES, *args)
        self.expect(FILE, "bench", MODEL, "--warmup", 0, "--duration", 1, "--profile", "/dev/full")
        self.expect(FILE, "bench", MODEL, "--warmup", 0, "--duration", 1, "--profile",
                    "/nonexistent/trace.json")

    def test_a_reader_that_has_gone_is_silence_and_9(self):
        for args in (["devices"], ["devices", "--json"], ["run", MODEL, *SAMPLES], ["--help"]):
            with self.subTest(args=args):
                reader, writer = os.pipe()
                os.close(reader)
                result = run(*args, stdout=writer)
                os.close(writer)
                self.assertEqual(result.returncode, FILE)
                self.assertNotIn("error", result.stderr)

    def test_stdout_that_is_full_or_closed(self):
        with open("/dev/full", "w") as full:
            self.expect(FILE, "devices", stdout=full)
            self.expect(FILE, "devices", "--json", stdout=full)
        result = subprocess.run(f"'{MINIINFER}' devices >&-", shell=True, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, FILE)


ESCAPE = "\x1b[31mred\x07\x9b2J\u202e\r\nerror: forged"
SAFE = "\\x1b[31mred\\x07"


class Terminals(Case):
    """Names that a file gives must not reach a terminal as they are."""

    def clean(self, result):
        text = result.stdout + result.stderr
        self.assertFalse([c for c in text if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160], text)
        self.assertNotIn("\u202e", text)
        self.assertFalse([line for line in text.splitlines() if line.startswith("error: forged")], text)
        return text

    def test_names_of_a_model(self):
        path = self.model([("Neg", [ESCAPE], [ESCAPE + "a"], {}, ESCAPE + "n"),
                           ("Abs", [ESCAPE + "a"], [ESCAPE + "y"])],
                          inputs=[w.value_info(ESCAPE, [ESCAPE + "N", 2])],
                          outputs=[w.value_info(ESCAPE + "y", [ESCAPE + "N", 2])])
        self.assertIn(SAFE, self.clean(run("inspect", path, "--placement")))
        self.assertIn(SAFE, self.clean(run("run", path, "-i", f"{ESCAPE}=random", "--shape",
                                           f"{ESCAPE}=3x2")))
        self.assertIn(SAFE, self.clean(run("run", path)))
        self.assertIn(SAFE, self.clean(run("run", path, "-i", "x=zeros")))
        self.assertIn(SAFE, self.clean(run("bench", path, "--warmup", 0, "--duration", 1)))
        self.assertIn(SAFE, self.clean(run("compare", path, "-d", "cpu,cpu")))
        result = run("inspect", path, "--placement", "--json")
        self.clean(result)
        self.assertEqual(json.loads(result.stdout)["inputs"][0]["name"], ESCAPE)
        self.assertEqual(json.loads(result.stdout)["placement"][0]["node"], ESCAPE + "n")

    def test_nodes_that_cannot_run(self):
        path = self.model([(ESCAPE, ["x"], ["y"], {}, ESCAPE)])
        self.assertIn(SAFE, self.clean(run("inspect", path)))
        self.assertIn(SAFE, self.clean(run("run", path, "-i", "x=zeros")))

    def test_paths_and_arguments(self):
        self.clean(run(ESCAPE))
        for args in (["run", ESCAPE], ["inspect", ESCAPE], ["run", MODEL, f"--{ESCAPE}"],
                     ["run", MODEL, "-d", ESCAPE], ["plugin", "check", ESCAPE],
                     ["plugin", "list", "--plugin", ESCAPE], ["conformance", ESCAPE],
                     ["run", MODEL, "-i", f"image=@{ESCAPE}"], ["run", MODEL, "--inputs", ESCAPE],
                     ["run", MODEL, *SAMPLES, "-o", f"scores=@/nonexistent/{ESCAPE}"],
                     ["run", MODEL, *SAMPLES, "-o", f"{ESCAPE}=@x"],
                     ["bench", MODEL, "--duration", 1, "--no-pass", ESCAPE]):
            with self.subTest(args=args):
                self.assertIn(SAFE, self.clean(run(*args)))
        self.clean(run("env", env={"MINIINFER_PLUGIN_PATH": ESCAPE}))
        self.clean(run("doctor", env={"MINIINFER_PLUGIN_PATH": ESCAPE, "XDG_CACHE_HOME": "/" + ESCAPE}))

    def test_names_of_files_in_a_folder(self):
        test = self.dir / f"test_{ESCAPE}"
        test.mkdir()
        (test / "model.onnx").write_bytes(b"nothing")
        self.assertIn(SAFE, self.clean(run("conformance", self.dir, "-v")))
        plugins = self.dir / "plugins"
        plugins.mkdir()
        (plugins / f"libminiinfer_{ESCAPE}.so").touch()
        self.assertIn(SAFE, self.clean(run("plugin", "list", "--plugin", plugins)))
        self.assertIn(SAFE, self.clean(run("doctor", "--plugin", plugins)))


if __name__ == "__main__":
    main()
