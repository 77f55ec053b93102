#!/usr/bin/env python3
"""What --json prints is what docs/schemas says, key by key: schema_test.py MINIINFER DIGITS_FOLDER

Every document is validated; then each of its keys is taken away, and each of its values is replaced by
one of another type, and validation has to fail. A key that the schema does not know fails as well.
"""

import copy
import json
import os
import sys
from pathlib import Path

from cli import DIGITS, MODEL, SAMPLES, Case, main, run

try:
    import jsonschema
except ImportError:
    print("SKIP: python3-jsonschema is not installed", file=sys.stderr)
    sys.exit(77)

SCHEMAS = Path(os.environ["MINIINFER_SOURCE"]) / "docs" / "schemas"
QUICK = ["--warmup", 0, "--duration", 1]
# Objects whose keys are data.
MAPS = {"variables", "memory_bytes", "nodes", "opsets", "operators"}


def closed(schema):
    """The same, with no key allowed that is not in it."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        schema["additionalProperties"] = False
    return schema


STORE = {path.name: closed(json.loads(path.read_text())) for path in SCHEMAS.glob("*.json")}


def validator(name):
    cls = jsonschema.Draft202012Validator
    cls.check_schema(STORE[name])
    return cls(STORE[name], resolver=jsonschema.RefResolver("", STORE[name], STORE))


def places(document, path=()):
    """The path of every key and element."""
    items = document.items() if isinstance(document, dict) else \
        enumerate(document) if isinstance(document, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def parent_of(document, path):
    for key in path[:-1]:
        document = document[key]
    return document


class Schemas(Case):
    def check(self, name, *args, fails=False, text=None, **how):
        text = text or run(*args, *([] if "--json" in args else ["--json"]), **how).stdout
        document = json.loads(text)
        valid = validator(name + ".json")
        error = jsonschema.exceptions.best_match(valid.iter_errors(document))
        if error:
            self.fail(f"{args}: {'.'.join(map(str, error.absolute_path))}: {error.message}")
        if "error" in document:
            self.assertEqual(document["error"] is not None, fails, document["error"])
        return document

    def mutate(self, name, document):
        """The schema sees every key that goes and every type that changes."""
        valid = validator(name + ".json")
        tried = 0
        for path in places(document):
            changed = copy.deepcopy(document)
            parent = parent_of(changed, path)
            inside_map = len(path) > 1 and path[-2] in MAPS
            if isinstance(parent, dict) and not inside_map:
                del parent[path[-1]]
                self.assertFalse(valid.is_valid(changed), f"{path} may be missing")
                changed = copy.deepcopy(document)
                parent = parent_of(changed, path)
            value = parent[path[-1]]
            parent[path[-1]] = 7.5 if isinstance(value, (dict, list, str)) else {"7": "5"}
            self.assertFalse(valid.is_valid(changed), f"{path} may be {parent[path[-1]]}")
            tried += 1
        self.assertGreater(tried, 10)

    def good(self, name, *args, **how):
        self.mutate(name, self.check(name, *args, **how))

    def test_devices_and_plugins(self):
        self.good("devices", "devices")
        self.good("devices", "devices", "--open", "--option", "fake.devices=2")
        folder = self.dir / "plugins"
        folder.mkdir()
        (folder / "libminiinfer_broken.so").write_bytes(b"broken")
        self.good("devices", "devices", "--plugin", folder)
        self.good("plugin-list", "plugin", "list", "--plugin", folder)
        self.good("doctor", "doctor", "--plugin", folder)
        fake = Path(os.environ["MINIINFER_BUILD"]) / "plugins" / "libminiinfer_fake.so"
        self.good("plugin-check", "plugin", "check", fake)
        self.check("plugin-check", "plugin", "check", MODEL, fails=True)

    def test_env(self):
        self.good("env", "env")
        self.good("env", "env", env={"MINIINFER_CPU_ISA": "avx2"})

    def test_run(self):
        self.good("run", "run", MODEL, *SAMPLES)
        self.good("run", "run", MODEL, *SAMPLES, "--expect", DIGITS / "expected.npz")
        self.good("run", "run", MODEL, *SAMPLES, "-d", "nosuch,cpu")

    def test_bench(self):
        self.good("bench", "bench", MODEL, *QUICK)
        self.good("bench", "bench", MODEL, *QUICK, "--no-verify", "-d", "fake:0,cpu")
        self.good("bench", "bench", MODEL, *QUICK, "--threads", "1,2", env={"MINIINFER_CPU_ISA": "avx2"})

    def test_mem(self):
        buffers = self.dir / "buffers.csv"
        self.good("mem-plan", "mem", "plan", MODEL, "-o", buffers)
        self.good("mem-plan", "mem", "plan", MODEL, "-d", "fake:0,cpu")
        self.check("mem-plan", "mem", "plan", buffers, fails=True)
        self.good("mem-pack", "mem", "pack", buffers, "--capacity", 1 << 30)
        self.good("mem-pack", "mem", "pack", buffers)
        self.check("mem-pack", "mem", "pack", buffers, "--capacity", 1, fails=True)
        self.check("mem-pack", "mem", "pack", MODEL, fails=True)
        trace = self.dir / "t.trace"
        trace.write_text("a 0 100 0\na 1 1000000000 1\nf 0\n")
        self.good("mem-replay", "mem", "replay", trace, "-d", "fake:0")
        self.mutate("mem-replay", self.check("mem-replay", "mem", "replay", trace, "-d", "fake:0",
                                             "--option", "fake.memory=65536", fails=True))
        self.check("mem-replay", "mem", "replay", MODEL, "-d", "fake:0", fails=True)

    def test_trace(self):
        trace = self.dir / "trace.json"
        run("bench", MODEL, *QUICK, "--profile", trace, "-d", "fake:0,cpu")
        self.mutate("trace", self.check("trace", text=trace.read_text()))

    def test_compare(self):
        self.good("compare", "compare", MODEL, "-d", "cpu,cpu,fake:0")

    def test_inspect(self):
        self.good("inspect", "inspect", MODEL)
        self.good("inspect", "inspect", MODEL, "--placement", "--passes", "-d", "fake:0,cpu")
        loop = self.model([("NonZero", ["x"], ["i"]), ("Cast", ["i"], ["y"], {"to": 1})],
                          outputs=None)
        self.good("inspect", "inspect", loop)

    def test_conformance(self):
        for name, expected in (("right", True), ("wrong", False)):
            test = self.dir / "tests" / name
            (test / "test_data_set_0").mkdir(parents=True)
            (test / "model.onnx").write_bytes(MODEL.read_bytes())
            (test / "test_data_set_0" / "input_0.pb").write_bytes((DIGITS / "images.pb").read_bytes())
            data = (DIGITS / "expected.pb").read_bytes()
            (test / "test_data_set_0" / "output_0.pb").write_bytes(
                data if expected else data[:-4] + b"\0\0\x80\x3f")
        gap = self.dir / "tests" / "gap"
        gap.mkdir()
        self.model([("NoSuch", ["x"], ["y"])]).rename(gap / "model.onnx")
        document = self.check("conformance", "conformance", self.dir / "tests", "--atol", "1e-5")
        self.assertEqual({t["name"]: t["status"] for t in document["tests"]},
                         {"right": "passed", "wrong": "failed", "gap": "failed"} |
                         {"gap": document["tests"][0]["status"]})
        self.mutate("conformance", document)

    def test_failures(self):
        """Each way to fail gives one valid document, with the exit code inside."""
        unknown = self.model([("NoSuch", ["x"], ["y"])], name="unknown")
        (self.dir / "empty.onnx").touch()
        for args in ([MODEL], [self.dir / "missing.onnx"], [unknown, "-i", "x=zeros"],
                     [self.dir / "empty.onnx"], [self.dir], [MODEL, *SAMPLES, "-d", "nosuch"],
                     [MODEL, *SAMPLES, "-d", "cpu:"], [MODEL, *SAMPLES, "--timeout", "1e-9"],
                     [MODEL, *SAMPLES, "--mem-limit", "cpu=1K"], [MODEL, "-i", "x=zeros"],
                     [MODEL, *SAMPLES, "--plugin", MODEL],
                     [MODEL, *SAMPLES, "-d", "fake:0", "--option", "fake.plan=launch#2=lost"],
                     [MODEL, *SAMPLES, "-d", "fake:0", "--option", "fake.plan=alloc#1+=oom"]):
            for command in ("run", "bench", "compare", "inspect"):
                if command == "compare" and "-d" not in args:
                    args = [*args, "-d", "cpu,cpu"]
                with self.subTest(command=command, args=args):
                    result = run(command, *args, *(QUICK if command == "bench" else []), "--json")
                    document = self.check(command, text=result.stdout, fails=result.returncode != 0)
                    if document["error"]:
                        self.assertEqual(document["error"]["exit_code"], result.returncode)
                        self.mutate(command, document)
        self.check("conformance", "conformance", self.dir / "nosuch", fails=True)

    def test_command_lines_that_cannot_be_read(self):
        for args in (["--json"], ["run", "--json"], ["--json", "nosuch"], ["run", MODEL, "--no", "--json"],
                     ["plugin", "--json"], ["bench", MODEL, "--threads", "x", "--json"]):
            with self.subTest(args=args):
                document = self.check("usage", *args, fails=True)
                self.assertEqual(document["error"]["exit_code"], 2)
                self.mutate("usage", document)

    def test_every_schema_is_used_here(self):
        source = Path(__file__).read_text()
        for path in SCHEMAS.glob("*.json"):
            if path.stem != "common":
                self.assertTrue(f'"{path.stem}"' in source, f"{path.name} is tested nowhere")


if __name__ == "__main__":
    main()
