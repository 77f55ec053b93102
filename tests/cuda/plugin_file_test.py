#!/usr/bin/env python3
"""The CUDA plugin's file on a machine without a GPU: what it needs, and what it says.

    plugin_file_test.py PLUGIN OPEN_DEVICE OLD_DRIVER_FOLDER
"""

import os
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

PLUGIN, OPEN_DEVICE, OLD_DRIVER = map(os.path.abspath, sys.argv[1:4])
BUILD = Path(os.environ['MINIINFER_BUILD'])
DIGITS = os.environ['MINIINFER_SOURCE'] + '/examples/digits/digits.onnx'
UNAVAILABLE = 7
# The C and C++ run time; the loader itself is glibc's home of thread-local variables.
NEEDED = re.compile(r'(libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s|ld-linux-[^.]*)\.so\.\d+$')
HAS_DRIVER = os.path.exists('/dev/nvidiactl') or os.path.exists('/dev/dxg')


def run(*command, **variables):
    environment = {**os.environ, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


class PluginFile(unittest.TestCase):
    def test_needs_the_c_and_cpp_run_time_alone(self):
        out = run('readelf', '-dW', PLUGIN).stdout
        needed = re.findall(r'\(NEEDED\).*\[(.*)\]', out)
        self.assertTrue(needed)
        self.assertEqual([name for name in needed if not NEEDED.match(name)], [])
        self.assertNotIn('RPATH', out)
        self.assertNotIn('RUNPATH', out)

    @unittest.skipIf(HAS_DRIVER, 'this machine has a driver')
    def test_without_a_driver_opening_is_unavailable_and_says_so(self):
        said = run(OPEN_DEVICE, PLUGIN).stdout
        self.assertTrue(said.startswith(f'{UNAVAILABLE}: '), said)
        self.assertIn('no NVIDIA driver', said)

    @unittest.skipIf(HAS_DRIVER, 'this machine has a driver')
    def test_an_old_driver_is_told_with_both_versions(self):
        said = run(OPEN_DEVICE, PLUGIN, LD_LIBRARY_PATH=OLD_DRIVER).stdout
        self.assertTrue(said.startswith(f'{UNAVAILABLE}: '), said)
        self.assertIn('CUDA 12.4', said)
        self.assertIn('driver 580', said)

    @unittest.skipIf(HAS_DRIVER, 'this machine has a driver')
    def test_the_command_works_and_gives_the_reason(self):
        command = BUILD / 'miniinfer'
        if not command.exists():
            self.skipTest('the command was not built')
        said = run(command, 'devices', '--plugin', PLUGIN)
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertIn('cuda     absent', said.stdout)
        self.assertIn('no NVIDIA driver', said.stdout)
        for device, environment in (('cuda:0', {}), ('cuda:7', {}), ('cuda', {}),
                                    ('cuda:0', {'CUDA_VISIBLE_DEVICES': ''}),
                                    ('cuda:0', {'CUDA_VISIBLE_DEVICES': 'nonsense'}),
                                    ('cuda:0', {'LD_LIBRARY_PATH': OLD_DRIVER})):
            with self.subTest(device=device, environment=environment):
                strict = run(command, 'run', DIGITS, '-i', 'image=zeros', '-d', device, '--plugin',
                             PLUGIN, **environment)
                self.assertEqual(strict.returncode, 5)
                self.assertIn('no NVIDIA driver', strict.stderr)
        mixed = run(command, 'run', DIGITS, '-i', 'image=zeros', '-d', 'auto', '--plugin', PLUGIN)
        self.assertEqual(mixed.returncode, 0, mixed.stderr)

    def test_what_it_adds_to_listing_devices(self):
        """Prints the figure; fails only where it is far from what was promised, 1 ms."""
        command = BUILD / 'miniinfer'
        if not command.exists() or HAS_DRIVER:
            self.skipTest('needs the command, and a machine without a driver')

        def best(plugins):
            times = []
            for _ in range(60):
                begin = time.perf_counter()
                run(command, 'devices', MINIINFER_PLUGINS=plugins)
                times.append(time.perf_counter() - begin)
            return 1e3 * min(times)

        without, with_it = best('none'), best('cuda')
        print(f'devices: {without:.2f} ms without the plugin, {with_it:.2f} ms with it')
        self.assertLess(with_it - without, 5)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=1)
