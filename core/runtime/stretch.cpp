#include "core/runtime/stretch.hpp"

#include <algorithm>
#include <string>

#include "core/base/log.hpp"
#include "core/device/open_device.hpp"

namespace miniinfer {

Stretch::~Stretch() {
  for (const Recording& recording : recordings_) drop(recording);
}

void Stretch::drop(const Recording& recording) {
  if (recording.graph != nullptr) api_.destroy(recording.graph);
  release_captures(*device_, recording.captures);
}

// Allocates nothing once as many were seen as are kept.
void Stretch::remember(std::span<const miniinfer_mem> args) {
  if (seen_.size() < kMost) {
    seen_.emplace_back(patched.size());
  } else {
    std::rotate(seen_.begin(), seen_.begin() + 1, seen_.end());
  }
  for (std::size_t i = 0; i < patched.size(); ++i) seen_.back()[i] = args[patched[i]];
}

bool Stretch::same(std::span<const miniinfer_mem> args,
                   const std::vector<miniinfer_mem>& addresses) const {
  for (std::size_t i = 0; i < patched.size(); ++i) {
    const miniinfer_mem& now = args[patched[i]];
    if (now.handle != addresses[i].handle || now.offset != addresses[i].offset) return false;
  }
  return true;
}

Stretch::Turn Stretch::next(std::span<const miniinfer_mem> args) {
  if (hopeless_) return Turn::Run;
  for (std::size_t i = recordings_.size(); i-- > 0;) {
    if (!same(args, recordings_[i].addresses)) continue;
    std::swap(recordings_[i], recordings_.back());
    return Turn::Replay;
  }
  const auto seen = std::find_if(seen_.begin(), seen_.end(),
                                 [&](const auto& addresses) { return same(args, addresses); });
  if (seen == seen_.end()) {
    remember(args);
    return Turn::Run;
  }
  std::rotate(seen, seen + 1, seen_.end());  // the one to record is the last
  return Turn::Record;
}

Status Stretch::begin_recording(miniinfer_stream* stream) {
  Result<std::vector<CaptureId>> captures = begin_captures(*device_, stream);
  if (!captures) return captures.status();
  captures_ = std::move(*captures);
  Status status = device_->check(api_.begin(stream), "recording a run");
  hopeless_ = !status.ok();
  if (hopeless_) release_captures(*device_, captures_);
  return status;
}

bool Stretch::end_recording(miniinfer_stream* stream, bool usable) {
  Recording made{seen_.back(), nullptr, std::move(captures_)};
  Status status = device_->ready();  // no call reaches a device that was lost meanwhile
  if (status.ok()) status = device_->check(api_.end(stream, &made.graph), "recording a run");
  end_captures(*device_, made.captures);
  if (!status.ok() || !usable) {
    drop(made);
    hopeless_ = true;
    const std::string id(device_->device.id());
    log(MINIINFER_LOG_INFO, id,
        "runs are not recorded: " + (status.ok() ? "a step cannot be" : status.to_string()));
    return false;
  }
  if (recordings_.size() == kMost) {
    drop(recordings_.front());
    recordings_.erase(recordings_.begin());
  }
  recordings_.push_back(std::move(made));
  seen_.pop_back();
  return true;
}

Status Stretch::replay(miniinfer_stream* stream) {
  return device_->check(api_.launch(recordings_.back().graph, stream), "replaying a run");
}

}  // namespace miniinfer
