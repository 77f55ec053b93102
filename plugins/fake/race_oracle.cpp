#include "plugins/fake/race_oracle.hpp"

#include <algorithm>

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::fake {
namespace {

bool covers(const Clock& clock, std::uint32_t queue, std::uint64_t position) {
  const auto found = clock.find(queue);
  return found != clock.end() && found->second >= position;
}

const char* verb(bool writes) { return writes ? "writes" : "reads"; }

}  // namespace

void merge(Clock& into, const Clock& from) {
  for (const auto& [queue, position] : from) {
    std::uint64_t& known = into[queue];
    known = std::max(known, position);
  }
}

std::string RaceOracle::use(const Access& access, std::uint32_t queue, std::uint64_t position,
                            const Clock& before, const Clock& host) {
  std::vector<Use>& uses = uses_[access.mem.handle];
  std::erase_if(uses, [&](const Use& use) { return covers(host, use.queue, use.position); });
  const Use now{queue, position, access.mem.offset, access.mem.offset + access.bytes,
                access.writes};
  std::string race;
  bool known = false;
  for (Use& use : uses) {
    if (use.queue == queue) {
      if (use.begin == now.begin && use.end == now.end && use.writes == now.writes) {
        use.position = position;
        known = true;
      }
      continue;
    }
    const bool overlap = use.begin < now.end && now.begin < use.end;
    if (!race.empty() || !overlap || !(use.writes || now.writes) ||
        covers(before, use.queue, use.position)) {
      continue;
    }
    race = sdk::format(
        "race: work %llu of stream %u %s bytes %llu to %llu of block %#llx, which work %llu of "
        "stream %u %s, and nothing orders them",
        static_cast<unsigned long long>(position), queue, verb(now.writes),
        static_cast<unsigned long long>(now.begin), static_cast<unsigned long long>(now.end),
        static_cast<unsigned long long>(access.mem.handle),
        static_cast<unsigned long long>(use.position), use.queue, verb(use.writes));
  }
  if (!known) uses.push_back(now);
  return race;
}

std::string RaceOracle::give_back(std::uint64_t handle, const Clock& host) {
  std::string race;
  for (const Use& use : uses_[handle]) {
    if (covers(host, use.queue, use.position)) continue;
    race = sdk::format(
        "race: block %#llx is freed while work %llu of stream %u %s it, for which nobody has "
        "waited",
        static_cast<unsigned long long>(handle), static_cast<unsigned long long>(use.position),
        use.queue, verb(use.writes));
  }
  forget(handle);
  return race;
}

}  // namespace miniinfer::fake
