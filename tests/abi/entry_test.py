"""A plugin's entry function keeps its promises: it agrees on a version, refuses with both ranges
named, never writes past the buffer, and gives the same table each time.

Arguments: plugin files.
"""

import ctypes
import sys


class Entry(ctypes.Structure):  # miniinfer_entry
    _fields_ = [('size', ctypes.c_uint32), ('minor', ctypes.c_uint32),
                ('host_min', ctypes.c_uint32), ('host_max', ctypes.c_uint32),
                ('chosen', ctypes.c_uint32), ('error_capacity', ctypes.c_uint32),
                ('plugin', ctypes.c_void_p), ('error', ctypes.c_char_p)]


OK, INVALID_ARGUMENT, INCOMPATIBLE = 0, 2, 8


def enter(plugin, low, high, capacity=200, size=ctypes.sizeof(Entry)):
    buffer = ctypes.create_string_buffer(b'\x7f' * 256, 256)
    entry = Entry(size, 0, low, high, 0, capacity, None,
                  ctypes.cast(buffer, ctypes.c_char_p) if capacity else None)
    code = plugin.miniinfer_plugin_entry_v0(ctypes.byref(entry))
    untouched = buffer.raw[capacity:] == b'\x7f' * (256 - capacity)
    return code, entry, buffer.raw[:capacity].split(b'\0')[0].decode('latin-1'), untouched


def complaints(path):
    plugin = ctypes.CDLL(path)
    wrong = []

    def check(condition, text):
        if not condition:
            wrong.append(text)

    code, first, _, _ = enter(plugin, 0, 0xFFFFFFFF)
    check(code == OK and first.plugin, f'refused every version: {code}')
    code, second, _, _ = enter(plugin, first.chosen, first.chosen)
    check(code == OK and second.plugin == first.plugin, 'gave another table the second time')
    far = first.chosen + 1000
    code, entry, text, _ = enter(plugin, far, far + 1)
    check(code == INCOMPATIBLE and not entry.plugin, f'took a version it cannot speak: {code}')
    check(str(far) in text and f'.{first.chosen}' in text, f'named no ranges: "{text}"')
    for capacity in (0, 1, 8):
        code, _, text, untouched = enter(plugin, far, far, capacity)
        check(code == INCOMPATIBLE and untouched and len(text) < max(capacity, 1),
              f'wrote past a buffer of {capacity} bytes')
    code, _, _, _ = enter(plugin, 0, 0xFFFFFFFF, size=8)
    check(code == INVALID_ARGUMENT, f'took an entry struct of 8 bytes: {code}')
    return wrong


def main():
    failed = 0
    for path in sys.argv[1:]:
        wrong = complaints(path)
        failed += bool(wrong)
        print(f'{path}: {"; ".join(wrong) or "agrees and refuses as it should"}')
    return 1 if failed or len(sys.argv) == 1 else 0


if __name__ == '__main__':
    sys.exit(main())
