#!/usr/bin/env python3
"""Holds the order of the layers: who may include whom.

    check_layers.py ROOT

Rules, each a line of DESIGN's picture of the house:
- a file of core/<layer> includes its own layer and those above it;
- core/cpu includes core/base, core/cpu and public headers, and only core/runtime includes core/cpu;
- public headers never include core/; plugins, tools and examples include only public headers and
  their own folder;
- includes of our own files are written from the root;
- no vendor's name stands inside core/ (the readme of a folder may give an example).
"""

import re
import sys
from pathlib import Path

LAYERS = ["base", "platform", "memory", "device", "tensor", "graph", "ops", "onnx", "passes",
          "plan", "runtime"]

# Public headers belong to the layer of what they declare; a layer includes those up to its own.
PUBLIC = {
    "export.hpp": "base", "status.hpp": "base", "data_type.hpp": "base", "plugin.hpp": "device",
    "device.hpp": "device", "allocator.hpp": "memory", "storage.hpp": "memory",
    "pool_allocator.hpp": "memory", "memory_snapshot.hpp": "memory", "tracking_allocator.hpp": "memory",
    "device_context.hpp": "device", "tensor.hpp": "tensor", "onnx_tensor.hpp": "onnx",
    "compare.hpp": "tensor", "memory_planner.hpp": "plan", "session.hpp": "plan",
    "runtime.hpp": "runtime", "text.hpp": "base", "trace.hpp": "runtime",
    "miniinfer.hpp": "runtime",
}
# The helper does to a plugin what the loader is going to do, with the same lines of code.
SHARED = {("tools/probe/main.cpp", "core/device/enter_plugin.hpp")}
VENDORS = re.compile(r"cuda|cudnn|cublas|nvidia|opencl|onednn|dnnl|rocm|hip_|vulkan|metal\b", re.I)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = {".c", ".h", ".cpp", ".hpp", ".inc", ".cu", ".cuh"}


def layer_of(path):
    return path.parts[1] if len(path.parts) > 2 and path.parts[0] == "core" else None


def allowed_in_core(layer, included):
    """Why a file of this layer may not include that, or None."""
    parts = Path(included).parts
    if parts[0] == "core":
        target = parts[1]
        if layer == "cpu":
            return None if target in ("base", "cpu") else "core/cpu stands on core/base alone"
        if target == "cpu":
            return None if layer == "runtime" else "only core/runtime names the built-in backend"
        if target not in LAYERS:
            return f"core/{target} is no layer"
        if LAYERS.index(target) > LAYERS.index(layer):
            return f"core/{target} stands above core/{layer}"
    elif parts[0] == "miniinfer" and len(parts) == 2:
        home = PUBLIC.get(parts[1])
        if home is None:
            return f"{included} is not in the table of public headers"
        if layer == "cpu":
            return None if home == "base" else f"{included} belongs to {home}"
        if LAYERS.index(home) > LAYERS.index(layer):
            return f"{included} belongs to core/{home}"
    return None


def check_file(root, path):
    relative = path.relative_to(root)
    top = relative.parts[0]
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if top == "core" and VENDORS.search(line):
            yield number, "a vendor's name inside core/"
        if not found:
            continue
        bracket, included = found.groups()
        if bracket == "<":
            if included.startswith(("miniinfer/", "core/")) and top in ("core", "include"):
                yield number, f"<{included}> is ours: write it with quotes"
            continue
        if included.startswith("../") or "/../" in included:
            yield number, f'"{included}" is not written from the root'
        ours = included.startswith(("core/", "miniinfer/"))
        if top == "core":
            layer = layer_of(relative)
            if not ours:
                yield number, f'"{included}" is not written from the root'
            else:
                reason = allowed_in_core(layer, included)
                if reason:
                    yield number, f'"{included}": {reason}'
        elif top == "include":
            if not included.startswith("miniinfer/"):
                yield number, f'"{included}": public headers include public headers'
            if "abi" in relative.parts and not included.startswith("miniinfer/abi/"):
                yield number, f'"{included}": the boundary stands alone'
            if "sdk" in relative.parts and not included.startswith(("miniinfer/abi/",
                                                                    "miniinfer/sdk/")):
                yield number, f'"{included}": the SDK stands on the boundary alone'
        elif top == "plugins":
            own = "/".join(relative.parts[:2]) + "/"
            if not included.startswith(("miniinfer/abi/", "miniinfer/sdk/", own)):
                yield number, f'"{included}": plugins include the boundary, the SDK and themselves'
        elif top in ("tools", "examples"):
            if included.startswith("core/") and (str(relative), included) not in SHARED:
                yield number, f'"{included}": {top}/ uses the public API alone'


def main(root):
    root = Path(root)
    failures = 0
    files = 0
    for top in ("core", "include", "plugins", "tools", "examples"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in SOURCES:
                continue
            files += 1
            for number, message in check_file(root, path):
                failures += 1
                print(f"{path.relative_to(root)}:{number}: {message}")
    if files == 0:
        sys.exit(f"no source file under {root}")
    print(f"{files} files, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
