#pragma once

#include <filesystem>

#include "miniinfer/status.hpp"

namespace miniinfer {

// A shared library that was opened, and stays open until the process ends: its code may be on some
// thread's stack, its destructors may run at any time. [loader]
class SharedLibrary {
 public:
  // All symbols are resolved now, none is shared with other libraries. `file` is absolute: nothing
  // is searched for. UNAVAILABLE with the loader's own words where it does not open.
  static Result<SharedLibrary> open(const std::filesystem::path& file);

  // Null where the library does not define it.
  void* symbol(const char* name) const noexcept;

  // The file that holds the code or data at an address, canonical; empty where that is unknown.
  static std::filesystem::path file_of(const void* address);

 private:
  explicit SharedLibrary(void* handle) noexcept : handle_(handle) {}
  void* handle_;
};

}  // namespace miniinfer
