#!/usr/bin/env python3
"""PyTorch on our pool computes what it computes on its own: gpu_torch_allocator.py LIBRARY [--steps 30]

LIBRARY is libminiinfer_torch_allocator.so of a build or a bundle. A small network is trained twice, each
time in a process of its own, and the losses are compared. Then, on ours: memory that another stream
still reads is not given to anybody (record_stream), memory that the default stream still reads is not
given to other streams, and threads with streams of their own do not meet. Ends with 77 without PyTorch
or a GPU.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import threading

try:
    import torch
except ImportError as error:
    print(f"SKIP: {error}", file=sys.stderr)
    sys.exit(77)

FLOATS = 1 << 20  # sums of so many equal small numbers are exact
SLEEP = 2_000_000  # cycles: about a millisecond


def install(path):
    """The README's lines."""
    library = ctypes.CDLL(path)
    allocator = torch.cuda.memory.CUDAPluggableAllocator(path, "miniinfer_torch_alloc",
                                                         "miniinfer_torch_free")
    allocator.allocator().set_record_stream_fn(
        ctypes.cast(library.miniinfer_torch_record_stream, ctypes.c_void_p).value)
    torch.cuda.memory.change_current_allocator(allocator)


def train(steps):
    torch.manual_seed(3)
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU(),
        torch.nn.Conv2d(32, 64, 3, stride=2, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(64 * 16 * 16, 256), torch.nn.GELU(), torch.nn.Linear(256, 10)).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(4)
    losses = []
    for step in range(steps):
        batch = 8 + step * 7 % 40  # sizes that come and go
        images = torch.rand(batch, 3, 32, 32, generator=generator).cuda(non_blocking=True)
        labels = torch.randint(0, 10, (batch,), generator=generator).cuda(non_blocking=True)
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def is_everywhere(total, value):
    assert total.item() == value * FLOATS, f"{total.item() / FLOATS} instead of {value}"


def another_stream_still_reads():
    side, totals = torch.cuda.Stream(), []
    for i in range(100):
        x = torch.full((FLOATS,), float(i), device="cuda")
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            torch.cuda._sleep(SLEEP)
            totals.append(x.sum())
        x.record_stream(side)
        del x
        y = torch.full((FLOATS,), -1.0, device="cuda")
        del y
    torch.cuda.synchronize()
    for i, total in enumerate(totals):
        is_everywhere(total, i)


def the_default_stream_still_reads():
    side = torch.cuda.Stream()
    for i in range(100):
        x = torch.full((FLOATS,), float(i), device="cuda")
        torch.cuda._sleep(SLEEP)
        total = x.sum()
        del x
        with torch.cuda.stream(side):
            y = torch.full((FLOATS,), -1.0, device="cuda")
        torch.cuda.synchronize()
        is_everywhere(total, i)
        del y


def threads_have_streams():
    failed = []

    def work(number):
        try:
            with torch.cuda.stream(torch.cuda.Stream()):
                for i in range(200):
                    x = torch.full((FLOATS,), float(number), device="cuda")
                    y = x + i % 7
                    del x
                    is_everywhere(y.sum(), number + i % 7)
        except Exception as error:  # noqa: BLE001  told by the main thread
            failed.append(error)
    workers = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed, failed


def child(options):
    if options.child == "ours":
        install(options.library)
    losses = train(options.steps)
    if options.child == "ours":
        for check in (another_stream_still_reads, the_default_stream_still_reads, threads_have_streams):
            check()
            print(f"{check.__name__}: ok", file=sys.stderr, flush=True)
    free, total = torch.cuda.mem_get_info()
    print(json.dumps({"losses": losses, "used_mib": (total - free) >> 20}), flush=True)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("library")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--child", choices=("pytorch", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("SKIP: PyTorch sees no GPU", file=sys.stderr)
        return 77
    if options.child:
        return child(options)
    results = {}
    for who in ("pytorch", "ours"):
        done = subprocess.run([sys.executable, __file__, options.library, "--steps", str(options.steps),
                               "--child", who], capture_output=True, text=True, timeout=600)
        sys.stderr.write(done.stderr)
        if done.returncode != 0:
            print(f"{who}: exit {done.returncode}")
            return 1
        results[who] = json.loads(done.stdout.splitlines()[-1])
        if "miniinfer torch allocator:" in done.stderr:
            print(f"{who}: the allocator had something to say")
            return 1
    want, got = results["pytorch"]["losses"], results["ours"]["losses"]
    off = max(abs(a - b) / abs(b) for a, b in zip(got, want))
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}: {len(want)} losses from {want[0]:.4f} "
          f"to {want[-1]:.4f}, " + ("equal to the bit" if got == want else f"off by {off:.1e} at most"))
    print(f"used on the device at the end: ours {results['ours']['used_mib']} MiB, PyTorch "
          f"{results['pytorch']['used_mib']} MiB")
    return 0 if off <= 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
