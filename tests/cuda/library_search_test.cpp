#include "plugins/cuda/library_search.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "tests/tools/scratch_folder.hpp"

using miniinfer::cuda::find_library;
using miniinfer::cuda::LibraryFound;
using miniinfer::cuda::LibraryPlaces;
using miniinfer::cuda::LibraryWanted;
using miniinfer::test::ScratchFolder;

namespace fs = std::filesystem;

namespace {

// A library that is on every machine, under a name that is on none.
constexpr const char* kName = "libminiinfer_test_library.so.13";

// Puts the system's mathematics there.
void put_library(const fs::path& folder) {
  Dl_info info{};
  void* symbol = dlsym(RTLD_DEFAULT, "cos");
  REQUIRE(symbol != nullptr);
  REQUIRE(dladdr(symbol, &info) != 0);
  fs::create_directories(folder);
  fs::copy_file(fs::canonical(info.dli_fname), folder / kName,
                fs::copy_options::overwrite_existing);
}

LibraryWanted wanted(std::string refusal = "") {
  return {"a library", {kName}, [refusal](void*) { return refusal; }};
}

bool says(const LibraryFound& found, const std::string& text) {
  return found.refusals.find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("a library that is nowhere is missed with every place and its reason") {
  ScratchFolder folder;
  const LibraryPlaces places{(folder / "a").string() + ":relative", (folder / "b").string(),
                             (folder / "c").string(), (folder / "d").string()};
  const LibraryFound found = find_library(wanted(), places);
  CHECK(found.handle == nullptr);
  CHECK(says(found, places.option + " (option cuda.libraries): has no such file"));
  CHECK(says(found, "/a (MINIINFER_CUDA_LIBRARIES)"));
  CHECK(says(found, "relative (MINIINFER_CUDA_LIBRARIES): not an absolute path"));
  CHECK(says(found, places.beside + " (beside the plugin)"));
  CHECK(says(found, std::string(kName) + " by the loader"));
  CHECK(says(found, "cannot open shared object file"));
  CHECK(says(found, places.toolkit));
}

TEST_CASE("each place is looked at, the earlier ones first") {
  ScratchFolder folder;
  LibraryPlaces places{(folder / "env").string(), (folder / "option").string(),
                       (folder / "beside").string(), (folder / "toolkit").string()};
  for (const char* name : {"toolkit", "beside", "option", "env"}) {
    put_library(folder / name);
    const LibraryFound found = find_library(wanted(), places);
    CHECK(found.handle != nullptr);
    CHECK_EQ(fs::path(found.path).parent_path(), folder / name);
  }
}

TEST_CASE("the nvidia folder of a Python environment has the library below it") {
  for (const char* below : {"cudnn/lib", "cu13/lib", "cublas/lib", "cuda_nvrtc/lib"}) {
    ScratchFolder folder;
    put_library(folder / "nvidia" / below);
    const LibraryFound found =
        find_library(wanted(), {"/nowhere:" + (folder / "nvidia").string(), "", "", ""});
    CHECK_EQ(fs::path(found.path), folder / "nvidia" / below / kName);
  }
}

TEST_CASE("a file that is no library, and one that will not do, are passed over with the reason") {
  ScratchFolder folder;
  fs::create_directories(folder / "text");
  folder.write("text/" + std::string(kName), std::string(4096, 'x'));
  put_library(folder / "old");
  const LibraryPlaces places{(folder / "text").string(), (folder / "old").string(), "", ""};
  const LibraryFound found = find_library(wanted("is version 12.1.0, 13 is needed"), places);
  CHECK(found.handle == nullptr);
  CHECK(says(found, "is version 12.1.0"));
  CHECK(says(found, "invalid ELF header"));
}

TEST_CASE("names that serve equally are tried in their order") {
  ScratchFolder folder;
  put_library(folder / "a");
  LibraryWanted either = wanted();
  either.names = {"libminiinfer_no_such.so.9", kName};
  CHECK(find_library(either, {(folder / "a").string(), "", "", ""}).handle != nullptr);
}
