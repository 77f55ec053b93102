// One plugin, wrong in many ways: each is refused with a sentence, and this process goes on.

#include <chrono>
#include <string>

#include "tests/loader/plugin_folder.hpp"

namespace miniinfer::testing {
namespace {

PluginReport report_of(const Folder& folder, const std::string& variant,
                       const LoaderOptions& options) {
  const fs::path file = folder.copy(odd_file(variant), "libminiinfer_odd.so");
  const Candidate candidate = plugin_candidate(world_at(folder.sub("prefix")), file, "a test");
  REQUIRE_MESSAGE(candidate.load, candidate.report.reason);
  REQUIRE(candidate.isolate);
  const LoadedPlugin loaded = load_plugin(candidate, options);
  CHECK((loaded.api != nullptr) == (loaded.report.state == PluginState::Loaded));
  return loaded.report;
}

bool has_note(const PluginReport& report, const std::string& text) {
  for (const std::string& note : report.notes) {
    if (note.find(text) != std::string::npos) return true;
  }
  return false;
}

TEST_CASE("A plugin with nothing wrong, and those of other sizes, load") {
  for (const std::string variant :
       {"plain", "larger_table", "smaller_table", "many_devices", "prints"}) {
    CAPTURE(variant);
    const Folder folder;
    const PluginReport report = report_of(folder, variant, with_helper());
    CHECK_MESSAGE(report.state == PluginState::Loaded, report.reason);
    CHECK(report.version == "0.1.0");
    CHECK(report.name == "odd");
    CHECK(report.abi == "v0.1");
    CHECK(report.notes.empty());
  }
}

struct Refusal {
  std::string variant;
  Code code;
  const char* text;  // a part of the reason
};

TEST_CASE("A plugin that is wrong in one way is refused with the reason") {
  const Refusal refusals[] = {
      {"no_note", Code::InvalidArgument, ".note.miniinfer"},
      {"note_version", Code::Incompatible, "v7.3 to v7.5"},
      {"note_name", Code::InvalidArgument, "other"},
      {"no_entry", Code::InvalidArgument, "miniinfer_plugin_entry_v0"},
      {"refuses", Code::Incompatible, "odd speaks v0.7, the host v0.1"},
      {"endless_error", Code::Incompatible, "xxx"},
      {"wild_code", Code::Internal, "-77"},
      {"null_table", Code::Incompatible, "no table"},
      {"choice", Code::Incompatible, "v0.2"},
      {"tiny_table", Code::Incompatible, "name"},
      {"no_name", Code::Incompatible, "name"},
      {"bad_name", Code::Incompatible, "Odd Name"},
      {"long_name", Code::Incompatible, "name"},
      {"other_name", Code::Incompatible, "other"},
      {"wild_name", Code::Incompatible, "signal 11"},
      {"null_slot", Code::Incompatible, "probe"},
      {"sanitizer", Code::Incompatible, "sanitizer"},
      {"undefined", Code::Unavailable, "odd_nobody_defines_this"},
      {"needed", Code::Unavailable, "libodd_absent.so.7"},
      {"exit", Code::Incompatible, "exit status 0"},
      {"abort", Code::Incompatible, "signal 6"},
      {"crash", Code::Incompatible, "signal 11"},
      {"throws", Code::Incompatible, "signal 6"},
  };
  for (const Refusal& refusal : refusals) {
    CAPTURE(refusal.variant);
    const Folder folder;
    const PluginReport report = report_of(folder, refusal.variant, with_helper());
    CHECK(report.state == PluginState::Refused);
    CHECK(report.code == refusal.code);
    CHECK_MESSAGE(report.reason.find(refusal.text) != std::string::npos, report.reason);
    CHECK_FALSE(report.reason.empty());
  }
}

TEST_CASE("A missing library is named") {
  const Folder folder;
  const PluginReport report = report_of(folder, "needed", with_helper());
  REQUIRE(report.missing_libraries.size() == 1);
  CHECK(report.missing_libraries[0] == "libodd_absent.so.7");
}

TEST_CASE("A plugin that exports more than its entry loads with a note") {
  const Folder folder;
  const PluginReport report = report_of(folder, "extra_export", with_helper());
  CHECK(report.state == PluginState::Loaded);
  CHECK(has_note(report, "odd_extra"));
}

TEST_CASE("A plugin that hangs is given up at the deadline") {
  const Folder folder;
  LoaderOptions options = with_helper();
  options.deadline = std::chrono::milliseconds(300);
  const auto begin = std::chrono::steady_clock::now();
  const PluginReport report = report_of(folder, "hang", options);
  CHECK(report.code == Code::Timeout);
  CHECK(report.reason.find("300 ms") != std::string::npos);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
}

TEST_CASE("Without the helper a plugin loads in the process, and the report says so") {
  const Folder folder;
  const PluginReport report = report_of(folder, "plain", LoaderOptions());
  CHECK(report.state == PluginState::Loaded);
  CHECK(has_note(report, "not isolated"));
}

TEST_CASE("A good verdict is kept by the file's identity, a bad one is asked for again") {
  LoaderOptions options = with_helper();
  const Folder folder;
  options.cache = folder.sub("cache");
  const auto entries = [&] {
    return std::distance(fs::directory_iterator(options.cache), fs::directory_iterator());
  };
  CHECK(report_of(folder, "plain", options).state == PluginState::Loaded);
  CHECK(entries() == 1);

  // The next time nobody is asked: this helper would refuse everything.
  const Candidate same = plugin_candidate(world_at(folder.sub("prefix")),
                                          folder.path() / "libminiinfer_odd.so", "a test");
  LoaderOptions no_answer = options;
  no_answer.helper = "/bin/false";
  CHECK(load_plugin(same, no_answer).report.state == PluginState::Loaded);

  const Folder other;
  CHECK(report_of(other, "needed", options).code == Code::Unavailable);
  CHECK(entries() == 1);
  fs::remove(other.path() / "libminiinfer_odd.so");
  CHECK(report_of(other, "plain", no_answer).state == PluginState::Refused);
}

}  // namespace
}  // namespace miniinfer::testing
