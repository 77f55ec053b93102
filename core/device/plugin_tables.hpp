#pragma once

// What a plugin gives is checked and made safe here, before anything else reads it.

#include <cstddef>
#include <string_view>

#include "miniinfer/abi/device.h"
#include "miniinfer/abi/plugin.h"
#include "miniinfer/status.hpp"

namespace miniinfer {

// INCOMPATIBLE, saying what is wrong, unless the table has a well-formed name and every slot that
// must be there.
Status check_plugin_api(const miniinfer_plugin_api* api);

// "fake": [a-z][a-z0-9_]*
bool is_backend_name(std::string_view name) noexcept;

// The name of the first slot that must be there and is not; null: all are. The tables are whole.
const char* missing_slot(const miniinfer_device_api& api) noexcept;
const char* missing_slot(const miniinfer_stream_api& api) noexcept;
const char* missing_slot(const miniinfer_op_api& api) noexcept;

template <std::size_t n>
void terminate(char (&text)[n]) noexcept {
  text[n - 1] = '\0';
}

// Ends the strings; an unknown kind is an accelerator, an alignment that is none is 64.
void sanitize(miniinfer_device_info& info) noexcept;

}  // namespace miniinfer
