#include "core/platform/shared_library.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace miniinfer {
namespace {

namespace fs = std::filesystem;

fs::path built(const std::string& variant) {
  const char* folder = std::getenv("MINIINFER_BUILD");
  REQUIRE_MESSAGE(folder != nullptr, "MINIINFER_BUILD names the build folder");
  return fs::path(folder) / "tests" / "loader" / ("libodd_" + variant + ".so");
}

TEST_CASE("An opened library gives its symbols and knows its file") {
  const Result<SharedLibrary> library = SharedLibrary::open(built("plain"));
  REQUIRE_MESSAGE(library, library.status().to_string());
  void* entry = library->symbol("miniinfer_plugin_entry_v0");
  REQUIRE(entry != nullptr);
  CHECK(library->symbol("miniinfer_no_such_symbol") == nullptr);
  CHECK(SharedLibrary::file_of(entry) == fs::canonical(built("plain")));
}

TEST_CASE("A library that does not open says why in the loader's words") {
  const Result<SharedLibrary> library = SharedLibrary::open(built("needed"));
  REQUIRE_FALSE(library);
  CHECK(library.status().code() == Code::Unavailable);
  CHECK(library.status().message().find("libodd_absent.so.7") != std::string_view::npos);
}

TEST_CASE("A name is never searched for") {
  for (const char* name : {"libc.so.6", "./libodd_plain.so", ""}) {
    CAPTURE(name);
    CHECK(SharedLibrary::open(name).status().code() == Code::InvalidArgument);
  }
}

TEST_CASE("A missing file is a status") {
  CHECK(SharedLibrary::open("/nowhere/libminiinfer_a.so").status().code() == Code::Unavailable);
}

TEST_CASE("Code of the program lies in the program's file") {
  const fs::path self = SharedLibrary::file_of(reinterpret_cast<const void*>(&built));
  CHECK(self == fs::canonical("/proc/self/exe"));
}

TEST_CASE("An address of nothing lies in no file") {
  int on_the_stack = 0;
  CHECK(SharedLibrary::file_of(&on_the_stack).empty());
}

}  // namespace
}  // namespace miniinfer
