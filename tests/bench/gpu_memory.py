#!/usr/bin/env python3
"""The pool on a GPU beside PyTorch's caching allocator, cudaMallocAsync and cudaMalloc, in turn.

    gpu_memory.py MINIINFER [--device cuda:0] [--program gpu_memory] [--traces FOLDER] [--blocks 5]
                  [--seconds 0.3] [--json FILE]

Every program asks for the same (allocator_rows.hpp). Ours lies in the build or bundle of the command;
the peers' are compiled here, against the PyTorch that is installed and its CUDA: torch_memory.cpp calls
raw_alloc and raw_delete, cuda_memory.cpp a pool with a full release threshold, and cudaMalloc. In each
block every program runs once, in a process of its own. Printed are medians over the blocks, and the
median of the blocks' ratios beside what is to be reached:

    pair_*          one block again and again; driver calls in all of them together, counted
    churn           512 live blocks of 256 B to 16 MiB, one replaced at a time, log-uniform sizes;
                    driver calls of ours in all of it, once it has gone on for a while
    threads_*       8 threads with a stream each: pairs of 512 B, and 64 live blocks of 256 B to 64 KiB
    grow_1GiB       the first request of a pool that has nothing, beside cudaMalloc of as much

The traces (of --traces, or traces/ of the folder that MINIINFER_SHARED names) are replayed with real
memory: PyTorch's both ways, with expandable segments and without. RATIO is reserved to live at peak.

A peer that cannot be built or run says why and leaves its column empty. Ends with 77 where there is no
GPU, and with 1 where something that is to be reached was not, or not measured.
"""

import argparse
import gzip
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TIMEOUT = 240  # seconds, of one program
# name of the row: (unit, divided by, whose ratio, how to tell, what is to be reached)
ROWS = {
    "pair_512B_ns": ("ns", 1, "pytorch", "theirs/ours", 15),
    "pair_1MiB_ns": ("ns", 1, "pytorch", "theirs/ours", 15),
    "pair_32MiB_ns": ("ns", 1, "pytorch", "theirs/ours", 15),
    "churn_ns": ("ns", 1, "pytorch", "theirs/ours", 8),
    "threads_pairs_per_s": ("M/s", 1e6, "pytorch", "ours/theirs", 50),
    "threads_churn_pairs_per_s": ("M/s", 1e6, "pytorch", "ours/theirs", 50),
    "grow_1GiB_ns": ("us", 1e3, "malloc", "ours/theirs at most", 1.3),
}
PEERS = ("pytorch", "async", "malloc")


def say(text):
    print(f"gpu_memory: {text}", file=sys.stderr, flush=True)


def program(binary, given):
    """Ours, where a build or a bundle has it."""
    beside = Path(binary).resolve().parent
    places = [Path(given)] if given else [beside / "tests/bench/gpu_memory", beside / "tests/gpu_memory"]
    return next((place for place in places if place.exists()), None)


# -- the peers' programs


def torch_folder():
    """Where PyTorch is installed, without importing it."""
    spec = importlib.util.find_spec("torch")
    return Path(spec.origin).parent if spec and spec.origin else None


def torch_version(folder):
    text = (folder / "version.py").read_text()
    def value(name):
        found = re.search(rf"^{name}\b.*= '([^']*)'", text, re.M)
        return found[1] if found else None
    return value("__version__"), value("cuda")


def cuda_folders(torch, major):
    """Folders of headers and the runtime library of CUDA `major`: PyTorch's own library first, since
    its process is to have one, and a toolkit's headers, which are complete."""
    toolkits = [Path(p) for p in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")) if p]
    nvcc = shutil.which("nvcc")
    toolkits += [Path(nvcc).resolve().parent.parent] if nvcc else []
    toolkits += sorted(Path("/usr/local").glob("cuda*"))
    wheels = [torch.parent / "nvidia" / f"cu{major}", torch.parent / "nvidia" / "cuda_runtime"] if torch else []

    def of_major(header):
        found = re.search(r"#define\s+CUDART_VERSION\s+(\d+)", header.read_text(errors="replace"))
        return found and (not major or int(found[1]) // 1000 == int(major))

    headers = next((at / "include" for at in toolkits + wheels
                    if (at / "include/cuda_runtime_api.h").exists() and
                    of_major(at / "include/cuda_runtime_api.h")), None)
    libraries = [file for at in wheels + toolkits for folder in ("lib", "lib64")
                 for file in sorted((at / folder).glob(f"libcudart.so.{major or '*'}"))]
    return headers, libraries[0] if libraries else None


def build(source, out, arguments):
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "c++", "clang++")), "g++")
    command = [compiler, "-std=c++20", "-O2", "-o", out, HERE / source, *arguments]
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    except OSError as error:
        say(f"{source} was not compiled: {error}")
        return None
    if done.returncode != 0:
        say(f"{source} was not compiled:\n{' '.join(map(str, command))}\n{done.stderr[-3000:]}")
        return None
    return out


def build_peers(folder):
    """The commands of the peers that are there, by name."""
    torch = torch_folder()
    version, cuda = torch_version(torch) if torch else (None, None)
    major = cuda.split(".")[0] if cuda else None
    headers, library = cuda_folders(torch, major)
    say(f"PyTorch {version or '-'} at {torch or '-'}; CUDA headers {headers or '-'}, runtime {library or '-'}")
    if not headers or not library:
        return {}, version
    cuda_arguments = ["-isystem", headers, library, f"-Wl,-rpath,{library.parent}", "-pthread"]
    commands = {}
    if built := build("cuda_memory.cpp", folder / "cuda_memory", cuda_arguments):
        commands |= {"async": [built, "--peer", "async"], "malloc": [built, "--peer", "malloc"]}
    if torch and cuda:
        libraries = torch / "lib"
        # The wheel's libraries find the others by paths of their own; what those need is not asked.
        if built := build("torch_memory.cpp", folder / "torch_memory",
                          ["-isystem", torch / "include", f"-L{libraries}", "-lc10_cuda", "-lc10",
                           f"-Wl,-rpath,{libraries}", "-Wl,--allow-shlib-undefined", *cuda_arguments]):
            commands["pytorch"] = [built]
    return commands, version


# -- running


def run(command, env=None):
    """The last line of a program's output, as JSON; None where it failed."""
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=TIMEOUT,
                              env={**os.environ, **(env or {})})
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"{command[0]}: {error}")
        return None
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        say(f"{' '.join(map(str, command))}: exit {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
        return None


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def measure_rows(options, commands):
    """The values of each program in each block; None where it failed."""
    measured = {name: [] for name in commands}
    for block in range(options.blocks):
        for name, command in commands.items():
            if name == "malloc" and block >= 2:  # slow, and steady enough
                continue
            say(f"block {block + 1} of {options.blocks}: {name}")
            measured[name].append(run([*command, "--seconds", options.seconds]) or {})
    return measured


def ratio(measured, row):
    """The median of the blocks' ratios; of all values where a peer ran in fewer blocks."""
    _, _, peer, how, _ = ROWS[row]
    ours = [values.get(row) for values in measured["ours"]]
    theirs = [values.get(row) for values in measured.get(peer, [])]
    if len(theirs) < len(ours):
        ours, theirs = [median(ours)], [median(theirs)]
    pairs = [(a, b) for a, b in zip(ours, theirs) if a and b]
    return median([b / a if how == "theirs/ours" else a / b for a, b in pairs])


def summarise_rows(measured):
    rows = []
    for row, (unit, scale, peer, how, bar) in ROWS.items():
        value = ratio(measured, row)
        met = None if value is None else value <= bar if "at most" in how else value >= bar
        rows.append({"row": row, "unit": unit, "ratio": value, "of": f"{how}, {peer}", "bar": bar,
                     "met": met,
                     "values": {name: None if (m := median([v.get(row) for v in blocks])) is None
                                else m / scale for name, blocks in measured.items()}})
    for row, bar in (("pair_driver_calls", 0), ("churn_driver_calls", None)):
        calls = [values.get(row) for values in measured["ours"]]
        most = None if None in calls else max(calls)
        rows.append({"row": row, "unit": "", "ratio": None, "of": "ours, all together", "bar": bar,
                     "met": None if most is None or bar is None else most <= bar,
                     "values": {"ours": most}})
    return rows


def print_rows(rows):
    print(f"{'ROW':28}{'UNIT':>5}{'OURS':>12}" + "".join(f"{peer.upper():>12}" for peer in PEERS) +
          f"{'RATIO':>10}{'BAR':>7}  {'MET':5}RATIO OF")
    for row in rows:
        values = "".join("           -" if (v := row["values"].get(name)) is None else f"{v:12.1f}"
                         for name in ("ours", *PEERS))
        number = "         -" if row["ratio"] is None else f"{row['ratio']:10.2f}"
        bar = "-" if row["bar"] is None else row["bar"]
        met = "-" if row["bar"] is None else {True: "yes", False: "NO", None: "?"}[row["met"]]
        print(f"{row['row']:28}{row['unit']:>5}{values}{number}{bar:>7}  {met:5}{row['of']}")


# -- traces


def replay_ours(options, path):
    command = [options.binary, "mem", "replay", path, "-d", options.device, "--allocator",
               "pool,caching", "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    try:
        document = json.loads(done.stdout)
    except json.JSONDecodeError:
        say(f"mem replay: exit {done.returncode}: {done.stderr[-300:]}")
        return {}
    if document["error"]:
        say(f"mem replay: {document['error']['message']}")
    return {row["allocator"]: row for row in document["results"] or [] if row["failures"] == 0}


def measure_traces(options, commands, folder):
    """For each trace, what each way of each allocator says in each block."""
    ways = {}
    if "pytorch" in commands:
        for name, setting in (("pytorch", "expandable_segments:False"),
                              ("pytorch expandable", "expandable_segments:True")):
            ways[name] = (commands["pytorch"], {"PYTORCH_ALLOC_CONF": setting,
                                                "PYTORCH_CUDA_ALLOC_CONF": setting})
    if "async" in commands:
        ways["async"] = (commands["async"], {})
    traces = {}
    for packed in sorted(options.traces.glob("*.trace.gz")):
        path = folder / packed.name.removesuffix(".gz")
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        measured = {name: [] for name in ("pool", "caching", *ways)}
        for block in range(min(options.blocks, 3)):
            say(f"{path.name}, block {block + 1}")
            ours = replay_ours(options, path)
            for name in ("pool", "caching"):
                measured[name].append(ours.get(name) or {})
            for name, (command, env) in ways.items():
                measured[name].append(run([*command, "--trace", path], env) or {})
        path.unlink()
        traces[path.stem] = {
            name: {key: median([values.get(key) for values in blocks])
                   for key in ("ns_per_op", "reserved_peak", "live_peak", "driver_calls")}
            for name, blocks in measured.items()}
    return traces


def print_traces(traces):
    print(f"\n{'TRACE':16}{'ALLOCATOR':22}{'NS/OP':>10}{'RESERVED':>14}{'LIVE':>14}{'RATIO':>9}"
          f"{'DRIVER CALLS':>14}")
    for trace, ways in traces.items():
        for name, values in ways.items():
            if values["reserved_peak"] is None:
                print(f"{trace:16}{name:22}         - failed")
                continue
            calls = "-" if values["driver_calls"] is None else f"{values['driver_calls']:.0f}"
            print(f"{trace:16}{name:22}{values['ns_per_op']:10.1f}{values['reserved_peak']:14.0f}"
                  f"{values['live_peak']:14.0f}{values['reserved_peak'] / values['live_peak']:9.4f}"
                  f"{calls:>14}")


def trace_bars(traces):
    """Whether each of ours reserves at most 1.05 of what is live."""
    return [None if ways[name]["reserved_peak"] is None
            else ways[name]["reserved_peak"] <= 1.05 * ways[name]["live_peak"]
            for ways in traces.values() for name in ("pool", "caching")]


def gpu_name():
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
                              capture_output=True, text=True, timeout=60)
        return done.stdout.splitlines()[0] if done.stdout else None
    except (OSError, subprocess.TimeoutExpired):
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--program", metavar="PROGRAM", help="gpu_memory; else it is looked for")
    parser.add_argument("--traces", type=Path,
                        default=Path(os.environ.get("MINIINFER_SHARED", "/nonexistent")) / "traces")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    ours = program(options.binary, options.program)
    if ours is None:
        print("no gpu_memory beside the command: --program names it")
        return 2
    probe = subprocess.run([str(ours), "--device", options.device, "--seconds", "0.001"],
                           capture_output=True, text=True)
    if probe.returncode == 77:
        print(probe.stdout.strip())
        return 77
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        peers, version = build_peers(folder)
        commands = {"ours": [ours, "--device", options.device], **peers}
        say(f"load average {os.getloadavg()[0]:.1f}")
        measured = measure_rows(options, commands)
        traces = measure_traces(options, peers, folder)
    rows = summarise_rows(measured)
    title = f"{gpu_name() or options.device}, PyTorch {version or '-'}, {options.blocks} blocks"
    print(title)
    print_rows(rows)
    if traces:
        print_traces(traces)
    else:
        print(f"\nno traces in {options.traces}")
    if options.json:
        Path(options.json).write_text(json.dumps(
            {"title": title, "rows": rows, "blocks": measured, "traces": traces}, indent=1))
    return 0 if all(row["met"] for row in rows if row["bar"] is not None) and all(trace_bars(traces)) else 1


if __name__ == "__main__":
    sys.exit(main())
