#include "core/device/host_services.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

#include "core/base/log.hpp"
#include "core/device/fork_generation.hpp"
#include "core/platform/thread_pool.hpp"

namespace miniinfer {
namespace {

constexpr std::size_t kMaxErrorText = 4096;

thread_local std::string error_text;

// Never destroyed: plugins are never unloaded.
struct Services {
  std::mutex mutex;
  bool configured = false;
  LogSink sink;
  std::atomic<int> threads{0};  // 0: not asked for yet
  std::filesystem::path cache;
  std::map<std::string, std::string, std::less<>> options;

  std::once_flag pool_once;
  ThreadPool* pool = nullptr;
  std::uint32_t pool_generation = 0;
};

Services& services() {
  static Services* const instance = new Services;
  return *instance;
}

ThreadPool& pool() {
  Services& s = services();
  std::call_once(s.pool_once, [&s] {
    s.pool_generation = fork_generation();
    s.pool = new ThreadPool(host_threads());
  });
  return *s.pool;
}

// The caller's loop, and the first of its failures: the text is on the thread that failed.
struct Loop {
  miniinfer_loop_body body;
  void* context;
  std::mutex mutex;
  miniinfer_code code = MINIINFER_OK;
  std::string text;
};

miniinfer_code run_piece(void* context, std::uint64_t begin, std::uint64_t end,
                         std::uint32_t worker) {
  Loop& loop = *static_cast<Loop*>(context);
  const miniinfer_code code = loop.body(loop.context, begin, end, worker);
  if (code == MINIINFER_OK) return code;
  std::string text = take_error_text();
  const std::lock_guard lock(loop.mutex);
  if (loop.code == MINIINFER_OK) {
    loop.code = code;
    loop.text = std::move(text);
  }
  return code;
}

}  // namespace

void configure_host(const HostSettings& settings) {
  Services& s = services();
  const std::lock_guard lock(s.mutex);
  if (settings.log && !s.sink) {
    s.sink = settings.log;
    set_log(s.sink, settings.level);
  } else if (settings.log && settings.level < log_level()) {
    set_log(s.sink, settings.level);
  }
  if (std::exchange(s.configured, true)) return;
  s.threads = settings.threads;
  s.cache = settings.cache;
  for (const auto& [key, value] : settings.options) s.options.emplace(key, value);
}

int host_threads() {
  Services& s = services();
  const int threads = s.threads.load(std::memory_order_relaxed);
  if (threads > 0) return threads;
  const std::lock_guard lock(s.mutex);
  if (s.threads <= 0) s.threads = usable_cores();
  return s.threads;
}

const char* host_option(std::string_view plugin, std::string_view key) noexcept {
  Services& s = services();
  const std::lock_guard lock(s.mutex);
  const auto found = s.options.find(std::string(plugin) + "." + std::string(key));
  return found == s.options.end() ? nullptr : found->second.c_str();
}

std::filesystem::path host_cache_folder() {
  Services& s = services();
  const std::lock_guard lock(s.mutex);
  return s.cache;
}

miniinfer_code host_parallel_for(std::uint64_t count, std::uint64_t grain,
                                 std::uint32_t max_threads, miniinfer_loop_body body,
                                 void* context) noexcept {
  if (count == 0) return MINIINFER_OK;
  if (!body) {
    set_error_text("parallel_for: the body is null");
    return MINIINFER_INVALID_ARGUMENT;
  }
  ThreadPool& threads = pool();
  if (fork_generation() != services().pool_generation) return body(context, 0, count, 0);
  Loop loop{body, context, {}, MINIINFER_OK, {}};
  const miniinfer_code code = threads.parallel_for(count, grain, max_threads, run_piece, &loop);
  if (loop.code == MINIINFER_OK) return code;
  set_error_text(loop.text);
  return loop.code;
}

void set_error_text(std::string_view text) noexcept {
  error_text.assign(text.substr(0, kMaxErrorText));
}

void drop_error_text() noexcept { error_text.clear(); }

std::string take_error_text() { return std::exchange(error_text, {}); }

}  // namespace miniinfer
