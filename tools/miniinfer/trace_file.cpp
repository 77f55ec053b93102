#include "trace_file.hpp"

#include <algorithm>

#include "file_io.hpp"

namespace miniinfer::command {
namespace {

constexpr int kProcess = 1;

double micros(std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1000; }

Json name_event(const char* what, int thread, const std::string& name) {
  return {
      {"name", what}, {"ph", "M"}, {"pid", kProcess}, {"tid", thread}, {"args", {{"name", name}}}};
}

}  // namespace

Status write_trace(const std::filesystem::path& path, const Trace& trace,
                   const std::string& model) {
  Json events = Json::array();
  events.push_back(name_event("process_name", 0, "miniinfer " + model));
  std::vector<std::string> devices;
  for (const TraceStep& step : trace.steps) {
    auto row = std::find(devices.begin(), devices.end(), step.device);
    if (row == devices.end()) {
      row = devices.insert(row, step.device);
      events.push_back(name_event("thread_name", static_cast<int>(devices.size()), step.device));
    }
    const auto thread = static_cast<int>(row - devices.begin()) + 1;
    events.push_back({{"name", step.name},
                      {"ph", "X"},
                      {"ts", micros(step.begin)},
                      {"dur", micros(step.duration)},
                      {"pid", kProcess},
                      {"tid", thread},
                      {"args",
                       {{"nodes", step.nodes},
                        {"device", step.device},
                        {"bytes", step.bytes},
                        {"timed", step.complete ? "work" : "handing over"}}}});
  }
  const Json document = {{"displayTimeUnit", "ns"}, {"traceEvents", std::move(events)}};
  return write_file(path, document.dump(1, ' ', true, Json::error_handler_t::replace) + "\n");
}

}  // namespace miniinfer::command
