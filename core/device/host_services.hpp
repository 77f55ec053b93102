#pragma once

// What all host tables of the process share: settings, the thread pool, the text of set_error.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/device/backend_registry.hpp"
#include "miniinfer/abi/host.h"

namespace miniinfer {

// The value of "<plugin>.<key>", or null. Lives as long as the process.
const char* host_option(std::string_view plugin, std::string_view key) noexcept;
// Empty: no cache is allowed.
std::filesystem::path host_cache_folder();

// As miniinfer_host.parallel_for, with the pool's threads or, in a forked child that has none of
// them, on the caller alone.
miniinfer_code host_parallel_for(std::uint64_t count, std::uint64_t grain,
                                 std::uint32_t max_threads, miniinfer_loop_body body,
                                 void* context) noexcept;

// Keeps why a call on this thread fails, for take_error_text.
void set_error_text(std::string_view text) noexcept;
// Forgets what a call that did not fail has said.
void drop_error_text() noexcept;

}  // namespace miniinfer
