// Events as rapidsai/rmm's logging adaptor writes them (cpp/include/rmm/mr/logging_resource_adaptor
// .hpp), so that what reads those logs reads ours.

#include <chrono>

#include "core/base/format.hpp"
#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {
namespace {

// By kind.
constexpr const char* kActions[] = {"allocate", "free", "allocate failure"};

}  // namespace

Result<std::string> to_rmm_csv(const MemorySnapshot& snapshot) {
  using std::chrono::microseconds;
  // Events have the steady clock, whose beginning means nothing to a reader.
  const auto steady_now = std::chrono::steady_clock::now();
  const auto system_now = std::chrono::system_clock::now();
  std::string out = "Thread,Time,Action,Pointer,Size,Stream\n";
  for (const MemoryEvent& event : snapshot.events) {
    const auto time = system_now - std::chrono::duration_cast<std::chrono::system_clock::duration>(
                                       steady_now - event.time);
    const auto us = static_cast<unsigned long long>(
        std::chrono::duration_cast<microseconds>(time.time_since_epoch()).count());
    const unsigned long long seconds = us / 1'000'000;
    out += format("%u,%02llu:%02llu:%02llu.%06llu,%s,%#llx,%llu,%#llx\n", event.thread,
                  seconds / 3600 % 24, seconds / 60 % 60, seconds % 60, us % 1'000'000,
                  kActions[static_cast<int>(event.kind)],
                  static_cast<unsigned long long>(event.address),
                  static_cast<unsigned long long>(event.bytes),
                  static_cast<unsigned long long>(event.stream));
  }
  return out;
}

}  // namespace miniinfer
