#include "core/runtime/stretch.hpp"

#include <algorithm>
#include <string>

#include "core/base/log.hpp"

namespace miniinfer {

Stretch::~Stretch() {
  for (const Recording& recording : recordings_) api_.destroy(recording.graph);
}

void Stretch::copy_addresses(std::span<const miniinfer_mem> args,
                             std::vector<miniinfer_mem>& out) const {
  out.clear();
  for (const std::uint32_t arg : patched) out.push_back(args[arg]);
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
  if (ran_ && same(args, seen_)) return Turn::Record;
  copy_addresses(args, seen_);
  ran_ = true;
  return Turn::Run;
}

Status Stretch::begin_recording(miniinfer_stream* stream) {
  const Status status = device_->check(api_.begin(stream), "recording a run");
  hopeless_ = !status.ok();
  return status;
}

bool Stretch::end_recording(miniinfer_stream* stream, bool usable) {
  miniinfer_graph* graph = nullptr;
  const Status status = device_->check(api_.end(stream, &graph), "recording a run");
  if (!status.ok() || !usable) {
    if (graph != nullptr) api_.destroy(graph);
    hopeless_ = true;
    const std::string id(device_->device.id());
    log(MINIINFER_LOG_INFO, id,
        "runs are not recorded: " + (status.ok() ? "a step cannot be" : status.to_string()));
    return false;
  }
  if (recordings_.size() == kMost) {
    api_.destroy(recordings_.front().graph);
    recordings_.erase(recordings_.begin());
  }
  recordings_.push_back({seen_, graph});
  return true;
}

Status Stretch::replay(miniinfer_stream* stream) {
  return device_->check(api_.launch(recordings_.back().graph, stream), "replaying a run");
}

}  // namespace miniinfer
