"""What a model costs beside its kernels, and how long it is to the first result: for gpu_peers.py."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1 << 20

# What PyTorch needs for the same: nothing but the model's code, its weights from a file, one run.
PYTORCH = """
import sys, torch, torchvision
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
model = torchvision.models.resnet50(weights=None).eval()
model.load_state_dict(torch.load(sys.argv[1], weights_only=True))
model = model.to("cuda", memory_format=torch.channels_last)
with torch.inference_mode():
    x = torch.full((1, 3, 224, 224), 0.5).to("cuda", memory_format=torch.channels_last)
    model(x).cpu()
print("first", flush=True)
"""


def program(binary, given=None):
    """gpu_cost, where a build or a bundle has it; None where it is not."""
    beside = Path(binary).resolve().parent
    places = [Path(given)] if given else [beside / "tests/bench/gpu_cost", beside / "tests/gpu_cost"]
    return next((place for place in places if place.exists()), None)


def cost(gpu_cost, path, device, precision, shape, runs):
    """The document of a run of gpu_cost, or {"why": what it said}."""
    command = [gpu_cost, path, "--device", device, "--precision", precision, "--runs", str(runs),
               f"input={shape}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    sys.stderr.write(done.stderr)
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return {"why": f"exit {done.returncode}: {(done.stdout + done.stderr)[-300:]}"}


COST_HEADER = (f"{'MODEL':14}{'BATCH':>6}{'MATH':>8}{'NODES':>7}{'HOST us':>9}{'BARE us':>9}{'RATIO':>7}"
               f"{'RUN us':>10}{'BARE RUN us':>13}{'PYTORCH us':>12}{'ALLOCS':>8}{'PLANNED MiB':>13}"
               f"{'RESERVED MiB':>14}{'DRIVER MiB':>12}{'OFF':>7}{'CONTEXT MiB':>13}{'PYTORCH MiB':>13}")


def cost_line(row):
    """HOST: a steady run less the driver's wait for the device. BARE: cuGraphLaunch of the same
    graph, alone; RUN and BARE RUN: each with its wait; PYTORCH: replay() of its own graph. PLANNED:
    peak that was told before the first run; RESERVED: the pool's own count of what it had of the
    driver; DRIVER: what the driver gets back at the end; OFF: the count against that; CONTEXT: what
    opening the device takes."""
    begin = f"{row['model']:14}{row['batch']:6}{row['precision']:>8}"
    if "why" in row:
        return f"{begin}  {row['why']}"
    off = row["reserved_bytes"] / row["driver_bytes"] - 1 if row["driver_bytes"] > 0 else float("nan")
    return (f"{begin}{row['nodes']:7}{row['host_ns'] / 1e3:9.1f}{row['bare_ns'] / 1e3:9.1f}"
            f"{row['host_ratio']:7.2f}{row['run_ns'] / 1e3:10.1f}{row['bare_run_ns'] / 1e3:13.1f}"
            f"{row['pytorch_launch_us']:12.1f}{row['allocations']:8}"
            f"{row['planned_bytes'] / MIB:13.1f}{row['reserved_bytes'] / MIB:14.1f}"
            f"{row['driver_bytes'] / MIB:12.1f}{off:7.1%}"
            f"{row['context_bytes'] / MIB:13.0f}{row['pytorch_bytes'] / MIB:13.1f}")


def seconds_to_first(command, cache):
    environment = {**os.environ, "CUDA_CACHE_PATH": cache}
    begin = time.perf_counter()
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True,
                             env=environment)
    taken = None
    for line in child.stdout:
        if taken is None and line.strip() == "first":
            taken = time.perf_counter() - begin
    child.wait()
    return taken if child.returncode == 0 else None


def first_result(gpu_cost, path, device, weights):
    """Seconds from the start of a process to the first output on the host. Cold: nothing is in the
    caches that the program and the driver keep; warm: the next process."""
    seconds = {}
    for who, command in (("ours", lambda cache: [gpu_cost, path, "--device", device, "--first", "--cache",
                                                 cache, "input=1x3x224x224"]),
                         ("pytorch", lambda cache: [sys.executable, "-c", PYTORCH, weights])):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                seconds[f"{who}_{state}"] = seconds_to_first(command(cache), cache)
    return seconds


def first_line(seconds):
    def text(key):
        return "failed" if seconds[key] is None else f"{seconds[key]:.2f} s"
    return (f"resnet50, start of the process to the first output: cold {text('ours_cold')}, warm "
            f"{text('ours_warm')}; PyTorch cold {text('pytorch_cold')}, warm {text('pytorch_warm')}")


def listing_ms(binary):
    """`miniinfer devices`, the best of twenty: nothing is initialised."""
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        subprocess.run([binary, "devices"], capture_output=True)
        times.append((time.perf_counter() - begin) * 1e3)
    return min(times)
