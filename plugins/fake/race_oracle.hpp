#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "miniinfer/abi/memory.h"
#include "plugins/fake/clock.hpp"

namespace miniinfer::fake {

// A piece of device memory that a piece of work uses.
struct Access {
  miniinfer_mem mem;
  std::uint64_t bytes;
  bool writes;
};

// A piece of work of a stream.
struct Work {
  const char* name;        // "copy"; lives as long as the device
  std::uint32_t slot;      // of its queue, in clocks
  std::uint64_t position;  // in its queue, in clocks
  std::uint32_t stream;    // for people: a device's streams and their work count from 1
  std::uint64_t number;
};

// Finds uses of memory that nothing orders: on two streams, overlapping, one of them writing, and
// neither an event nor a wait of the host between them. Whether the work happened to run in the
// right order does not matter. Guarded by its owner.
//
// Every byte has the work that wrote it last and those that have read it since, as in FastTrack
// (Flanagan and Freund, PLDI 2009), kept for stretches of bytes that have them in common. What the
// host has waited for is before all that comes later and is dropped.
class RaceOracle {
 public:
  // `before` is what is done before the work, `host` what the host has waited for. Gives a sentence
  // about the first race, or nothing.
  std::string use(const Access& access, const Work& work, const Clock& before, const Clock& host);
  // Memory is taken away by the host, at once: "is freed". Gives a sentence where work may still
  // use it.
  std::string take_away(miniinfer_mem mem, std::uint64_t bytes, const char* how, const Clock& host);
  // What was done to memory stays unknown from here on.
  void forget(miniinfer_mem mem, std::uint64_t bytes);

  // Something that a report about the place should tell: "allocated", "freed". `stream` 0: none.
  void note(miniinfer_mem mem, std::uint64_t bytes, const char* what, std::uint32_t stream);

 private:
  // Between its key and `end`.
  struct Stretch {
    std::uint64_t end;
    Work writer;  // of position 0: none
    std::vector<Work> readers;
  };
  using Stretches = std::map<std::uint64_t, Stretch>;

  struct Note {
    std::uint64_t begin;
    std::uint64_t end;
    const char* what;
    std::uint32_t stream;
    std::uint64_t number;
  };

  // Makes a boundary at an address, if a stretch lies across it; gives the first at or after it.
  Stretches::iterator split(std::uint64_t at);
  std::string history(std::uint64_t begin, std::uint64_t end) const;

  Stretches stretches_;
  std::vector<Note> notes_;  // a ring
  std::uint64_t notes_made_ = 0;
};

}  // namespace miniinfer::fake
