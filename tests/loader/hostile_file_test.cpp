// Files that are no plugins, or were some before somebody damaged them. Each batch is loaded in a
// process of its own, so that what kills the host shows as a failure and not as its absence.

#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/loader/plugin_folder.hpp"

namespace miniinfer::testing {
namespace {

struct Batch {
  int refused = 0;
  int loaded = 0;
  bool host_lived = false;
};

// Loads `count` files, made one after the other by `make`, in a child of this process.
Batch load_all(int count, const std::function<std::vector<char>(int)>& make) {
  const Folder folder;
  const PluginSearch world = world_at(folder.sub("prefix"));
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    Batch batch;
    const LoaderOptions options = with_helper();
    for (int i = 0; i < count; ++i) {
      // The loader of the C library knows files by name: each needs its own.
      const std::string place = std::to_string(i);
      folder.sub(place);
      const fs::path file = folder.write(place + "/libminiinfer_odd.so", make(i));
      const LoadedPlugin loaded = load_plugin(plugin_candidate(world, file, "a test"), options);
      ++(loaded.api != nullptr ? batch.loaded : batch.refused);
      fs::remove_all(folder.path() / place);
    }
    batch.host_lived = true;
    const ssize_t written = write(pipe_ends[1], &batch, sizeof batch);
    _exit(written == sizeof batch ? 0 : 1);  // no destructors of damaged plugins
  }
  close(pipe_ends[1]);
  Batch batch;
  if (read(pipe_ends[0], &batch, sizeof batch) != sizeof batch) batch = {};
  close(pipe_ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK_MESSAGE(WIFEXITED(status), "the host died of signal " << WTERMSIG(status));
  return batch;
}

TEST_CASE("A file that is no library is refused") {
  const Folder folder;
  const PluginSearch world = world_at(folder.sub("prefix"));
  std::vector<char> noise(5000);
  std::mt19937 random(7);
  for (char& byte : noise) byte = static_cast<char>(random());
  for (const std::vector<char>& bytes :
       {std::vector<char>(), std::vector<char>(1, 'x'), std::vector<char>(4096, 'x'), noise,
        bytes_of("/proc/self/exe")}) {
    CAPTURE(bytes.size());
    const fs::path file = folder.write("libminiinfer_odd.so", bytes);
    const PluginReport report =
        load_plugin(plugin_candidate(world, file, "a test"), with_helper()).report;
    CHECK(report.state == PluginState::Refused);
    CHECK_FALSE(report.reason.empty());
  }
}

TEST_CASE("A plugin for another machine is refused with both names") {
  const Folder folder;
  std::vector<char> bytes = bytes_of(odd_file("plain"));
  bytes[18] = static_cast<char>(243);  // RISC-V
  const fs::path file = folder.write("libminiinfer_odd.so", bytes);
  const PluginReport report =
      load_plugin(plugin_candidate(world_at(folder.sub("prefix")), file, "a test"), with_helper())
          .report;
  CHECK(report.code == Code::Incompatible);
  CHECK(report.reason.find("risc-v") != std::string::npos);
}

TEST_CASE("600 truncations of a plugin never harm the host") {
  const std::vector<char> whole = bytes_of(odd_file("bare"));
  const Batch batch = load_all(600, [&](int i) {
    return std::vector<char>(whole.begin(),
                             whole.begin() + static_cast<std::ptrdiff_t>(whole.size() * i / 600));
  });
  CHECK(batch.host_lived);
  CHECK(batch.refused > 300);
  CHECK(batch.refused + batch.loaded == 600);
}

TEST_CASE("2000 mutations of a plugin never harm the host") {
  const std::vector<char> whole = bytes_of(odd_file("bare"));
  std::mt19937 random(20);
  const Batch batch = load_all(2000, [&](int i) {
    std::vector<char> bytes = whole;
    // Every other one in the headers, where it hurts most.
    const std::size_t range = i % 2 == 0 ? std::min<std::size_t>(bytes.size(), 2048) : bytes.size();
    for (int change = 0; change <= i % 4; ++change) {
      bytes[random() % range] = static_cast<char>(random());
    }
    return bytes;
  });
  CHECK(batch.host_lived);
  CHECK(batch.refused > 100);
  CHECK(batch.loaded > 100);
  CHECK(batch.refused + batch.loaded == 2000);
}

}  // namespace
}  // namespace miniinfer::testing
