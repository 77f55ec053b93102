"""What the tests of the command share: SCRIPT MINIINFER DIGITS_FOLDER

Needs Python's own library alone. Models and files are made here, in a folder that goes with the test.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "models"))
import write_models as w  # noqa: E402

MINIINFER, DIGITS = sys.argv[1], Path(sys.argv[2])
MODEL = DIGITS / "digits.onnx"
SAMPLES = ["--inputs", DIGITS / "samples.npz"]
OK, DIFFERENT, USAGE, MODEL_REJECTED, PLUGIN, DEVICE, MEMORY, LOST, STOPPED, FILE, RUN = range(11)
INTERNAL = 70


def run(*args, env=None, timeout=60, **how):
    how.setdefault("stdout", subprocess.PIPE)
    how.setdefault("stderr", subprocess.PIPE)
    how.setdefault("text", True)
    return subprocess.run([MINIINFER, *map(str, args)], env={**os.environ, **(env or {})},
                          timeout=timeout, **how)


def start(*args):
    return subprocess.Popen([MINIINFER, *map(str, args)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def document(*args, **how):
    """The JSON of a command, which is the whole of its stdout."""
    return json.loads(run(*args, "--json", **how).stdout)


class Case(unittest.TestCase):
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
            self.assertIn(text, result.stderr + (result.stdout or ""))
        return result

    def files(self):
        return sorted(p.name for p in self.dir.iterdir())

    def model(self, nodes, inputs=None, outputs=None, name="m", initializers=(), opset=17, ir=8):
        """Writes a model; `nodes` are (op, inputs, outputs, attributes, name), the last two optional."""
        m = w.Model(name, 1)
        for op, ins, outs, *more in nodes:
            m.node(op, ins, outputs=outs, name=more[1] if len(more) > 1 else None,
                   **(more[0] if more else {}))
        m.initializers = list(initializers)
        m.opset = opset
        m.write(self.dir, inputs or [w.value_info("x", [2])],
                outputs or [w.value_info("y", [2])])
        return self.dir / f"{name}.onnx"

    def slow_model(self):
        """A model of many nodes: it takes a while to load, and to run."""
        m = w.Model("slow", 1)
        x = "x"
        for i in range(30000):
            x = m.node("Sin" if i % 2 else "Softmax", [x],
                       outputs=["y"] if i == 29999 else None)
        m.write(self.dir, [w.value_info("x", [64, 256])], [w.value_info("y", [64, 256])])
        return self.dir / "slow.onnx"


def main():
    unittest.main(argv=[sys.argv[0], "-v"], module="__main__")
