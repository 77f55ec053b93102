"""Each header of the boundary compiles alone and twice, in every standard, without padding."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import abi_headers

FLAGS = ['-Wall', '-Wextra', '-pedantic', '-Wpadded', '-Werror', '-fsyntax-only',
         f'-I{abi_headers.INCLUDE}']
STANDARDS = {'c': ['c99', 'c11', 'c17'], 'c++': ['c++11', 'c++14', 'c++17', 'c++20']}
COMPILERS = {'c': ['gcc', 'clang-19'], 'c++': ['g++', 'clang++-19']}


def write_sources(folder, suffix):
    """One file a header. sizeof makes clang lay out each struct, which it needs for -Wpadded."""
    sources = []
    for number, header in enumerate(abi_headers.headers()):
        sizes = ''.join(f'char size_{name}[sizeof({name}) > 0 ? 1 : -1];\n'
                        for name, _ in abi_headers.structs(header))
        source = folder / f'{number:02}_{pathlib.Path(header).stem}{suffix}'
        source.write_text(f'#include "{header}"\n#include "{header}"\n'
                          f'extern int not_empty;\n{sizes}')
        sources.append(str(source))
    return sources


def main():
    failures, compiled = 0, 0
    with tempfile.TemporaryDirectory() as name:
        for language, suffix in (('c', '.c'), ('c++', '.cpp')):
            sources = write_sources(pathlib.Path(name), suffix)
            for compiler in COMPILERS[language]:
                if shutil.which(compiler) is None:
                    print(f'skipped: no {compiler}')
                    continue
                for standard in STANDARDS[language]:
                    run = subprocess.run([compiler, f'-std={standard}', *FLAGS, *sources],
                                         capture_output=True, text=True, check=False)
                    compiled += len(sources)
                    if run.returncode != 0:
                        failures += 1
                        print(f'{compiler} -std={standard}:\n{run.stderr}')
    print(f'{compiled} compilations, {failures} combinations failed')
    return 1 if failures or compiled == 0 else 0


if __name__ == '__main__':
    sys.exit(main())
