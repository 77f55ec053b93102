#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace miniinfer::fake {

// A script of failures: "alloc#3=oom;launch#5+=fail;sync#1=lost".
//
//   site#k=action   the k-th call (from 1) of the site, once; with k+ from the k-th on
//   sites           open alloc info stream event record wait query sync create copy peer fill
//                   launch touch capture replay reserve piece map access unmap, and run: work as
//                   it is done, later, so that the failure shows at the next sync
//   actions         oom (OUT_OF_MEMORY), fail (INTERNAL), lost (the device is gone for good)
//
// [any-thread]
class FaultPlan {
 public:
  enum class Action { None, Oom, Fail, Lost };

  // Throws sdk::Error(INVALID_ARGUMENT) that quotes the rule it cannot read.
  static FaultPlan parse(std::string_view text);

  FaultPlan() = default;
  FaultPlan(FaultPlan&& other) noexcept : rules_(std::move(other.rules_)) {}
  // Follows another plan from here on: calls count from 1 again.
  void replace(FaultPlan&& other);

  // Counts a call and says what shall become of it.
  Action next(std::string_view site);

 private:
  struct Rule {
    std::string site;
    std::uint64_t from;
    bool repeat;
    Action action;
  };

  std::mutex mutex_;
  std::vector<Rule> rules_;
  std::map<std::string, std::uint64_t, std::less<>> calls_;
};

}  // namespace miniinfer::fake
