#include "core/device/plugin_loader.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "core/base/format.hpp"
#include "core/device/enter_plugin.hpp"
#include "core/device/file_cache.hpp"
#include "core/platform/child_process.hpp"
#include "core/platform/elf_preflight.hpp"
#include "core/platform/environment.hpp"
#include "core/platform/shared_library.hpp"

namespace miniinfer {
namespace {

namespace fs = std::filesystem;

std::string boundary(std::uint32_t major, std::uint32_t minor) {
  return format("v%u.%u", major, minor);
}

Status refuse_version(const ElfFacts& facts, const LoaderOptions& options) {
  const std::string theirs = facts.abi_min == facts.abi_max
                                 ? boundary(facts.abi_major, facts.abi_max)
                                 : boundary(facts.abi_major, facts.abi_min) + " to " +
                                       boundary(facts.abi_major, facts.abi_max);
  return {Code::Incompatible,
          format("needs boundary %s, this program speaks %s", theirs.c_str(),
                 boundary(MINIINFER_ABI_MAJOR, options.host_max).c_str()),
          "get " + printable(facts.plugin) + " for this miniinfer"};
}

// What the file says of itself, before any of its code runs.
Status check_facts(const Candidate& candidate, const ElfFacts& facts, const LoaderOptions& options,
                   PluginReport& report) {
  for (const std::string& name : facts.exports) {
    // Symbols the linker and sanitizers define for themselves are nobody's interface.
    const bool ours = name.starts_with("miniinfer_plugin_entry_v");
    const bool tool = name.starts_with("__") || name.starts_with("_edata") ||
                      name.starts_with("_end") || name.starts_with("_init") ||
                      name.starts_with("_fini");
    if (!ours && !tool) {
      report.notes.push_back("exports more than its entry: " + printable(name));
      break;
    }
  }
  if (!facts.has_note) {
    return {Code::InvalidArgument, "not a plugin: it has no " MINIINFER_NOTE_SECTION " note",
            "define the plugin with MINIINFER_PLUGIN"};
  }
  report.abi = boundary(facts.abi_major, facts.abi_max);
  if (facts.plugin != candidate.report.name) {
    return {Code::InvalidArgument,
            format("the file is called %s, the plugin in it %s", candidate.report.name.c_str(),
                   printable(facts.plugin).c_str()),
            "rename the file to libminiinfer_" + printable(facts.plugin) + ".so"};
  }
  const bool speaks = facts.abi_major == MINIINFER_ABI_MAJOR && facts.abi_min <= options.host_max &&
                      facts.abi_max >= options.host_min;
  return speaks ? Status() : refuse_version(facts, options);
}

// "miniinfer-probe CODE TEXT\n"
Status read_verdict(const std::string& answer) {
  constexpr std::string_view kWord = "miniinfer-probe ";
  const std::size_t end = answer.find('\n');
  if (!answer.starts_with(kWord) || end == std::string::npos) {
    return {Code::Incompatible, "it spoils the process that opens it"};
  }
  std::int32_t code = 0;
  const char* begin = answer.data() + kWord.size();
  const auto [rest, error] = std::from_chars(begin, answer.data() + end, code);
  if (error != std::errc()) return {Code::Incompatible, "it spoils the process that opens it"};
  if (code == MINIINFER_OK) return {};
  const bool known = code > 0 && code <= MINIINFER_INTERNAL;
  const std::string text(rest, static_cast<std::size_t>(answer.data() + end - rest));
  return {known ? static_cast<Code>(code) : Code::Internal,
          printable(text.starts_with(' ') ? text.substr(1) : text, 512)};
}

// A file as it is now; a changed file has another identity.
std::string identity(const fs::path& file) {
  struct stat info{};
  if (stat(file.c_str(), &info) != 0) return {};
  return format(
      "probe-%llx-%llx-%lld-%lld.%ld-%lld.%ld-%u", static_cast<unsigned long long>(info.st_dev),
      static_cast<unsigned long long>(info.st_ino), static_cast<long long>(info.st_size),
      static_cast<long long>(info.st_mtim.tv_sec), info.st_mtim.tv_nsec,
      static_cast<long long>(info.st_ctim.tv_sec), info.st_ctim.tv_nsec, MINIINFER_ABI_MINOR);
}

// Lets a child open the file first. A good verdict is kept by the file's identity; a bad one may
// be the machine's fault (a library that is not installed yet) and is asked for again.
Status probe(const Candidate& candidate, const LoaderOptions& options) {
  const fs::path& file = candidate.report.path;
  const std::string key = identity(file);
  const FileCache cache(options.cache);
  if (!options.cache.empty()) {
    const Result<std::vector<std::byte>> kept = cache.read(key);
    if (kept && read_verdict({reinterpret_cast<const char*>(kept->data()), kept->size()}).ok()) {
      return {};
    }
  }
  const Result<ChildOutcome> outcome =
      run_child(options.helper,
                {file, candidate.report.name, std::to_string(options.host_min),
                 std::to_string(options.host_max)},
                options.deadline);
  if (!outcome) return outcome.status();
  if (outcome->timed_out) {
    return {Code::Timeout, format("opening it did not end in %lld ms",
                                  static_cast<long long>(options.deadline.count()))};
  }
  if (outcome->answer.empty()) {
    return {Code::Incompatible,
            outcome->exit_status > 128
                ? format("opening it ends the process with signal %d", outcome->exit_status - 128)
                : format("opening it ends the process with exit status %d", outcome->exit_status)};
  }
  Status verdict = read_verdict(outcome->answer);
  if (verdict.ok() && !options.cache.empty()) {
    (void)cache.write(key, std::as_bytes(std::span(outcome->answer)));
  }
  return verdict;
}

// "libvendor.so.13: cannot open shared object file: .." names what is missing.
void note_missing_library(const Status& status, PluginReport& report) {
  const std::string text(status.message());
  const std::size_t at = text.find(": cannot open shared object file");
  if (at == std::string::npos) return;
  const std::size_t begin = text.rfind(' ', at == 0 ? 0 : at - 1);
  const std::string name = text.substr(begin == std::string::npos ? 0 : begin + 1,
                                       at - (begin == std::string::npos ? 0 : begin + 1));
  if (name.find('/') == std::string::npos) report.missing_libraries.push_back(name);
}

std::uint32_t own_sanitizer() {
#if defined(__SANITIZE_ADDRESS__)
  return MINIINFER_SANITIZER_ADDRESS;
#elif defined(__SANITIZE_THREAD__)
  return MINIINFER_SANITIZER_THREAD;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
  return MINIINFER_SANITIZER_ADDRESS;
#elif __has_feature(thread_sanitizer)
  return MINIINFER_SANITIZER_THREAD;
#else
  return MINIINFER_SANITIZER_NONE;
#endif
#else
  return MINIINFER_SANITIZER_NONE;
#endif
}

Result<const miniinfer_plugin_api*> enter(const SharedLibrary& library,
                                          const LoaderOptions& options, const std::string& name) {
  const EntryOutcome outcome = enter_plugin(library.symbol(MINIINFER_PLUGIN_ENTRY_NAME),
                                            name.c_str(), options.host_min, options.host_max);
  if (outcome.code != MINIINFER_OK) {
    return Status(static_cast<Code>(outcome.code), printable(outcome.text, 512));
  }
  if (outcome.api->sanitizer != MINIINFER_SANITIZER_NONE &&
      outcome.api->sanitizer != own_sanitizer()) {
    return Status(Code::Incompatible,
                  "it was compiled with a sanitizer that this program was not compiled with");
  }
  return outcome.api;
}

}  // namespace

std::string_view to_string(PluginState state) noexcept {
  switch (state) {
    case PluginState::BuiltIn:
      return "built-in";
    case PluginState::Loaded:
      return "loaded";
    case PluginState::Refused:
      return "refused";
    case PluginState::Shadowed:
      return "shadowed";
    case PluginState::Filtered:
      return "filtered";
  }
  return "unknown";
}

LoaderOptions LoaderOptions::of_process(const PluginSearch& search, fs::path cache) {
  LoaderOptions options;
  options.cache = std::move(cache);
  if (const std::optional<std::string> chosen = environment("MINIINFER_PROBE")) {
    options.helper = *chosen;
    return options;
  }
  // Without the core's place these would be places in the current directory.
  if (search.core_file.empty()) return options;
  const fs::path beside = search.core_file.parent_path();
  for (const fs::path& place :
       {beside / ".." / "libexec" / "miniinfer" / "probe",
        beside / ".." / ".." / "libexec" / "miniinfer" / "probe",  // <prefix>/lib/<machine>
        beside / "tools" / "probe" / "probe",                      // the build tree, and its tests
        beside / ".." / "tools" / "probe" / "probe"}) {
    std::error_code error;
    if (fs::is_regular_file(place, error)) {
      options.helper = fs::canonical(place, error);
      break;
    }
  }
  return options;
}

LoadedPlugin load_plugin(const Candidate& candidate, const LoaderOptions& options) {
  LoadedPlugin loaded{candidate.report, nullptr};
  if (!candidate.load) return loaded;
  PluginReport& report = loaded.report;
  const auto refuse = [&](const Status& status) {
    report.state = PluginState::Refused;
    report.code = status.code();
    report.reason = status.message();
    report.hint = status.hint();
    note_missing_library(status, report);
    return loaded;
  };
  Result<ElfFacts> facts = elf_preflight(report.path);
  if (!facts) return refuse(facts.status());
  if (Status status = check_facts(candidate, *facts, options, report); !status.ok()) {
    return refuse(status);
  }
  if (candidate.isolate) {
    if (options.helper.empty()) {
      report.notes.emplace_back("not isolated: there is no probe helper");
    } else if (Status status = probe(candidate, options); !status.ok()) {
      return refuse(status);
    }
  }
  Result<SharedLibrary> library = SharedLibrary::open(report.path);
  if (!library) return refuse(library.status());
  Result<const miniinfer_plugin_api*> api = enter(*library, options, candidate.report.name);
  if (!api) return refuse(api.status());
  report.state = PluginState::Loaded;
  report.version = (*api)->version;
  loaded.api = *api;
  return loaded;
}

}  // namespace miniinfer
