#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "miniinfer/abi/memory.h"

namespace miniinfer::fake {

// How much of each queue's work, by the queue's number, is known to be done before something.
using Clock = std::map<std::uint32_t, std::uint64_t>;

void merge(Clock& into, const Clock& from);

// A piece of device memory that a piece of work uses.
struct Access {
  miniinfer_mem mem;
  std::uint64_t bytes;
  bool writes;
};

// Finds uses of memory that nothing orders: on two streams, overlapping, one of them writing, and
// neither an event nor a wait of the host between them. Whether the work happened to run in the
// right order does not matter. Guarded by its owner.
class RaceOracle {
 public:
  // Work number `position` of queue `queue` uses memory; `before` is what is done before it, `host`
  // what the host has waited for. Gives a sentence about a race, or nothing.
  std::string use(const Access& access, std::uint32_t queue, std::uint64_t position,
                  const Clock& before, const Clock& host);
  // The block is given back by the host, at once. Gives a sentence where work may still use it.
  std::string give_back(std::uint64_t handle, const Clock& host);
  void forget(std::uint64_t handle) { uses_.erase(handle); }

 private:
  struct Use {
    std::uint32_t queue;
    std::uint64_t position;
    std::uint64_t begin;
    std::uint64_t end;
    bool writes;
  };

  std::map<std::uint64_t, std::vector<Use>> uses_;  // by handle; those the host has not waited for
};

}  // namespace miniinfer::fake
