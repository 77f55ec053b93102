"""The code in docs/writing-a-backend.md is what the example backend really contains."""

import re
import sys

import abi_headers

PAGE = abi_headers.SOURCE / 'docs' / 'writing-a-backend.md'
EXAMPLE = abi_headers.SOURCE / 'subprojects' / 'example-backend'
FILES = {'cpp': EXAMPLE / 'example_backend.cpp', 'meson': EXAMPLE / 'meson.build'}


def main():
    blocks = re.findall(r'^```(\w+)\n(.*?)^```', PAGE.read_text(), flags=re.M | re.S)
    missing = [text for language, text in blocks
               if language in FILES and not holds(FILES[language].read_text(), text)]
    for text in missing:
        print(f'not in the example:\n{text}')
    print(f'{len(blocks)} pieces of code, {len(missing)} of them not from the example')
    return 1 if missing or not blocks else 0


def holds(file, text):
    """Whether each paragraph of the piece is in the file, to the letter."""
    return all(part.strip('\n') in file for part in text.split('\n\n'))


if __name__ == '__main__':
    sys.exit(main())
