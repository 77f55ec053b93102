// From a file to a backend that the process knows, or to the reason why not. One process knows a
// backend once, so this is one story.

#include <algorithm>

#include "core/device/backend_registry.hpp"
#include "tests/loader/plugin_folder.hpp"

namespace miniinfer::testing {
namespace {

PluginReport report_of(const fs::path& file) {
  for (const PluginReport& report : BackendRegistry::instance().reports()) {
    if (report.path == file) return report;
  }
  FAIL("no report of " << file);
  return {};
}

TEST_CASE("A backend that lists absurdly many devices is refused, and another file may serve") {
  BackendRegistry& registry = BackendRegistry::instance();
  const Folder folder;
  folder.sub("many");
  folder.sub("plain");
  folder.sub("late");
  const fs::path many = folder.copy(odd_file("many_devices"), "many/libminiinfer_odd.so");
  const Status refused = registry.add_file(many, "a test");
  CHECK(refused.code() == Code::Incompatible);
  CHECK_MESSAGE(refused.message().find("it lists 1064 devices, where there was room for 64") !=
                    std::string::npos,
                refused.to_string());
  CHECK_FALSE(refused.hint().empty());
  CHECK(report_of(many).state == PluginState::Refused);
  CHECK(report_of(many).reason.find("1064") != std::string::npos);
  CHECK(registry.find("odd:0").status().code() == Code::Unavailable);
  CHECK(registry.find("odd:0").status().message().find("1064") != std::string::npos);
  const std::vector<Device> devices = registry.devices();
  CHECK(std::none_of(devices.begin(), devices.end(),
                     [](const Device& device) { return device.backend() == "odd"; }));

  const fs::path plain = folder.copy(odd_file("plain"), "plain/libminiinfer_odd.so");
  CHECK(registry.add_file(plain, "a test").ok());
  CHECK(report_of(plain).state == PluginState::Loaded);
  CHECK(report_of(plain).found_via == "a test");
  const Status none = registry.find("odd:0").status();
  CHECK(none.code() == Code::Unavailable);
  CHECK(none.message().find("odd has no device") != std::string::npos);

  CHECK(registry.add_file(plain, "again").ok());
  const fs::path late = folder.copy(odd_file("smaller_table"), "late/libminiinfer_odd.so");
  CHECK_FALSE(registry.add_file(late, "a test").ok());
  CHECK(report_of(late).state == PluginState::Shadowed);
}

}  // namespace
}  // namespace miniinfer::testing
