#!/usr/bin/env python3
"""Writes files as a C++ source: embed.py OUT NAME=FILE.."""

import sys
from pathlib import Path


def main(out, *items):
    text = '#include "embedded.hpp"\n\nnamespace miniinfer::command {\n'
    for item in items:
        name, path = item.split("=", 1)
        data = Path(path).read_bytes()
        rows = (", ".join(map(str, data[i:i + 24])) for i in range(0, len(data), 24))
        text += f"static const unsigned char k_{name}[] = {{\n" + ",\n".join(rows) + "};\n"
        text += (f"std::span<const std::byte> embedded_{name}() {{ "
                 f"return std::as_bytes(std::span(k_{name})); }}\n")
    Path(out).write_text(text + "}  // namespace miniinfer::command\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
