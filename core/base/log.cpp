#include "core/base/log.hpp"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "core/base/format.hpp"

namespace miniinfer {
namespace {

constexpr std::size_t kMostText = 8192;

struct LogState {
  std::mutex mutex;
  std::shared_ptr<const LogSink> sink;
  std::atomic<int> level{MINIINFER_LOG_OFF};
};

// Never destroyed: plugins may log while the process ends.
LogState& state() {
  static LogState* const instance = new LogState;
  return *instance;
}

}  // namespace

void set_log(LogSink sink, int level) {
  LogState& log_state = state();
  const std::lock_guard lock(log_state.mutex);
  log_state.level.store(sink ? level : MINIINFER_LOG_OFF, std::memory_order_relaxed);
  log_state.sink = sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr;
}

int log_level() noexcept { return state().level.load(std::memory_order_relaxed); }

void log(int level, std::string_view component, const std::string& text) {
  if (level < log_level()) return;
  std::shared_ptr<const LogSink> sink;
  {
    const std::lock_guard lock(state().mutex);
    sink = state().sink;
  }
  if (sink) (*sink)(level, component, text);
}

LogSink stderr_sink() {
  auto logger = std::make_shared<spdlog::logger>(
      "miniinfer", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_level(spdlog::level::trace);
  logger->set_pattern("[%^%l%$] %v");
  return [logger](int level, std::string_view component, std::string_view text) {
    logger->log(static_cast<spdlog::level::level_enum>(level), "{}: {}", component,
                printable(text, kMostText));
  };
}

}  // namespace miniinfer
