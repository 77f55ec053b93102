#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/pool_allocator.hpp"

namespace miniinfer {

// What a name such as "fake:0/caching?limit=4GiB/tracking" asks for: a device's memory, and what is
// put around it, the innermost first.
struct AllocatorSpec {
  enum class Kind { Caching, Pool, Limit, Tracking };
  struct Layer {
    Kind kind;
    PoolOptions pool;           // of Caching and Pool
    std::uint64_t bytes = 0;    // of Limit
    std::uint64_t history = 0;  // of Tracking
    bool has_options = false;   // some were given
  };

  std::string device;  // "fake" is "fake:0"
  std::vector<Layer> layers;
  std::string text;  // the same for all names that mean the same
};

// INVALID_ARGUMENT for a preset, an option or a value that is unknown, with those there are.
Result<AllocatorSpec> parse_allocator_spec(std::string_view name);

// "limit=4GiB&slack=1.05": what caching takes, as `owner` spells it.
Result<PoolOptions> parse_pool_options(std::string_view text, std::string_view owner);

}  // namespace miniinfer
