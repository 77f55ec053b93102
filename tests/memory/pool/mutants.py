#!/usr/bin/env python3
"""Breaks the pool in one place at a time and asks its tests whether they notice.

usage: mutants.py [--cxx CXX] [--steps N] [--only REGEX]

Each mutant is an edit of a copy of core/memory/pool, built with the tests beside this file and run. A
mutant that every test passes is a hole in the tests: exit 1. Prints a table; some minutes in all.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
POOL = ROOT / 'core' / 'memory' / 'pool'
SUPPORT = ['core/platform/asymmetric_fence.cpp', 'core/memory/budget.cpp', 'core/memory/request.cpp',
           'core/base/format.cpp', 'core/base/log.cpp', 'core/base/status.cpp',
           'tests/support/main.cpp']
TESTS = ['tests/memory/pool/parts_test.cpp', 'tests/memory/pool/block_map_test.cpp',
         'tests/memory/pool/pool_test.cpp', 'tests/memory/pool/pool_fuzz_test.cpp']

# What is broken, file, old, new.
MUTANTS = [
    # Stream order.
    ("another stream's block is taken at once", 'ladder.cpp',
     '[&](const Node& node) { return node.use <= order_.seen(wanted.slot, node.owner); }',
     '[&](const Node&) { return true; }'),
    ('the stream is not made to wait', 'ladder.cpp',
     'if (!upstream_->wait(covering.event, wanted.request->stream).ok()) return kNil;', ''),
    ('an event of an older epoch covers a newer one', 'ladder.cpp',
     'newest != nullptr && newest->epoch >= nodes_[id].use', 'newest != nullptr'),
    ('a wait counts for one epoch more', 'ladder.cpp',
     'order_.waits(wanted.slot, owner, covering.epoch);',
     'order_.waits(wanted.slot, owner, covering.epoch + 1);'),
    ('what one stream has seen counts for the other', 'ladder.cpp',
     'order_.waits(wanted.slot, owner, covering.epoch);',
     'order_.waits(owner, wanted.slot, covering.epoch);'),
    ('an event that was not recorded counts', 'ladder.cpp',
     'if (order_.forget(slot, recorded.epoch)) spare_events_.push_back(recorded.event);', ''),
    ('an event is asked and not heard', 'ladder.cpp', 'if (!done || !*done) break;', 'if (!done) break;'),
    ('the newest epoch is done with the oldest event', 'ladder.cpp',
     'events = order_.finished(slot, oldest.epoch);',
     'events = order_.finished(slot, order_.newest(slot)->epoch);'),
    ('what several streams use is free with the first', 'ladder.cpp', 'std::all_of(', 'std::any_of('),
    ('uses by other streams are forgotten', 'streams.cpp', 'node->tag |= kTagUsed;', ''),
    ('an epoch does not end with its event', 'stream_order.cpp', 'return at.epoch++;', 'return at.epoch;'),
    ('the host has waited for more than there was', 'stream_order.hpp',
     'return finished(slot, slots_[slot].epoch++);', 'return finished(slot, slots_[slot].epoch);'),
    ('a new stream has seen what the one before had', 'stream_order.cpp',
     'slots_[slot].seen.clear();', 'for (auto& seen : slots_[slot].seen) seen += 1;'),
    ('events that are not done are given away', 'stream_order.cpp',
     'at.recorded.front().epoch <= epoch', 'at.recorded.front().epoch <= epoch + 1'),
    ('what a capture used goes to all', 'pool.hpp',
     'if ((node.tag & kTagUsed) != 0 || order_.captures(slot)) return hold_back(id, slot);',
     'if ((node.tag & kTagUsed) != 0) return hold_back(id, slot);'),
    ("a thread keeps a capture's blocks for others", 'streams.cpp',
     'const std::vector<ThreadCache*> closed = close_shelves(stream);\n  CaptureId',
     'const std::vector<ThreadCache*> closed;\n  CaptureId'),
    ('a stream that captures is recorded', 'ladder.cpp',
     'if (!order_.is_used(slot) || order_.captures(slot)) continue;',
     'if (!order_.is_used(slot)) continue;'),
    ("a thread keeps a removed stream's blocks", 'streams.cpp',
     'cache->remove_shelf(shelf_key(stream));', ''),
    ('a block is given in the epoch before', 'pool.hpp',
     'give(id, slot, order_.epoch(slot));', 'give(id, slot, order_.epoch(slot) - 1);'),
    ('a block taken from a cache is of any stream', 'pool.cpp',
     'cache.recent(shelf_key(request.stream));', 'cache.shelves().empty() ? nullptr : cache.shelves()[0].get();'),
    # Books.
    ('neighbours of two owners are merged', 'block_map.cpp',
     '(a.owner == b.owner || a.owner == 0 || b.owner == 0)', 'true'),
    ('the older of two epochs stays', 'block_map.cpp',
     'node.use = std::max(node.use, nodes_[other].use);', 'node.use = std::min(node.use, nodes_[other].use);'),
    ('a merged block is nobody\'s', 'block_map.cpp',
     'if (nodes_[other].owner != 0) node.owner = nodes_[other].owner;', ''),
    ('the rest of a block is nobody\'s', 'block_map.cpp', '  tail.owner = node.owner;\n', ''),
    ('the rest of a block has no epoch', 'block_map.cpp', '  tail.use = node.use;\n', ''),
    ('a block settles an epoch early', 'block_map.cpp',
     'nodes_[id].use > epoch) return any;', 'nodes_[id].use > epoch + 1) return any;'),
    ('a merged neighbour is not taken from its bin', 'block_map.cpp', '      leave_bin(after);\n', ''),
    ('blocks are never merged', 'block_map.cpp', 'return b.state() == State::Free &&',
     'return false && b.state() == State::Free &&'),
    ('memory in use is merged', 'block_map.cpp', 'return b.state() == State::Free &&',
     'return b.state() != State::Hole &&'),
    ('holes are not merged', 'block_map.cpp',
     'if (before != kNil && nodes_[before].state() == State::Hole) return absorb_after(before);', ''),
    ('alignment is forgotten', 'block_map.cpp', 'if (alignment > unit_) {', 'if (false) {'),
    ('a block that is too small fits', 'block_map.hpp',
     'return node.bytes >= bytes &&', 'return node.bytes + unit_ >= bytes &&'),
    ('the place of a block has a hole in it', 'block_map.cpp',
     'std::min(hole_end, align_up(end, granule))', 'std::min(hole_end, end & ~(granule - 1))'),
    ('blocks by age lose one', 'block_map.cpp', '  leave_age(id);\n  const auto put_back', '  const auto put_back'),
    # Growth and life.
    ('memory in use by a stream is moved', 'block_map.hpp',
     'const Owner& nobody = owners_[0];', 'const Owner& nobody = owners_[owners_.size() - 1];'),
    ('memory is not mapped for access', 'growth.cpp',
     'if (growth.has_access) {', 'growth.has_access = true;\n    if (growth.has_access) {'),
    ('a failed growth keeps its budget', 'growth.cpp', 'budget_->give(fresh - growth.made);', ''),
    ('lost memory stays reserved', 'growth.cpp', '  remove_reserved(growth.lost);\n', ''),
    ('a piece that could not be mapped is kept by nobody', 'growth.cpp',
     '        destroy(piece);\n        growth.lost', '        growth.lost'),
    ('neighbours of growing memory may go', 'growth.cpp', '    take_beside(growth, place);\n', ''),
    ('a thread takes its blocks with it', 'pool.cpp', '  empty(*cache);\n  const std', '  const std'),
    ('a pool ends while work is in flight', 'pool.cpp', '    sync_all();\n', ''),
    ('a free is believed that names no block', 'pool.hpp',
     'node->word.load(std::memory_order_relaxed) != block.token >> 32 ||', ''),
    ('a cached block is counted twice', 'pool.cpp', 'cache.emptied_bytes.add(nodes_[id].bytes);', ''),
    ("a thread's blocks of one size are without end", 'pool.cpp', 'depth < kMostPerBin', 'true'),
]


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--cxx', default=os.environ.get('CXX', 'c++'))
  parser.add_argument('--steps', default='400000')
  parser.add_argument('--only', default='')
  options = parser.parse_args()
  compiler = shutil.which('ccache')
  compiler = ([compiler] if compiler else []) + options.cxx.split()
  flags = ['-std=c++20', '-O1', '-D_GLIBCXX_ASSERTIONS', '-DFMT_HEADER_ONLY', '-pthread']

  def build(copy, sources, objects):
    made = []
    for source in sources:
      target = objects / (str(source.name) + '.o')
      text = subprocess.run(compiler + flags + [f'-I{copy}', f'-I{ROOT}', f'-I{ROOT}/include', '-c',
                                                str(source), '-o', str(target)],
                            capture_output=True, text=True)
      if text.returncode != 0:
        sys.exit(f'{source} does not compile:\n{text.stderr[:2000]}')
      made.append(target)
    return made

  def tests_fail(copy, objects):
    pool = copy / 'core' / 'memory' / 'pool'
    made = build(copy, sorted(pool.glob('*.cpp')) + [ROOT / name for name in SUPPORT + TESTS],
                 objects)
    program = objects / 'test'
    subprocess.run(options.cxx.split() + ['-pthread'] + [str(name) for name in made] +
                   ['-o', str(program)], check=True)
    environment = dict(os.environ, MINIINFER_FUZZ_STEPS=options.steps, MINIINFER_LOG_LEVEL='off')
    try:
      result = subprocess.run([str(program)], capture_output=True, text=True, env=environment,
                              timeout=60)
    except subprocess.TimeoutExpired:
      return 'does not end'
    if result.returncode == 0:
      return ''
    lines = [line.strip() for line in result.stdout.splitlines()]
    case = next((line for line in lines if line.startswith('TEST CASE:')), '')
    return case.removeprefix('TEST CASE:').strip() or f'exit {result.returncode}'

  survivors = []
  with tempfile.TemporaryDirectory() as folder:
    copy = pathlib.Path(folder)
    pool = copy / 'core' / 'memory' / 'pool'
    objects = copy / 'objects'
    objects.mkdir()
    chosen = [('nothing', '', '', '')] + [m for m in MUTANTS if re.search(options.only, m[0] + m[1])]
    for name, file, old, new in chosen:
      shutil.rmtree(pool, ignore_errors=True)
      shutil.copytree(POOL, pool)
      if file:
        text = (pool / file).read_text()
        if text.count(old) < 1:
          sys.exit(f'{name}: {file} no longer has: {old}')
        (pool / file).write_text(text.replace(old, new, 1))
      begin = time.monotonic()
      caught = tests_fail(copy, objects)
      print(f'{file or "-":17} {name:52} {time.monotonic() - begin:5.1f} s  '
            f'{caught or "NOT NOTICED"}', flush=True)
      if bool(caught) != bool(file):
        survivors.append(name)
  print(f'{len(MUTANTS)} mutants, {len(survivors)} not as they should be')
  sys.exit(1 if survivors else 0)


main()
