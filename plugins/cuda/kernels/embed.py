#!/usr/bin/env python3
"""Writes headers, without their own includes, as one C++ raw string: embed.py OUT IN..."""

import sys


def main() -> None:
    out, *headers = sys.argv[1:]
    lines = []
    for header in headers:
        with open(header, encoding='utf-8') as text:
            lines += [line for line in text
                      if not line.startswith(('#pragma once', '#include "'))]
    with open(out, 'w', encoding='utf-8') as text:
        text.write('R"prelude(' + ''.join(lines) + ')prelude"\n')


if __name__ == '__main__':
    main()
