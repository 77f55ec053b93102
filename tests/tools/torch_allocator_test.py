#!/usr/bin/env python3
"""The pool through the C functions that PyTorch loads: torch_allocator_test.py LIBRARY

A device is chosen once in a process, so each test is one: python3 SCRIPT LIBRARY NAME.
"""

import ctypes
import os
import random
import subprocess
import sys
import threading
import unittest

LIBRARY = sys.argv[1]
MIB = 1 << 20


class Allocator:
    def __init__(self):
        library = ctypes.CDLL(LIBRARY)
        self.alloc = library.miniinfer_torch_alloc
        self.alloc.restype = ctypes.c_void_p
        self.alloc.argtypes = [ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p]
        self.free = library.miniinfer_torch_free
        self.free.restype = None
        self.free.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p]
        self.record_stream = library.miniinfer_torch_record_stream
        self.record_stream.restype = None
        self.record_stream.argtypes = [ctypes.c_void_p, ctypes.c_void_p]


def churn(allocator, device, streams, steps, seed, touch):
    """Random work; what `touch` fills must still be there when it is given back."""
    generator = random.Random(seed)
    live = []
    for step in range(steps):
        if len(live) == 32 or live and generator.random() < 0.45:
            address, size, stream, byte = live.pop(generator.randrange(len(live)))
            if touch:
                got = ctypes.string_at(address, size)
                assert got == bytes([byte]) * size, "somebody else wrote there"
            allocator.free(address, size, device, stream)
            continue
        size, stream = int(2 ** generator.uniform(0, 18)), generator.choice(streams)
        address = allocator.alloc(size, device, stream)
        assert address and address % 256 == 0, hex(address or 0)
        for other, length, _, _ in live:
            assert address + size <= other or other + length <= address, "two blocks overlap"
        byte = step % 256
        if touch:
            ctypes.memset(address, byte, size)
        live.append((address, size, stream, byte))
    for address, size, stream, _ in live:
        allocator.free(address, size, device, stream)


# -- each in a process of its own: name -> (environment, what runs there, what stderr says)


def host(a):
    churn(a, 0, [None, 1, 2], 4000, 1, touch=True)


def threads(a):
    failed = []

    def work(seed):
        try:
            churn(a, 0, [None, seed], 2000, seed, touch=True)
        except AssertionError as error:
            failed.append(error)
    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed, failed


def streams(a):
    churn(a, 0, [None, 0x10, 0x20, 0x30], 4000, 2, touch=False)
    first = a.alloc(MIB, 0, 0x10)
    a.free(first, MIB, 0, 0x10)
    assert a.alloc(MIB, 0, 0x10) == first, "the stream does not get its own block again"
    a.record_stream(first, 0x20)
    a.free(first, MIB, 0, 0x10)


def devices(a):
    one, two = a.alloc(MIB, 0, None), a.alloc(MIB, 1, None)
    assert one and two
    a.free(one, MIB, 0, None)
    a.free(two, MIB, 1, None)
    assert a.alloc(MIB, 2, None) is None
    assert a.alloc(MIB, -1, None) is None
    assert a.alloc(MIB, 64, None) is None


def no_memory(a):
    kept = a.alloc(MIB, 0, None)
    assert kept and a.alloc(1 << 40, 0, None) is None
    a.free(kept, MIB, 0, None)
    again = a.alloc(3 * MIB, 0, None)
    assert again, "what was given back is not had again"


def nothing(a):
    assert a.alloc(0, 0, None) is None
    assert a.alloc(-1, 0, None) is None
    a.free(None, 0, 0, None)
    a.record_stream(None, None)


def foreign(a):
    block = a.alloc(1000, 0, None)
    a.free(block + 1, 1000, 0, None)
    a.free(block, 1000, 0, None)
    a.free(block, 1000, 0, None)
    a.record_stream(block, None)


def no_device(a):
    assert a.alloc(MIB, 0, None) is None
    a.free(4096, MIB, 0, None)


FAKE = {"MINIINFER_TORCH_BACKEND": "fake", "MINIINFER_FAKE_FLAT": "1"}
HOST = {"MINIINFER_TORCH_BACKEND": "cpu"}
CASES = {
    "host": (HOST, host, []),
    "threads": (HOST, threads, []),
    "streams": (FAKE, streams, []),
    "streams_mapped": ({**FAKE, "MINIINFER_FAKE_GRANULARITY": str(2 * MIB)}, streams, []),
    "devices": ({**FAKE, "MINIINFER_FAKE_DEVICES": "2"}, devices, ["there is no device 64", "fake:2"]),
    "no_memory": ({**FAKE, "MINIINFER_FAKE_MEMORY": str(4 * MIB)}, no_memory,
                  ["alloc of 1099511627776 bytes", "OUT_OF_MEMORY", "asked", "fake:0"]),
    "nothing": (FAKE, nothing, ["less than nothing"]),
    "foreign": (FAKE, foreign, ["free of 1000 bytes at 0x", "did not come from here"]),
    "no_device": ({"MINIINFER_TORCH_BACKEND": "nosuch"}, no_device, ["no backend 'nosuch'"]),
}


class TorchAllocator(unittest.TestCase):
    def test_cases(self):
        for name, (environment, _, said) in CASES.items():
            with self.subTest(name):
                done = subprocess.run([sys.executable, __file__, LIBRARY, name], text=True,
                                      env={**os.environ, **environment}, capture_output=True, timeout=120)
                self.assertEqual(done.returncode, 0, done.stderr)
                for text in said:
                    self.assertIn(text, done.stderr)
                if not said:
                    self.assertEqual(done.stderr, "")

    def test_cuda_is_the_default_backend(self):
        environment = {k: v for k, v in os.environ.items() if k != "MINIINFER_TORCH_BACKEND"}
        environment["MINIINFER_PLUGINS"] = "none"
        done = subprocess.run([sys.executable, __file__, LIBRARY, "no_device"], text=True,
                              env=environment, capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, "no backend 'cuda'|the plugin of cuda ")

    def test_it_has_three_functions(self):
        names = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True,
                               check=True).stdout.split()[2::3]
        self.assertEqual(sorted(n for n in names if "miniinfer_torch" in n and not n.startswith("_")),
                         ["miniinfer_torch_alloc", "miniinfer_torch_free",
                          "miniinfer_torch_record_stream"])


if __name__ == "__main__":
    if len(sys.argv) > 2:
        CASES[sys.argv[2]][1](Allocator())
    else:
        unittest.main(argv=[sys.argv[0], "-v"])
