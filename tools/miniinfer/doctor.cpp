#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "command.hpp"
#include "embedded.hpp"
#include "miniinfer/compare.hpp"
#include "miniinfer/onnx_tensor.hpp"

namespace miniinfer::command {
namespace {

namespace fs = std::filesystem;

class Findings {
 public:
  explicit Findings(Output& output) : output_(output) {
    output.declare({"checks", "problems"});
    output.document["checks"] = Json::array();
  }
  void add(const char* verdict, const std::string& subject, const std::string& text) {
    output_.print("%-5s %-9s %s\n", verdict, printable(subject).c_str(),
                  printable(text, 4096).c_str());
    output_.document["checks"].push_back(
        {{"verdict", verdict}, {"subject", subject}, {"text", text}});
    if (std::string_view(verdict) == "FAIL") ++problems_;
  }
  int problems() const { return problems_; }

 private:
  Output& output_;
  int problems_ = 0;
};

void check_cache(Findings& findings) {
  const fs::path folder = cache_folder();
  if (folder.empty()) {
    findings.add("note", "cache", "no folder: HOME is unset");
    return;
  }
  std::error_code error;
  std::uint64_t bytes = 0;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored)) bytes += it->file_size(ignored);
  }
  fs::path existing = folder;
  while (!existing.empty() && !fs::exists(existing, error)) existing = existing.parent_path();
  const bool writable = access(existing.c_str(), W_OK) == 0;
  findings.add(
      writable ? "ok" : "note", "cache",
      folder.string() + ", " + human_bytes(bytes) + (writable ? ", writable" : ", not writable"));
}

// Reads the 20 digits that come inside this program and compares with what the training script saw.
Result<double> read_digits(const Runtime& runtime, std::string_view device) {
  Result<Session> session = runtime.load(Model::bytes(embedded_digits_model(), nullptr), device);
  if (!session) return session.status();
  Result<NamedTensor> images = read_onnx_tensor(embedded_digits_images());
  if (!images) return images.status();
  Result<NamedTensor> expected = read_onnx_tensor(embedded_digits_expected());
  if (!expected) return expected.status();
  Result<Outputs> outputs = session->run(images->tensor);
  if (!outputs) return outputs.status();
  Result<Comparison> result = compare(outputs->only().value(), expected->tensor, 1e-3, 1e-5);
  if (!result) return result.status();
  if (!result->equal) return Status(Code::Internal, "the results differ");
  return result->max_abs_error;
}

Outcome run(const CommonOptions& common, Output& output) {
  Findings findings(output);
  Result<Runtime> runtime = make_runtime(common, output);
  if (!runtime) return Outcome::fail(runtime.status(), Stage::Usage);
  std::error_code error;
  findings.add("ok", "core",
               std::string(version()) +
                   (commit().empty() ? "" : " (" + std::string(commit()) + ")") + ", boundary " +
                   std::string(abi_version()) + ", " +
                   fs::read_symlink("/proc/self/exe", error).string());
  for (const PluginReport& plugin : runtime->plugins()) {
    std::string notes;
    for (const std::string& note : plugin.notes) notes += "; " + note;
    switch (plugin.state) {
      case PluginState::BuiltIn:
        break;
      case PluginState::Loaded:
        findings.add("ok", plugin.name, plugin.path.string() + notes);
        break;
      case PluginState::Refused:
        findings.add("FAIL", plugin.name,
                     plugin.reason + (plugin.hint.empty() ? "" : "; " + plugin.hint) + notes);
        break;
      default:
        findings.add("note", plugin.name,
                     std::string(to_string(plugin.state)) + ": " + plugin.path.string() + " " +
                         plugin.reason);
    }
  }
  std::vector<std::string> usable;
  for (const Device& device : runtime->devices()) {
    if (device.state() == DeviceState::Absent) {
      findings.add("note", std::string(device.id()), std::string(device.reason()));
      continue;
    }
    usable.emplace_back(device.id());
    std::string text(device.name());
    if (device.type() == DeviceType::CPU) {
      text += "; " + std::to_string(runtime->threads()) + " threads";
    }
    findings.add("ok", std::string(device.id()), text);
  }
  check_cache(findings);
  for (const std::string& device : usable) {
    const Result<double> error_found = read_digits(*runtime, device);
    if (error_found) {
      char text[64];
      std::snprintf(text, sizeof text, "digits on %s, max error %.1e", device.c_str(),
                    *error_found);
      findings.add("ok", "selftest", text);
    } else {
      findings.add("FAIL", "selftest",
                   "digits on " + device + ": " + error_found.status().to_string());
    }
  }
  const int problems = findings.problems();
  output.document["problems"] = problems;
  output.print("%d %s. Safe to paste; nothing was sent.\n", problems,
               problems == 1 ? "problem" : "problems");
  return Outcome::ok();
}

}  // namespace

std::function<Outcome()> add_doctor(CLI::App& app, Output& output) {
  auto common = std::make_shared<CommonOptions>();
  add_common_options(app, *common, output);
  return [common, &output] { return run(*common, output); };
}

}  // namespace miniinfer::command
