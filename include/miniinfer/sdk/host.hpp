#pragma once

// The host, as seen from a backend: log, options, parallel loops, error texts.

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "miniinfer/abi/host.h"
#include "miniinfer/sdk/error.hpp"

namespace miniinfer::sdk {

namespace detail {

// Set by the plugin's `probe` and `init`, before any of the author's code runs.
inline const miniinfer_host*& host_slot() noexcept {
  static const miniinfer_host* slot = nullptr;
  return slot;
}

// Hands the exception being handled to the host as text and returns its code.
inline miniinfer_code translate_exception() noexcept {
  const auto say = [](const char* text) {
    const miniinfer_host* host = host_slot();
    if (host != nullptr && *text != '\0') host->set_error(host, text);
  };
  try {
    throw;
  } catch (const Error& error) {
    say(error.what());
    return error.code() == MINIINFER_OK ? MINIINFER_INTERNAL : error.code();
  } catch (const std::bad_alloc&) {
    say("the backend is out of host memory");
    return MINIINFER_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    say(error.what());
    return MINIINFER_INTERNAL;
  } catch (...) {
    say("an exception of unknown type");
    return MINIINFER_INTERNAL;
  }
}

// Runs a function of the author's for the host.
template <class F>
miniinfer_code guard(F&& body) noexcept {
  try {
    body();
    return MINIINFER_OK;
  } catch (...) {
    return translate_exception();
  }
}

// As guard, for calls that cannot report a failure: it is logged.
template <class F>
void guard_quietly(const char* call, F&& body) noexcept {
  try {
    body();
  } catch (...) {
    const miniinfer_host* host = host_slot();
    translate_exception();
    if (host != nullptr) host->log(host, MINIINFER_LOG_ERROR, call);
  }
}

}  // namespace detail

// The host's table. Not null once `probe` has begun. [any-thread]
inline const miniinfer_host* host() noexcept { return detail::host_slot(); }

// Writes a line to the application's log under the plugin's name; costs nothing below the level
// that is logged. [any-thread]
[[gnu::format(printf, 2, 3)]] inline void log(miniinfer_log_level level, const char* format, ...) {
  if (host() == nullptr || level < host()->log_level(host())) return;
  std::va_list args;
  va_start(args, format);
  const std::string text = vformat(format, args);
  va_end(args);
  host()->log(host(), level, text.c_str());
}

// What the user gave for "<plugin>.<key>", or null. [any-thread]
inline const char* option(const char* key) noexcept {
  return host() == nullptr ? nullptr : host()->option(host(), key);
}

// Runs body(begin, end, worker) over [0, count) on the host's threads and returns when all is done;
// see miniinfer_host. What `body` throws is thrown here. [any-thread]
template <class F>
void parallel_for(std::uint64_t count, std::uint64_t grain, std::uint32_t max_threads, F&& body) {
  using Body = std::remove_reference_t<F>;
  const miniinfer_loop_body piece = [](void* context, std::uint64_t begin, std::uint64_t end,
                                       std::uint32_t worker) -> miniinfer_code {
    return detail::guard([&] { (*static_cast<Body*>(context))(begin, end, worker); });
  };
  const miniinfer_code code = host()->parallel_for(
      host(), count, grain, max_threads, piece, const_cast<void*>(static_cast<const void*>(&body)));
  if (code != MINIINFER_OK) throw Error(code, "");
}

}  // namespace miniinfer::sdk
