#include "core/device/device_record.hpp"

#include <algorithm>
#include <utility>

#include "core/base/format.hpp"
#include "core/device/fork_generation.hpp"
#include "core/device/host_services.hpp"

namespace miniinfer {
namespace {

constexpr std::size_t kMaxReasons = 64;
constexpr std::size_t kMaxText = 1024;

}  // namespace

DeviceRecord::DeviceRecord(Backend* backend, std::string_view backend_name, int ordinal,
                           const miniinfer_device_info& info, DeviceState state,
                           std::string_view reason)
    : backend(backend),
      backend_name(backend_name),
      ordinal(ordinal),
      id(ordinal < 0 ? std::string(backend_name)
                     : std::string(backend_name) + ":" + std::to_string(ordinal)),
      info(info),
      stable_id(printable(info.stable_id)),
      name(printable(info.name, sizeof info.name)),
      bus_id(printable(info.bus_id)),
      driver(printable(info.driver)),
      domain(printable(info.memory_domain)),
      state_(state),
      memory_(info.memory_bytes),
      dtypes_(info.dtypes),
      reasons_{std::string(reason)} {
  reason_ = &reasons_.front();
}

DeviceRecord::DeviceRecord(std::string_view backend_name, DeviceState state,
                           std::string_view reason)
    : DeviceRecord(nullptr, backend_name, -1, miniinfer_device_info{}, state, reason) {}

std::string_view DeviceRecord::reason() const noexcept {
  return *reason_.load(std::memory_order_acquire);
}

void DeviceRecord::set_state(DeviceState state, std::string_view reason) noexcept {
  const std::lock_guard lock(mutex_);
  if (this->state() == DeviceState::Lost) return;
  auto same = std::find(reasons_.begin(), reasons_.end(), reason);
  if (same == reasons_.end() && reasons_.size() < kMaxReasons) {
    reasons_.emplace_back(reason);
    same = reasons_.end() - 1;
  }
  if (same != reasons_.end()) reason_.store(&*same, std::memory_order_release);
  state_.store(state, std::memory_order_release);
}

void DeviceRecord::update(const miniinfer_device_info& opened) noexcept {
  memory_.store(opened.memory_bytes, std::memory_order_relaxed);
  dtypes_.store(opened.dtypes, std::memory_order_relaxed);
}

Status DeviceRecord::ready() const {
  if (state() == DeviceState::Lost) {
    return {Code::DeviceLost, id + " was lost: " + std::string(reason()),
            "restart the process, or go on without the device"};
  }
  if (!survives_fork_.load(std::memory_order_relaxed) &&
      generation_.load(std::memory_order_relaxed) != fork_generation()) {
    return {Code::FailedPrecondition, id + " was opened before this process was forked",
            "open devices after fork, or start the child with exec"};
  }
  return {};
}

Status DeviceRecord::check(miniinfer_code code, std::string_view what) {
  if (code == MINIINFER_OK) {
    drop_error_text();
    if (state() == DeviceState::Suspect) set_state(DeviceState::Ready, "");
    return {};
  }
  const std::string text = take_error_text();
  const Code known = code_of(code);
  std::string message = std::string(what) + " on " + id + " failed: ";
  if (!text.empty()) {
    message += printable(text, kMaxText);
  } else if (static_cast<miniinfer_code>(known) == code) {
    message += std::string(to_string(known)) + ", without a reason";
  } else {
    message += format("the plugin returned the unknown code %d", code);
  }
  if (known == Code::DeviceLost) set_state(DeviceState::Lost, message);
  if (known == Code::Timeout && state() == DeviceState::Ready) {
    set_state(DeviceState::Suspect, message);
  }
  return {known, std::move(message)};
}

OpenDevicePtr DeviceRecord::opened() const {
  const std::lock_guard lock(mutex_);
  return opened_;
}

void DeviceRecord::set_opened(OpenDevicePtr device, bool survives_fork) {
  generation_.store(fork_generation(), std::memory_order_relaxed);
  survives_fork_.store(survives_fork, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  opened_ = std::move(device);
}

OpenDevicePtr DeviceRecord::take_opened_if_unused() {
  const std::lock_guard lock(mutex_);
  return opened_.use_count() == 1 ? std::exchange(opened_, nullptr) : nullptr;
}

Code code_of(miniinfer_code code) noexcept {
  return code >= MINIINFER_OK && code <= MINIINFER_INTERNAL ? static_cast<Code>(code)
                                                            : Code::Internal;
}

}  // namespace miniinfer
