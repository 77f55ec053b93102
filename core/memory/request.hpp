#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "miniinfer/allocator.hpp"

namespace miniinfer {

// INVALID_ARGUMENT, naming `owner`, for an alignment that is no power of two or a kind that is not
// among `kinds`.
Status check_request(const MemoryRequest& request, std::string_view owner,
                     std::initializer_list<MemoryKind> kinds);

// "allocation of 3.1 GiB on fake:0 failed, 2.0 GiB free", with the request's tag where it has one.
Status out_of_memory(const MemoryRequest& request, std::string_view owner, const MemoryInfo& info);

}  // namespace miniinfer
