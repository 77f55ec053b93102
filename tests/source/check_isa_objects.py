#!/usr/bin/env python3
"""Files compiled for one instruction set define no weak symbol: check_isa_objects.py LIBRARY..

The linker keeps one copy of a weak symbol (an inline function, a template of the standard library). If
that is the copy with AVX-512 in it, the whole program dies of SIGILL on an older processor.
"""

import subprocess
import sys


def main(*libraries):
    weak = []
    for library in libraries:
        listing = subprocess.run(["nm", "-C", library], capture_output=True, text=True, check=True)
        weak += [f"{library}: {line}" for line in listing.stdout.splitlines()
                 if len(line.split()) > 2 and line.split()[1] in "VWuvw"]
    print("\n".join(weak))
    print(f"{len(libraries)} libraries, {len(weak)} weak symbols")
    return 1 if weak or not libraries else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
