#pragma once

// How a backend written with the SDK fails: it throws, and the table's function that the host
// called turns the exception into a code and a text. Nothing thrown ever reaches the host.

#include <cstdarg>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "miniinfer/abi/base.h"

namespace miniinfer::sdk {

// A code that tells the caller what to do next, and a text that names the call, the thing and the
// numbers. An empty text keeps what was said on this thread before.
class Error : public std::exception {
 public:
  Error(miniinfer_code code, std::string text) : code_(code), text_(std::move(text)) {}
  miniinfer_code code() const noexcept { return code_; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  miniinfer_code code_;
  std::string text_;
};

// A std::string as printf would have written it.
[[gnu::format(printf, 1, 0)]] inline std::string vformat(const char* format, std::va_list args) {
  std::va_list again;
  va_copy(again, args);
  const int length = std::vsnprintf(nullptr, 0, format, args);
  std::string text(length > 0 ? static_cast<std::size_t>(length) : 0, '\0');
  if (length > 0) std::vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  return text;
}

[[gnu::format(printf, 1, 2)]] inline std::string format(const char* format, ...) {
  std::va_list args;
  va_start(args, format);
  std::string text = vformat(format, args);
  va_end(args);
  return text;
}

// Throws an Error.
[[noreturn, gnu::format(printf, 2, 3)]] inline void fail(miniinfer_code code, const char* format,
                                                         ...) {
  std::va_list args;
  va_start(args, format);
  std::string text = vformat(format, args);
  va_end(args);
  throw Error(code, std::move(text));
}

}  // namespace miniinfer::sdk
