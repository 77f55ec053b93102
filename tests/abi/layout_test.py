"""Structs of the boundary only ever grow at their end.

layout.txt holds, for every struct, each field's offset and size and the struct's size. Today's must
begin with what is written there. After adding a field or a struct run this with --append; what is
written is never changed by it. (While the boundary is v0 and unreleased it may be: bump
MINIINFER_ABI_MINOR and write the file anew with --rewrite.)
"""

import pathlib
import subprocess
import sys
import tempfile

import abi_headers

GOLDEN = pathlib.Path(__file__).with_name('layout.txt')


def today():
    """{struct: ([(field, offset, size), ..], size)}, from a program compiled now."""
    lines, includes = [], []
    for header in abi_headers.headers():
        if abi_headers.is_draft(header):
            continue
        includes.append(f'#include "{header}"\n')
        for struct, fields in abi_headers.structs(header):
            lines += [f'printf("{struct} {field} %zu %zu\\n", offsetof({struct}, {field}), '
                      f'sizeof((({struct}*)0)->{field}));' for field in fields]
            lines.append(f'printf("{struct} - %zu 0\\n", sizeof({struct}));')
    with tempfile.TemporaryDirectory() as name:
        source = pathlib.Path(name) / 'layout.c'
        source.write_text('#include <stddef.h>\n#include <stdio.h>\n' + ''.join(includes) +
                          'int main(void) {\n' + '\n'.join(lines) + '\nreturn 0;\n}\n')
        program = source.with_suffix('')
        subprocess.run(['cc', '-std=c11', f'-I{abi_headers.INCLUDE}', source, '-o', program],
                       check=True)
        return parse(subprocess.run([program], check=True, capture_output=True, text=True).stdout)


def parse(text):
    layout = {}
    for line in text.splitlines():
        struct, field, offset, size = line.split()
        fields, total = layout.setdefault(struct, ([], [0]))
        if field == '-':
            total[0] = int(offset)
        else:
            fields.append((field, int(offset), int(size)))
    return {struct: (fields, total[0]) for struct, (fields, total) in layout.items()}


def render(layout):
    return ''.join(''.join(f'{struct} {field} {offset} {size}\n' for field, offset, size in fields)
                   + f'{struct} - {total} 0\n' for struct, (fields, total) in layout.items())


def differences(old, new):
    """What of `old` is no longer true."""
    wrong = []
    for struct, (fields, total) in old.items():
        if struct not in new:
            wrong.append(f'{struct} is gone')
            continue
        now, size = new[struct]
        for index, field in enumerate(fields):
            if index >= len(now) or now[index] != field:
                became = now[index] if index < len(now) else 'nothing'
                wrong.append(f'{struct}: {field} became {became}')
        if size < total or (struct in abi_headers.FROZEN and size != total):
            wrong.append(f'{struct}: size {total} became {size}')
    return wrong


def headless(layout):
    return [f'{struct} neither begins with a miniinfer_head nor is frozen'
            for struct, (fields, _) in layout.items()
            if struct not in abi_headers.FROZEN and fields[0] != ('head', 0, 8)]


def padded(layout):
    wrong = []
    for struct, (fields, total) in layout.items():
        end = 0
        for field, offset, size in fields:
            if offset != end:
                wrong.append(f'{struct}: {offset - end} bytes of padding before {field}')
            end = offset + size
        if end != total:
            wrong.append(f'{struct}: {total - end} bytes of padding at the end')
    return wrong


def main():
    new = today()
    wrong = headless(new) + padded(new)
    if '--rewrite' not in sys.argv:
        old = parse(GOLDEN.read_text()) if GOLDEN.exists() else {}
        wrong += differences(old, new)
        if not wrong and old != new and '--append' not in sys.argv:
            wrong.append(f'{GOLDEN.name} lacks what is new: {__file__} --append')
    for line in wrong:
        print(line)
    if not wrong and ('--append' in sys.argv or '--rewrite' in sys.argv):
        GOLDEN.write_text(render(new))
    print(f'{len(new)} structs, {sum(len(fields) for fields, _ in new.values())} fields')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
