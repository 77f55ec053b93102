#!/usr/bin/env python3
"""The options that run, bench, compare and inspect share do in each what they do in the others:
options_test.py MINIINFER DIGITS_FOLDER"""

import os

from cli import (DEVICE, DIGITS, MEMORY, MODEL, OK, PLUGIN, SAMPLES, USAGE, Case, document, main, run)

QUICK = {"run": ["-i", "image=random"], "bench": ["--warmup", 0, "--duration", 1],
         "compare": ["-d", "cpu,cpu"], "inspect": []}


class Shared(Case):
    def each(self, code, *args, text=None, but=()):
        for command, quick in QUICK.items():
            if command in but:
                continue
            if "-d" in args and command == "compare":
                quick = []
            if "-i" in args or "--inputs" in args:
                quick = [] if command == "run" else quick
            with self.subTest(command=command, args=args):
                self.expect(code, command, MODEL, *quick, *args, text=text)

    def test_devices(self):
        self.each(OK, "-d", "cpu,cpu:0")
        self.each(DEVICE, "-d", "nosuch:0,nosuch:1")
        self.each(USAGE, "-d", "cpu,,cpu")

    def test_inputs(self):
        self.each(OK, "-i", "image=random:7:-1..1")
        self.each(OK, "-i", "image=zeros")
        self.each(OK, *SAMPLES)
        self.each(OK, "--inputs", self.data_set())
        self.each(USAGE, "-i", "picture=zeros", text="inputs: image")
        self.each(USAGE, "-i", "image=nothing")

    def data_set(self):
        folder = self.dir / "test_data_set_0"
        folder.mkdir()
        (folder / "input_0.pb").write_bytes((DIGITS / "images.pb").read_bytes())
        return folder

    def test_shapes(self):
        self.each(OK, "--shape", "image=3x1x8x8")
        self.each(USAGE, "--shape", "image=3x2x8x8", text="float32[N,1,8,8]")
        self.each(USAGE, "--shape", "nosuch=3")
        self.each(USAGE, "--shape", "image=3x")
        for command in ("bench", "compare"):
            row = document(command, MODEL, *QUICK[command], "--shape", "image=3x1x8x8")
            inputs = row["results"][0]["inputs"] if command == "bench" else row["inputs"]
            self.assertEqual(inputs[0]["shape"], [3, 1, 8, 8])

    def test_threads(self):
        self.each(OK, "--threads", "1")
        self.each(OK, "--threads", "0")
        self.each(USAGE, "--threads", "-1")
        self.each(USAGE, "--threads", "many")
        self.assertEqual(document("bench", MODEL, *QUICK["bench"], "--threads", 3)
                         ["results"][0]["threads"], 3)

    def test_precision(self):
        self.each(OK, "--precision", "strict")
        self.each(USAGE, "--precision", "double")
        # What a device lacks is refused in so many words.
        for precision in ("tf32", "bf16", "fp16"):
            result = run("run", MODEL, *SAMPLES, "-d", "cpu", "--precision", precision)
            if result.returncode != OK:
                self.each(DEVICE, "-d", "cpu,cpu", "--precision", precision,
                          text=f"error: UNSUPPORTED: {precision} is not available on cpu:0")

    def test_time_and_memory(self):
        self.each(OK, "--timeout", 60)
        self.each(USAGE, "--timeout", "soon")
        self.each(OK, "--mem-limit", "cpu=1G")
        self.each(USAGE, "--mem-limit", "cpu")
        self.each(USAGE, "--mem-limit", "cpu=much")
        self.each(MEMORY, "--shape", "image=1000x1x8x8", "--mem-limit", "cpu=64K", text="limit")

    def test_memory_is_bounded_by_the_environment(self):
        for name, value in (("MINIINFER_MEMORY", "limit=1K"), ("MINIINFER_MEMORY_LIMIT", "1K"),
                            ("MINIINFER_MEMORY_LIMIT", "cpu=1K")):
            with self.subTest(name=name, value=value):
                result = run("run", MODEL, *SAMPLES, "-d", "cpu", env={name: value})
                self.assertEqual(result.returncode, MEMORY, result.stderr)
                self.assertIn("  refused    by the limit of ", result.stderr)
        memory = document("run", MODEL, *SAMPLES, "-d", "cpu",
                          env={"MINIINFER_MEMORY_LIMIT": "1K"})["error"]["memory"]
        self.assertEqual(memory["limit"]["name"], "this process (MINIINFER_MEMORY_LIMIT)")
        self.assertEqual(memory["limit"]["bytes"], 1024)
        result = run("run", MODEL, *SAMPLES, "-d", "cpu", env={"MINIINFER_MEMORY": "limmit=1K"})
        self.assertNotEqual(result.returncode, OK)
        self.assertIn("MINIINFER_MEMORY: there is no option 'limmit'", result.stderr)

    def test_a_limit_is_checked_before_anything_is_allocated(self):
        # Many GiB of activations.
        self.each(MEMORY, "--shape", "image=16777216x1x8x8", "--mem-limit", "cpu=1M", text="limit is",
                  but=("run", "bench", "compare"))

    def test_plugins_and_logs(self):
        self.each(PLUGIN, "--plugin", MODEL)
        self.each(OK, "--plugin", self.dir)
        self.each(OK, "--log", "debug")
        self.each(USAGE, "--log", "loud")
        said = [run("run", MODEL, *SAMPLES, "-d", "cpu", "--log", level, "--plugin", self.broken()).stderr
                for level in ("off", "warn")]
        self.assertEqual(said[0], "")
        self.assertIn("libminiinfer_broken.so was refused", said[1])

    def broken(self):
        folder = self.dir / "plugins"
        folder.mkdir(exist_ok=True)
        (folder / "libminiinfer_broken.so").write_bytes(os.urandom(100))
        return folder

    def test_passes(self):
        self.each(OK, "--no-pass", "fuse-pointwise", "--no-pass", "in-place")
        self.each(USAGE, "--no-pass", "nosuch", text="passes: ")


if __name__ == "__main__":
    main()
