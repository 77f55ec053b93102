#pragma once

#include <cstdint>
#include <string>

namespace miniinfer::bench {

// Free bytes of the GPU on that bus id, as NVIDIA's management library tells them without a
// context; 0: unknown.
std::uint64_t free_bytes(const std::string& bus_id);

}  // namespace miniinfer::bench
