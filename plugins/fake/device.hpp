#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "miniinfer/sdk/device.hpp"
#include "plugins/fake/annotations.hpp"
#include "plugins/fake/fault_plan.hpp"
#include "plugins/fake/ledger.hpp"
#include "plugins/fake/memory.hpp"
#include "plugins/fake/oracle.h"
#include "plugins/fake/scheduler.hpp"
#include "plugins/fake/settings.hpp"

namespace miniinfer::fake {

// A device made of host memory that behaves as unlike host memory as the boundary allows: handles
// are no addresses, work runs late, failures come by script, and every call is in the books.
class Device final : public sdk::Device {
 public:
  Device(std::uint32_t ordinal, const Settings& settings);
  ~Device() override;  // logs an error where the books do not balance

  static sdk::DeviceInfo describe(std::uint32_t ordinal, const Settings& settings);

  sdk::DeviceInfo info() const override { return info_; }
  sdk::OpSet ops() const override;
  std::vector<sdk::Allocator*> allocators() override { return {&memory_}; }
  void sync() override;
  std::unique_ptr<sdk::Stream> make_stream(std::int32_t priority, void* native) override;
  std::unique_ptr<sdk::Event> make_event() override;
  void support(const sdk::Region& region, sdk::Choices& choices) override;
  std::unique_ptr<sdk::Kernel> make_kernel(const sdk::Region& region,
                                           const miniinfer_choice& choice) override;
  const void* extension(std::string_view id) override;

  // Begins a call: throws what the fault plan wants of the site, or DEVICE_LOST, and notes a
  // violation, when the device is lost already.
  void enter(std::string_view site);
  // As enter, for work that runs now.
  void begin_work();
  [[gnu::format(printf, 2, 3)]] void violation(const char* format, ...);

  // Follows another fault plan from here on.
  void follow(FaultPlan&& plan) { plan_.replace(std::move(plan)); }
  // miniinfer.fake.oracle/1
  static const miniinfer_fake_oracle_api* oracle_api();

  bool is_inline() const { return (info_.flags & MINIINFER_DEVICE_INLINE) != 0; }
  bool lost() const { return lost_.load(); }
  bool prefers_channels_last() const { return prefers_channels_last_; }
  const char* id() const { return id_.c_str(); }
  Ledger& ledger() { return ledger_; }
  Memory& memory() { return memory_; }
  Annotations& annotations() { return annotations_; }
  Scheduler& scheduler() { return scheduler_; }

 private:
  void act(FaultPlan::Action action, std::string_view site);

  std::string id_;
  sdk::DeviceInfo info_;
  Ledger& ledger_;
  FaultPlan plan_;
  std::atomic<bool> lost_{false};
  bool prefers_channels_last_;
  bool peers_;
  std::string refused_;  // an operator
  Memory memory_;
  Annotations annotations_{*this};
  Scheduler scheduler_;
};

}  // namespace miniinfer::fake
