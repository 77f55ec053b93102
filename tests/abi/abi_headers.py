"""What the tests of the boundary know of its headers: which there are, and their structs."""

import pathlib
import re

SOURCE = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = SOURCE / 'include'
# Structs whose size never changes: they have no head to tell it.
FROZEN = {'miniinfer_head', 'miniinfer_mem', 'miniinfer_fault', 'miniinfer_instruction',
          'miniinfer_entry', 'miniinfer_note'}


def headers():
    """Every header of the boundary as it is included, drafts among them."""
    return sorted(str(path.relative_to(INCLUDE))
                  for path in (INCLUDE / 'miniinfer' / 'abi').rglob('*.h'))


def is_draft(header):
    return '/ext/draft/' in header


def structs(header):
    """[(struct name, [field name, ..]), ..] in the order of the header."""
    text = (INCLUDE / header).read_text()
    text = re.sub(r'/\*.*?\*/', ' ', re.sub(r'//[^\n]*', ' ', text), flags=re.S)
    text = re.sub(r'^\s*#.*?(?<!\\)$', ' ', text, flags=re.M | re.S)
    found = []
    for name, body in re.findall(r'struct (\w+) \{(.*?)\}', text, flags=re.S):
        found.append((name, [field for field in map(field_name, body.split(';')) if field]))
    return found


def field_name(declaration):
    """The name a declaration declares: a pointer to function, an array, or plain."""
    declaration = ' '.join(declaration.split())
    if not declaration:
        return None
    match = re.search(r'\(\*(\w+)\)\(', declaration) or re.search(r'(\w+)\s*(\[[^]]*\])*$',
                                                                  declaration)
    if match is None:
        raise ValueError(f'cannot read the field "{declaration}"')
    return match.group(1)
