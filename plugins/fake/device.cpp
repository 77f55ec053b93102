#include "plugins/fake/device.hpp"

#include "plugins/fake/kernel.hpp"
#include "plugins/fake/stream.hpp"

namespace miniinfer::fake {

Device::Device(std::uint32_t ordinal, const Settings& settings)
    : id_("fake:" + std::to_string(ordinal)),
      info_(describe(ordinal, settings)),
      ledger_(Ledger::of(ordinal)),
      plan_(FaultPlan::parse(settings.plan)),
      prefers_channels_last_(settings.prefers_channels_last),
      peers_(settings.peers),
      refused_(settings.refused(ordinal)),
      memory_(*this, settings),
      scheduler_(settings.seed) {
  ledger_.reopen();
  enter("open");
}

Device::~Device() {
  const std::string imbalance = ledger_.imbalance();
  if (!imbalance.empty()) {
    sdk::log(MINIINFER_LOG_ERROR, "%s %s", id(), imbalance.c_str());
    return;
  }
  const miniinfer_fake_ledger counts = ledger_.counts();
  sdk::log(MINIINFER_LOG_INFO, "%s closed balanced, %llu allocations, %llu launches", id(),
           static_cast<unsigned long long>(counts.allocations),
           static_cast<unsigned long long>(counts.launches));
}

sdk::DeviceInfo Device::describe(std::uint32_t ordinal, const Settings& settings) {
  sdk::DeviceInfo info;
  if (settings.is_inline) info.flags |= MINIINFER_DEVICE_INLINE | MINIINFER_DEVICE_HOST_VISIBLE;
  if (settings.flat) info.flags |= MINIINFER_DEVICE_FLAT_ADDRESS;
  info.rank = -1000;  // never chosen unless named
  info.memory_bytes = settings.memory_bytes;
  info.dtypes = sdk::kNumericTypes;
  info.stable_id = "fake-" + std::to_string(ordinal);
  info.name = "fake device for tests";
  info.memory_domain = "fake:" + std::to_string(ordinal);
  return info;
}

void Device::sync() {
  enter("sync");
  ledger_.add(&miniinfer_fake_ledger::syncs);
  scheduler_.finish_all();
}

std::unique_ptr<sdk::Stream> Device::make_stream(std::int32_t, void* native) {
  enter("stream");
  if (native != nullptr) sdk::fail(MINIINFER_UNSUPPORTED, "%s has no native streams", id());
  return std::make_unique<Stream>(*this);
}

std::unique_ptr<sdk::Event> Device::make_event() {
  enter("event");
  return std::make_unique<Event>(*this);
}

const void* Device::extension(std::string_view id) {
  if (id == MINIINFER_EXT_GRAPH_CAPTURE) return is_inline() ? nullptr : Graph::api();
  if (id == MINIINFER_EXT_PEER_COPY) return is_inline() || !peers_ ? nullptr : Stream::peer_copy();
  if (id == MINIINFER_EXT_VIRTUAL_MEMORY) return memory_.mapping().api();
  if (id == MINIINFER_EXT_MEMORY_ANNOTATE) return Annotations::api();
  if (id == MINIINFER_FAKE_ORACLE) return oracle_api();
  return id == MINIINFER_FAKE_LEDGER ? Ledger::api() : nullptr;
}

void Device::enter(std::string_view site) {
  if (lost()) {
    violation("%.*s was called on a lost device", static_cast<int>(site.size()), site.data());
    sdk::fail(MINIINFER_DEVICE_LOST, "%s is lost", id());
  }
  act(plan_.next(site), site);
}

void Device::begin_work() {
  if (lost()) sdk::fail(MINIINFER_DEVICE_LOST, "%s is lost", id());
  act(plan_.next("run"), "run");
}

void Device::act(FaultPlan::Action action, std::string_view site) {
  if (action == FaultPlan::Action::None) return;
  ledger_.add(&miniinfer_fake_ledger::faults_fired);
  const int length = static_cast<int>(site.size());
  if (action == FaultPlan::Action::Oom) {
    sdk::fail(MINIINFER_OUT_OF_MEMORY, "%.*s on %s failed by plan: out of memory, 0 bytes free",
              length, site.data(), id());
  }
  if (action == FaultPlan::Action::Fail) {
    sdk::fail(MINIINFER_INTERNAL, "%.*s on %s failed by plan", length, site.data(), id());
  }
  lost_ = true;
  sdk::fail(MINIINFER_DEVICE_LOST, "%s was lost by plan in %.*s", id(), length, site.data());
}

void Device::violation(const char* format, ...) {
  std::va_list args;
  va_start(args, format);
  ledger_.violation(sdk::vformat(format, args));
  va_end(args);
}

}  // namespace miniinfer::fake
