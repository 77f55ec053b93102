#include "plugins/fake/oracle.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "miniinfer/sdk/open_device.hpp"
#include "plugins/fake/device.hpp"
#include "plugins/fake/stream.hpp"

namespace miniinfer::fake {
namespace {

Device& of(miniinfer_device* device) { return static_cast<Device&>(sdk::unwrap(device)); }
Stream* of(miniinfer_stream* stream) { return static_cast<Stream*>(sdk::unwrap(stream)); }

miniinfer_code touch(miniinfer_device* device, miniinfer_stream* stream, const char* name,
                     const miniinfer_fake_use* uses, std::uint64_t count) noexcept {
  return sdk::detail::guard([&] {
    std::vector<Access> accesses(count);
    for (std::size_t i = 0; i < count; ++i) {
      accesses[i] = {uses[i].mem, uses[i].bytes, uses[i].writes != 0};
    }
    if (stream != nullptr) return of(stream)->touch(name, accesses);
    of(device).enter("touch");
    for (const Access& access : accesses) of(device).memory().check(access.mem, access.bytes, name);
    of(device).begin_work();
  });
}

void order(miniinfer_device* device, miniinfer_stream* first, miniinfer_stream* second) noexcept {
  Scheduler& scheduler = of(device).scheduler();
  sdk::detail::guard_quietly("order failed", [&] {
    scheduler.put_wait(*of(second)->queue(), scheduler.end_of(of(first)->queue()));
  });
}

miniinfer_code sync_stream(miniinfer_device* device, miniinfer_stream* stream) noexcept {
  Scheduler& scheduler = of(device).scheduler();
  return sdk::detail::guard([&] { scheduler.finish(scheduler.end_of(of(stream)->queue())); });
}

std::uint64_t advance(miniinfer_device* device, std::uint64_t count) noexcept {
  return of(device).scheduler().advance(count);
}

void note(miniinfer_device* device, miniinfer_mem mem, std::uint64_t bytes, const char* what,
          miniinfer_stream* stream) noexcept {
  sdk::detail::guard_quietly("note failed", [&] {
    of(device).scheduler().note(mem, bytes, what,
                                stream == nullptr ? nullptr : of(stream)->queue().get());
  });
}

miniinfer_code follow_plan(miniinfer_device* device, const char* plan) noexcept {
  return sdk::detail::guard([&] { of(device).follow(FaultPlan::parse(plan)); });
}

std::uint64_t regions(miniinfer_device* device, miniinfer_fake_region* out,
                      std::uint64_t count) noexcept {
  const std::vector<miniinfer_fake_region> all = of(device).annotations().regions();
  std::copy_n(all.begin(), std::min<std::uint64_t>(count, all.size()), out);
  return all.size();
}

}  // namespace

const miniinfer_fake_oracle_api* Device::oracle_api() {
  static const miniinfer_fake_oracle_api table = {MINIINFER_HEAD(miniinfer_fake_oracle_api),
                                                  touch,
                                                  order,
                                                  sync_stream,
                                                  advance,
                                                  note,
                                                  follow_plan,
                                                  regions};
  return &table;
}

}  // namespace miniinfer::fake
