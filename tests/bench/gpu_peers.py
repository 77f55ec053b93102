#!/usr/bin/env python3
"""Mini-Infer on a GPU beside PyTorch, in turn, over the same models with seeded random weights.

    gpu_peers.py MINIINFER [--device cuda:0] [--models resnet50,mobilenet_v2,bert_base,minilm]
                 [--batches 1,32] [--precisions strict,tf32,fp16] [--blocks 5] [--runs 200]
                 [--cost PROGRAM] [--json FILE]

PyTorch runs eagerly inside a CUDA graph captured by hand (channels_last for the convolutional nets,
inference mode), with the same arithmetic allowed: strict forbids TF32 everywhere, tf32 allows it
everywhere, fp16 is model.half(). Inputs and outputs stay on the device for both. Each block times
one, then the other; printed are the medians over blocks, the ratio of each pair (its median), and
the relative L2 error of Mini-Infer's outputs against PyTorch in float32 without TF32.

Then, by gpu_cost of the same build or bundle (gpu_costs.py says what the columns are): what a steady
run costs the host, what it allocates, its memory as planned and as the driver tells; and the time from
the start of a process to the first output of ResNet-50.

Needs torch, torchvision, transformers and onnx, and a GPU; without them it says so and ends with 77.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gpu_costs

try:
    import numpy as np
    import onnx  # noqa: F401  torch's exporter needs it
    import torch
    import torchvision
    import transformers
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


def bert(hidden, layers, heads, intermediate):
    config = transformers.BertConfig(hidden_size=hidden, num_hidden_layers=layers,
                                     num_attention_heads=heads, intermediate_size=intermediate)
    config.return_dict = False

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = transformers.BertModel(config, add_pooling_layer=False)

        def forward(self, input_ids):
            return self.bert(input_ids)[0]

    return Encoder()


MODELS = {
    "resnet50": lambda: torchvision.models.resnet50(weights=None),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(weights=None),
    "bert_base": lambda: bert(768, 12, 12, 3072),
    "minilm": lambda: bert(384, 6, 12, 1536),
}
IMAGE = ("resnet50", "mobilenet_v2")


def make_model(name):
    torch.manual_seed(7)
    model = MODELS[name]().eval()
    for module in model.modules():  # statistics of a trained net, so that activations stay in range
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def make_input(name, batch):
    generator = torch.Generator().manual_seed(batch)
    if name in IMAGE:
        return torch.rand(batch, 3, 224, 224, generator=generator)
    return torch.randint(0, 30000, (batch, 128), generator=generator)


def export(name, model, folder):
    path = folder / f"{name}.onnx"
    sample = make_input(name, 2)
    with torch.inference_mode():
        torch.onnx.export(model, (sample,), str(path), input_names=["input"],
                          output_names=["output"], dynamic_axes={"input": {0: "N"},
                                                                 "output": {0: "N"}},
                          opset_version=17, dynamo=False)
    return path


def allow_tf32(allowed):
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


class Peer:
    """The model in a CUDA graph."""

    def __init__(self, name, model, batch, precision):
        allow_tf32(precision == "tf32")
        torch.cuda.reset_peak_memory_stats()
        torch.backends.cudnn.benchmark = True
        model = model.to("cuda")
        sample = make_input(name, batch).to("cuda")
        if precision == "fp16":
            model = model.half()
            sample = sample.half() if name in IMAGE else sample
        if name in IMAGE:
            model = model.to(memory_format=torch.channels_last)
            sample = sample.contiguous(memory_format=torch.channels_last)
        self.graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        with torch.inference_mode():
            with torch.cuda.stream(stream):
                for _ in range(5):
                    model(sample)
            stream.synchronize()
            with torch.cuda.graph(self.graph):
                self.output = model(sample)
        self.keep = (model, sample)
        self.bytes = torch.cuda.max_memory_allocated()

    def time_us(self, seconds):
        torch.cuda.synchronize()
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 10:
            begin = time.perf_counter()
            self.graph.replay()
            torch.cuda.synchronize()
            times.append((time.perf_counter() - begin) * 1e6)
        return statistics.median(times)

    def launch_us(self, runs):
        """What replaying costs the host, without waiting for it."""
        times = []
        for _ in range(runs):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            self.graph.replay()
            times.append((time.perf_counter() - begin) * 1e6)
        torch.cuda.synchronize()
        return statistics.median(times)


def shape_text(name, batch):
    return "x".join(map(str, make_input(name, batch).shape))


def ours(options, path, name, batch, precision, seconds):
    command = [options.binary, "bench", str(path), "-d", options.device, "--json", "--resident",
               "--precision", precision, "--no-verify", "--shape", f"input={shape_text(name, batch)}",
               "--warmup", "200", "--duration", str(int(seconds * 1000))]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        document = json.loads(done.stdout)
    except json.JSONDecodeError:
        return None, f"exit {done.returncode}: {done.stderr[-300:]}"
    if document["error"]:
        return None, document["error"]["message"]
    return document["results"][0], ""


def error_of(options, path, name, batch, precision, want, folder):
    np.save(folder / "input.npy", make_input(name, batch).numpy())
    command = [options.binary, "run", str(path), "-d", options.device, "--precision", precision,
               "-i", f"input=@{folder}/input.npy", "-o", f"output=@{folder}/output.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return None
    got = np.load(folder / "output.npy").astype(np.float64)
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def measure(options, name, path, folder):
    rows, costs = [], []
    for batch in options.batches:
        allow_tf32(False)
        with torch.inference_mode():
            model = make_model(name).to("cuda")
            want = model(make_input(name, batch).to("cuda")).double().cpu().numpy()
        del model
        for precision in options.precisions:
            peer = Peer(name, make_model(name), batch, precision)
            theirs, mine, result, why = [], [], None, ""
            for _ in range(options.blocks):
                theirs.append(peer.time_us(options.seconds))
                result, why = ours(options, path, name, batch, precision, options.seconds)
                if result is None:
                    break
                mine.append(result["latency_ns"]["median"] / 1000)
            launch_us, peer_bytes = peer.launch_us(options.runs), peer.bytes
            del peer
            torch.cuda.empty_cache()
            row = {"model": name, "batch": batch, "precision": precision,
                   "pytorch_us": statistics.median(theirs), "why": why}
            if result is not None:
                row["us"] = statistics.median(mine)
                row["ratio"] = statistics.median(a / b for a, b in zip(mine, theirs))
                row["first_run_us"] = result["first_run_ns"] / 1000
                row["load_us"] = result["load_ns"] / 1000
                row["relative_l2"] = error_of(options, path, name, batch, precision, want, folder)
            rows.append(row)
            print_row(row)
            if options.cost:
                costs.append({"model": name, "batch": batch, "precision": precision,
                              "pytorch_launch_us": launch_us, "pytorch_bytes": peer_bytes,
                              **gpu_costs.cost(options.cost, path, options.device, precision,
                                               shape_text(name, batch), options.runs)})
    return rows, costs


def print_row(row):
    if "us" not in row:
        print(f"{row['model']:14}{row['batch']:6}{row['precision']:>8}{row['pytorch_us']:12.1f}"
              f"  {row['why']}", flush=True)
        return
    error = "-" if row["relative_l2"] is None else f"{row['relative_l2']:.1e}"
    print(f"{row['model']:14}{row['batch']:6}{row['precision']:>8}{row['pytorch_us']:12.1f}"
          f"{row['us']:12.1f}{row['ratio']:8.2f}{error:>10}{row['load_us'] / 1000:10.0f}"
          f"{row['first_run_us'] / 1000:10.1f}", flush=True)


def names(text):
    return text.split(",")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--models", type=names, default=list(MODELS))
    parser.add_argument("--batches", type=lambda text: [int(n) for n in names(text)], default=[1, 32])
    parser.add_argument("--precisions", type=names, default=["strict", "tf32", "fp16"])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement")
    parser.add_argument("--runs", type=int, default=200, help="of which the host's cost is the median")
    parser.add_argument("--cost", metavar="PROGRAM", help="gpu_cost; else it is looked for")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: PyTorch sees no GPU")
        return 77
    options.cost = gpu_costs.program(options.binary, options.cost)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, cuDNN "
          f"{torch.backends.cudnn.version()}, load average {os.getloadavg()[0]:.1f}")
    print(f"{'MODEL':14}{'BATCH':>6}{'MATH':>8}{'PYTORCH us':>12}{'OURS us':>12}{'RATIO':>8}"
          f"{'REL L2':>10}{'LOAD ms':>10}{'FIRST ms':>10}")
    document = {"speed": [], "cost": [], "first_result_s": None}
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.models:
            folder = Path(scratch)
            path = export(name, make_model(name), folder)
            speed, cost = measure(options, name, path, folder)
            document["speed"] += speed
            document["cost"] += cost
            if name == "resnet50" and options.cost:
                weights = folder / "resnet50.pt"
                torch.save(make_model(name).state_dict(), weights)
                document["first_result_s"] = gpu_costs.first_result(options.cost, path, options.device,
                                                                    weights)
            path.unlink()
    if document["cost"]:
        print("\n" + gpu_costs.COST_HEADER)
        for row in document["cost"]:
            print(gpu_costs.cost_line(row))
    elif not options.cost:
        print("\nno gpu_cost beside the command: --cost names it")
    print()
    if document["first_result_s"]:
        print(gpu_costs.first_line(document["first_result_s"]))
    document["devices_ms"] = gpu_costs.listing_ms(options.binary)
    print(f"miniinfer devices: {document['devices_ms']:.1f} ms")
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
