"""What a built plugin file shows without being run: one symbol, and a note that is true.

Arguments: plugin files. Those in sanitizer builds may show the sanitizer's symbols too.
"""

import pathlib
import re
import struct
import subprocess
import sys

ALLOWED = re.compile(r'miniinfer_plugin_entry_v\d+$')
SANITIZER = re.compile(r'_*(asan|tsan|ubsan|lsan|msan|sanitizer|odr_asan|sancov)')
NOTE = '.note.miniinfer'
NOTE_FORMAT = '<3I12s4I48s'  # miniinfer_note


def exported(path):
    out = subprocess.run(['nm', '-D', '--defined-only', '--format=posix', path], check=True,
                         capture_output=True, text=True).stdout
    return [line.split()[0].split('@')[0] for line in out.splitlines()]


def section(data, wanted):
    """The bytes of a section of a 64-bit little-endian ELF file, or None."""
    if data[:6] != b'\x7fELF\x02\x01':
        raise ValueError('not a 64-bit little-endian ELF file')
    table, = struct.unpack_from('<Q', data, 0x28)
    size, count, names = struct.unpack_from('<3H', data, 0x3A)
    entries = [struct.unpack_from('<2I4Q', data, table + i * size) for i in range(count)]
    for name, _, _, _, offset, length in entries:
        start = entries[names][4] + name
        if data[start:data.index(b'\0', start)].decode() == wanted:
            return data[offset:offset + length]
    return None


def note_complaints(path):
    note = section(path.read_bytes(), NOTE)
    if note is None:
        return [f'has no {NOTE}']
    (name_bytes, desc_bytes, kind, owner, major, low, high, reserved,
     plugin) = struct.unpack_from(NOTE_FORMAT, note)
    wrong = []
    if (name_bytes, desc_bytes, kind) != (10, 64, 1) or owner != b'miniinfer\0\0\0':
        wrong.append(f'note header is {name_bytes}, {desc_bytes}, {kind}, {owner}')
    if any(note[struct.calcsize(NOTE_FORMAT):]):
        wrong.append('something follows the note')
    if low > high or reserved != 0:
        wrong.append(f'note says v{major}.{low} to v{major}.{high}, reserved {reserved}')
    name = plugin.split(b'\0')[0].decode()
    if f'libminiinfer_{name}.so' != path.name:
        wrong.append(f'note says the plugin is "{name}"')
    return wrong


def complaints(path):
    symbols = exported(path)
    wrong = [f'shows {name}' for name in symbols
             if not ALLOWED.match(name) and not SANITIZER.match(name)]
    if not any(ALLOWED.match(name) for name in symbols):
        wrong.append('shows no entry function')
    return wrong + note_complaints(path)


def main():
    failed = 0
    for path in map(pathlib.Path, sys.argv[1:]):
        wrong = complaints(path)
        failed += bool(wrong)
        print(f'{path.name}: {"; ".join(wrong) or "one symbol, a true note"}')
    return 1 if failed or len(sys.argv) == 1 else 0


if __name__ == '__main__':
    sys.exit(main())
