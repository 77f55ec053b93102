#include "command.hpp"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace miniinfer::command {

namespace {

// Whether another device, or asking less of it, would do: the hint says so then.
bool depends_on_device(const Status& status) {
  return status.hint().find("fallback") != std::string_view::npos ||
         status.hint().find("--precision") != std::string_view::npos;
}

}  // namespace

int exit_code(const Status& status, Stage stage) {
  if (stage == Stage::Plugin && !status.ok()) return kPlugin;
  switch (status.code()) {
    case Code::Ok:
      return kOk;
    case Code::Cancelled:
    case Code::Timeout:
      return kStopped;
    case Code::OutOfMemory:
    case Code::LimitExceeded:
      return kMemory;
    case Code::DeviceLost:
      return kLost;
    case Code::Internal:
      return kInternal;
    case Code::Unavailable:
      return kDevice;
    default:
      break;
  }
  switch (stage) {
    case Stage::Usage:
      return kUsage;
    case Stage::Plugin:
      break;
    case Stage::File:
      return kFile;
    case Stage::Load:
      if (status.code() == Code::NotFound) return kFile;
      return depends_on_device(status) ? kDevice : kModel;
    case Stage::Run:
      if (status.code() == Code::InvalidArgument) return status.nodes().empty() ? kUsage : kRun;
      return depends_on_device(status) ? kDevice : kModel;
  }
  return kInternal;
}

std::stop_token interrupted() {
  static std::stop_source* const source = [] {
    auto* made = new std::stop_source;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::thread([made, signals] {
      int signal = 0;
      sigwait(&signals, &signal);
      made->request_stop();
      sigwait(&signals, &signal);
      std::signal(signal, SIG_DFL);
      pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
      raise(signal);
    }).detach();
    return made;
  }();
  return source->get_token();
}

void add_common_options(CLI::App& app, CommonOptions& common, Output& output) {
  constexpr const char* kGroup = "Common options";
  app.set_help_flag("-h,--help", "print this help and exit")->group(kGroup);
  app.add_flag("--json", output.json, "one JSON document on stdout")->group(kGroup);
  app.add_option("--plugin", common.plugins, "a plugin file, or a folder of them, looked at first")
      ->type_name("PATH")
      ->expected(1)
      ->take_all()
      ->group(kGroup);
  app.add_option("--option", common.options, "an option of a plugin, such as fake.devices=2")
      ->type_name("PLUGIN.KEY=VALUE")
      ->expected(1)
      ->take_all()
      ->group(kGroup);
  app.add_option("--threads", common.threads, "threads of the CPU; 0, or none given: all usable")
      ->type_name("N")
      ->expected(1)
      ->check(CLI::Range(0, 4096).description(""))
      ->group(kGroup);
  app.add_option("--log", common.log, "what goes to stderr: trace, debug, info, warn, error, off")
      ->type_name("LEVEL")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}).description(""))
      ->capture_default_str()
      ->group(kGroup);
}

std::filesystem::path cache_folder() {
  namespace fs = std::filesystem;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/') {
    return fs::path(cache) / "miniinfer";
  }
  const char* home = std::getenv("HOME");
  return home == nullptr || *home != '/' ? fs::path() : fs::path(home) / ".cache" / "miniinfer";
}

Result<Runtime> make_runtime(const CommonOptions& common, Output& output) {
  static constexpr const char* kLevels[] = {"trace", "debug", "info", "warn", "error", "off"};
  RuntimeOptions options;
  for (int i = 0; i < 6; ++i) {
    if (common.log == kLevels[i]) options.level = static_cast<Level>(i);
  }
  options.log = output.log(options.level);
  if (options.level == Level::Error) options.level = Level::Warn;  // for the document
  options.threads = common.threads.empty() ? 0 : common.threads.front();
  options.cache = cache_folder();
  for (const std::string& plugin : common.plugins) options.plugin_dirs.emplace_back(plugin);
  for (const std::string& option : common.options) {
    const std::size_t equals = option.find('=');
    if (equals == std::string::npos || option.find('.') > equals) {
      return Status(Code::InvalidArgument, "--option " + option + " is not PLUGIN.KEY=VALUE");
    }
    options.options.emplace_back(option.substr(0, equals), option.substr(equals + 1));
  }
  return Runtime(std::move(options));
}

Result<Runtime> make_runtime(const CommonOptions& common, Output& output, Stage& stage) {
  (void)interrupted();  // before any other thread is made, which would take the signal
  stage = Stage::Usage;
  Result<Runtime> runtime = make_runtime(common, output);
  if (!runtime) return runtime;
  std::error_code error;
  for (const std::string& plugin : common.plugins) {
    if (std::filesystem::is_directory(plugin, error)) continue;
    for (const PluginReport& report : runtime->plugins()) {
      if (report.state != PluginState::Refused || report.found_via != "--plugin") continue;
      if (report.path.filename() != std::filesystem::path(plugin).filename()) continue;
      stage = Stage::Plugin;
      return Status(Code::Incompatible, "plugin " + plugin + " was refused: " + report.reason,
                    report.hint);
    }
  }
  return runtime;
}

void add_model_options(CLI::App& app, CommonOptions& common, ModelOptions& model) {
  const auto several = [](CLI::Option* option, const char* type) {
    option->type_name(type)->expected(1)->take_all();
  };
  app.add_option("MODEL", model.model, "an ONNX file")->required()->type_name("");
  app.add_option("-d", common.devices, "devices in order of preference; one alone is strict (auto)")
      ->type_name("DEV,..");
  several(app.add_option("-i", model.inputs,
                         "an input; VALUE: @F.npy, zeros, random, random:SEED, random:SEED:LO..HI"),
          "NAME=VALUE");
  app.add_option("--inputs", model.all, "all inputs, from an .npz or a test_data_set folder")
      ->type_name("F.npz|DIR")
      ->expected(1);
  several(app.add_option("--shape", model.shapes, "the sizes of an input, as in image=1x3x224x224"),
          "NAME=SIZES");
  app.add_option("--precision", model.precision, "strict, tf32, bf16, fp16: what speed may cost")
      ->type_name("P")
      ->check(CLI::IsMember({"strict", "tf32", "bf16", "fp16"}).description(""))
      ->capture_default_str();
  app.add_option("--timeout", model.timeout, "seconds that one run may take; 0: any time")
      ->type_name("S")
      ->check(CLI::Range(0.0, 1e9).description(""));
  several(app.add_option("--mem-limit", model.limits,
                         "the most memory of a device to use, as in cpu=512M"),
          "DEV=SIZE");
  several(app.add_option("--no-pass", model.no_pass, "leave a pass out (inspect --passes)"),
          "NAME");
}

void add_tolerances(CLI::App& app, double& rtol, double& atol) {
  app.add_option("--rtol", rtol, "relative tolerance")->type_name("R")->capture_default_str();
  app.add_option("--atol", atol, "absolute tolerance")->type_name("A")->capture_default_str();
}

namespace {

Result<LoadOptions> parse_load_options(const ModelOptions& options) {
  LoadOptions load;
  static constexpr const char* kPrecisions[] = {"strict", "tf32", "bf16", "fp16"};
  for (int i = 0; i < 4; ++i) {
    if (options.precision == kPrecisions[i]) load.precision = static_cast<Precision>(i);
  }
  for (const std::string& limit : options.limits) {
    const std::size_t equals = limit.find('=');
    if (equals == std::string::npos) {
      return Status(Code::InvalidArgument, "--mem-limit " + limit + " is not DEVICE=SIZE");
    }
    const std::optional<std::uint64_t> bytes =
        parse_bytes(std::string_view(limit).substr(equals + 1));
    if (!bytes) {
      return Status(Code::InvalidArgument,
                    "--mem-limit " + limit + ": the size is not a number with K, M, G or T");
    }
    load.limits.push_back({limit.substr(0, equals), *bytes});
  }
  for (const std::string& name : options.no_pass) {
    bool known = false;
    std::string names;
    for (const PassInfo& pass : passes()) {
      known = known || pass.name == name;
      names += (names.empty() ? "" : ", ") + std::string(pass.name);
    }
    if (!known)
      return Status(Code::InvalidArgument, "no pass is called " + name, "passes: " + names);
  }
  load.disabled_passes = options.no_pass;
  load.contexts = options.contexts;
  load.stop = interrupted();
  return load;
}

}  // namespace

Result<Loaded> load_model(const Runtime& runtime, const ModelOptions& options,
                          std::string_view devices, Output& output, Stage& stage) {
  stage = Stage::Usage;
  Result<LoadOptions> load = parse_load_options(options);
  if (!load) return load.status();
  if (output.on_terminal() && !output.json) {
    load->progress = [&output](double fraction, std::string_view name) {
      if (fraction >= 1) {
        output.note("\r\033[K");
      } else {
        output.note("\r\033[K%3.0f%% %s", fraction * 100, printable(name).c_str());
      }
    };
  }
  // A bad device list is the caller's mistake, whatever the model is.
  if (!devices.empty() && devices != "auto") {
    std::string_view rest = devices;
    while (true) {
      const std::size_t comma = rest.find(',');
      const Result<Device> device = runtime.device(rest.substr(0, comma));
      if (!device && device.status().code() == Code::InvalidArgument) return device.status();
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  stage = Stage::Load;
  const auto begin = std::chrono::steady_clock::now();
  Result<Session> session = runtime.load(options.model, devices, *load);
  const auto end = std::chrono::steady_clock::now();
  if (!session) {
    if (load->progress) output.note("\r\033[K");
    return session.status();
  }
  return Loaded{std::move(*session),
                std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count()};
}

RunOptions run_options(const ModelOptions& options) {
  RunOptions run;
  run.stop = interrupted();
  run.timeout = std::chrono::nanoseconds(static_cast<long long>(options.timeout * 1e9));
  return run;
}

std::string placement_text(const Placement& placement) {
  std::string text;
  for (const auto& [device, count] : placement.per_device) {
    text += (text.empty() ? "" : ", ") + device + " " + std::to_string(count) + "/" +
            std::to_string(placement.nodes.size());
  }
  return text;
}

void say_placement(const Placement& placement, const CommonOptions& common) {
  const std::string& devices = common.devices;
  if (!devices.empty() && devices != "auto" && devices.find(',') == std::string::npos) return;
  std::fprintf(stderr, "%s nodes\n", placement_text(placement).c_str());
}

Result<std::vector<NamedShape>> parse_shapes(const ModelOptions& options) {
  std::vector<NamedShape> shapes;
  for (const std::string& text : options.shapes) {
    const std::size_t equals = text.rfind('=');
    NamedShape shape{text.substr(0, equals == std::string::npos ? 0 : equals), {}};
    bool good = equals != std::string::npos && equals > 0;
    for (std::size_t begin = equals + 1; good && begin <= text.size();) {
      std::size_t end = std::min(text.find('x', begin), text.size());
      const std::string size = text.substr(begin, end - begin);
      char* rest = nullptr;
      errno = 0;
      const long long value = std::strtoll(size.c_str(), &rest, 10);
      good = !size.empty() && *rest == '\0' && value >= 0 && errno == 0;
      shape.shape.push_back(value);
      begin = end + 1;
    }
    if (!good) return Status(Code::InvalidArgument, "--shape " + text + " is not NAME=1x3x224x224");
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

Json json_text(std::string_view text) { return text.empty() ? Json() : Json(text); }

Json json_number(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Json(*value) : Json();
}

Json json_shape(const Shape& shape) {
  Json json = Json::array();
  for (const std::int64_t size : shape) json.push_back(size < 0 ? Json() : Json(size));
  return json;
}

}  // namespace miniinfer::command
