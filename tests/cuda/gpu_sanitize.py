#!/usr/bin/env python3
"""The operator programs under compute-sanitizer's four tools.

    gpu_sanitize.py TESTS_FOLDER [--tools memcheck,racecheck,initcheck,synccheck] [--limit 300]
                    [--sanitizer FILE] [PROGRAM..]

TESTS_FOLDER is tests/cuda of a build or tests of a bundle. A row for each program and tool: errors,
seconds, and what was left out to end in time. Ends with 1 where there was an error or the limit was
reached, with 77 and the reason where there is no tool or no GPU.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ["gpu_elementwise_test", "gpu_product_test", "gpu_attention_test"]
# Where a tool makes a program too slow: one case of so many. Prime to the lengths of the lists of
# cases, so that in the end each kind of case has its turn.
EVERY = {("gpu_product_test", "racecheck"): 29, ("gpu_product_test", "initcheck"): 7}
SUMMARY = re.compile(r"SUMMARY: (\d+) (?:error|hazard)")


def run(command, limit):
    """Its output, and its exit code or None where it outlasted the limit."""
    try:
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, timeout=limit)
        return done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace"), None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("programs", nargs="*")
    parser.add_argument("--tools", default="memcheck,racecheck,initcheck,synccheck")
    parser.add_argument("--limit", type=float, default=300, help="seconds that one may take")
    parser.add_argument("--sanitizer", default=shutil.which("compute-sanitizer") or
                        "/usr/local/cuda/bin/compute-sanitizer")
    options = parser.parse_args()
    programs = options.programs or [p for p in PROGRAMS if (options.folder / p).exists()]
    if not shutil.which(options.sanitizer):
        print(f"skipped: there is no {options.sanitizer}")
        return 77
    if not programs:
        print(f"{options.folder} has no operator program")
        return 1
    output, code = run([options.folder / programs[0], "--test-case=none"], options.limit)
    if code == 77:
        print(output.strip())
        return 77
    good = True
    print(f"{'PROGRAM':24}{'TOOL':12}{'ERRORS':>8}{'SECONDS':>9}  CASES")
    for program in programs:
        for tool in options.tools.split(","):
            every = EVERY.get((program, tool), 1)
            begin = time.perf_counter()
            output, code = run([options.sanitizer, "--tool", tool, "--error-exitcode", 99,
                                options.folder / program, f"--every={every}"], options.limit)
            summary = SUMMARY.search(output)
            errors = "late" if code is None else summary[1] if summary else f"exit {code}"
            print(f"{program:24}{tool:12}{errors:>8}{time.perf_counter() - begin:9.1f}  "
                  f"{'all' if every == 1 else f'one of {every}'}", flush=True)
            if code != 0 or errors != "0":
                good = False
                print("\n".join(output.splitlines()[-40:]))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
