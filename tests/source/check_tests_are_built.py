#!/usr/bin/env python3
"""Every test file is named in a build file, so that none is forgotten: check_tests_are_built.py ROOT"""

import sys
from pathlib import Path


def main(root):
    tests = Path(root) / "tests"
    built = "\n".join(path.read_text() for path in tests.rglob("meson.build"))
    sources = sorted(p for p in tests.rglob("*") if p.suffix in (".c", ".cpp", ".py"))
    forgotten = [p for p in sources if f"'{p.name}'" not in built and
                 f"/{p.name}'" not in built]
    for path in forgotten:
        print(f"{path.relative_to(root)} is in no build file")
    print(f"{len(sources)} files, {len(forgotten)} forgotten")
    return 1 if forgotten or not sources else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
