#include "plugins/fake/fault_plan.hpp"

#include <algorithm>
#include <charconv>

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::fake {
namespace {

constexpr std::string_view kSites[] = {"open",    "alloc",  "info",  "stream", "event",   "record",
                                       "wait",    "query",  "sync",  "create", "copy",    "peer",
                                       "fill",    "launch", "touch", "run",    "capture", "replay",
                                       "reserve", "piece",  "map",   "access", "unmap"};

constexpr struct {
  std::string_view name;
  FaultPlan::Action action;
} kActions[] = {{"oom", FaultPlan::Action::Oom},
                {"fail", FaultPlan::Action::Fail},
                {"lost", FaultPlan::Action::Lost}};

[[noreturn]] void refuse(std::string_view rule, const char* why) {
  sdk::fail(MINIINFER_INVALID_ARGUMENT, "fault plan: \"%.*s\": %s", static_cast<int>(rule.size()),
            rule.data(), why);
}

}  // namespace

FaultPlan FaultPlan::parse(std::string_view text) {
  FaultPlan plan;
  while (!text.empty()) {
    const std::string_view rule = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), rule.size() + 1));
    if (rule.empty()) continue;
    const std::size_t hash = rule.find('#');
    const std::size_t equals = rule.find('=');
    if (hash == rule.npos || equals == rule.npos || hash > equals) {
      refuse(rule, "a rule is site#k=action or site#k+=action");
    }
    const std::string_view site = rule.substr(0, hash);
    if (std::find(std::begin(kSites), std::end(kSites), site) == std::end(kSites)) {
      std::string known = "sites are";
      for (const std::string_view name : kSites) known.append(" ").append(name);
      refuse(rule, known.c_str());
    }
    std::string_view number = rule.substr(hash + 1, equals - hash - 1);
    const bool repeat = !number.empty() && number.back() == '+';
    if (repeat) number.remove_suffix(1);
    std::uint64_t from = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), from);
    if (error != std::errc() || end != number.data() + number.size() || from == 0) {
      refuse(rule, "k is a number from 1");
    }
    const auto* action = std::find_if(std::begin(kActions), std::end(kActions), [&](const auto& a) {
      return a.name == rule.substr(equals + 1);
    });
    if (action == std::end(kActions)) refuse(rule, "actions are oom, fail and lost");
    plan.rules_.push_back({std::string(site), from, repeat, action->action});
  }
  return plan;
}

void FaultPlan::replace(FaultPlan&& other) {
  std::lock_guard lock(mutex_);
  rules_ = std::move(other.rules_);
  calls_.clear();
}

FaultPlan::Action FaultPlan::next(std::string_view site) {
  std::lock_guard lock(mutex_);
  if (rules_.empty()) return Action::None;
  const std::uint64_t call = ++calls_[std::string(site)];
  for (const Rule& rule : rules_) {
    if (rule.site == site && (call == rule.from || (rule.repeat && call > rule.from))) {
      return rule.action;
    }
  }
  return Action::None;
}

}  // namespace miniinfer::fake
