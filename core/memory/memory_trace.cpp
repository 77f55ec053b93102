// The snapshot in the trace event format of Chrome, which Perfetto reads as well: a counter of the
// bytes in use, and an asynchronous slice for each block.

#include <chrono>
#include <map>

#include "core/base/format.hpp"
#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {
namespace {

using Kind = MemoryEvent::Kind;

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : printable(text, 256)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

double microseconds(std::chrono::steady_clock::duration since) {
  return std::chrono::duration<double, std::micro>(since).count();
}

}  // namespace

Result<std::string> to_trace_json(const MemorySnapshot& snapshot) {
  std::string out = "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n";
  out += "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 0, \"args\": {\"name\": " +
         quoted("memory of " + (snapshot.device.empty() ? "an allocator" : snapshot.device)) + "}}";
  const auto counter = [&](double time, std::int64_t bytes) {
    out += format(
        ",\n{\"name\": \"in use\", \"ph\": \"C\", \"ts\": %.3f, \"pid\": 0, \"args\": "
        "{\"bytes\": %lld}}",
        time, static_cast<long long>(bytes));
  };
  // Counted back from what is in use now: events that were not kept come out as what there was.
  std::int64_t bytes = static_cast<std::int64_t>(snapshot.stats.allocated_bytes);
  for (const MemoryEvent& event : snapshot.events) {
    if (event.kind == Kind::Allocate) bytes -= static_cast<std::int64_t>(event.bytes);
    if (event.kind == Kind::Free) bytes += static_cast<std::int64_t>(event.bytes);
  }
  const auto start = snapshot.events.empty() ? std::chrono::steady_clock::time_point()
                                             : snapshot.events.front().time;
  counter(0, bytes);
  std::map<std::uint64_t, std::size_t> begun;  // by address: the slice
  std::size_t slices = 0;
  for (const MemoryEvent& event : snapshot.events) {
    const double time = microseconds(event.time - start);
    const std::string name = quoted(event.tag.empty() ? "block" : event.tag);
    const auto common = [&](const char* phase) {
      out += format(
          ",\n{\"name\": %s, \"cat\": \"memory\", \"ph\": \"%s\", \"ts\": %.3f, "
          "\"pid\": 0, \"tid\": %u",
          name.c_str(), phase, time, event.thread);
    };
    if (event.kind == Kind::Failure) {
      common("i");
      out += format(", \"s\": \"p\", \"args\": {\"failed\": %llu}}",
                    static_cast<unsigned long long>(event.bytes));
      continue;
    }
    if (event.kind == Kind::Allocate) {
      bytes += static_cast<std::int64_t>(event.bytes);
      common("b");
      out += format(
          ", \"id\": %zu, \"args\": {\"bytes\": %llu, \"address\": \"%#llx\", "
          "\"stream\": \"%#llx\"}}",
          begun[event.address] = ++slices, static_cast<unsigned long long>(event.bytes),
          static_cast<unsigned long long>(event.address),
          static_cast<unsigned long long>(event.stream));
    } else {
      bytes -= static_cast<std::int64_t>(event.bytes);
      if (const auto slice = begun.find(event.address); slice != begun.end()) {
        common("e");
        out += format(", \"id\": %zu}", slice->second);
        begun.erase(slice);
      }
    }
    counter(time, bytes);
  }
  return out + "\n]}\n";
}

}  // namespace miniinfer
