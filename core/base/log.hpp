#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "miniinfer/abi/host.h"

namespace miniinfer {

// The library's log. Silent until somebody sets a sink. Levels are those of abi/host.h.
// [any-thread]
using LogSink = std::function<void(int level, std::string_view component, std::string_view text)>;

void set_log(LogSink sink, int level);
int log_level() noexcept;
void log(int level, std::string_view component, const std::string& text);

// A sink that writes lines such as "[warning] fake: ..." to stderr. The only place that knows
// spdlog.
LogSink stderr_sink();

}  // namespace miniinfer
