#include "plugins/fake/stream.hpp"

#include <cstring>
#include <string>
#include <utility>

#include "plugins/fake/device.hpp"

namespace miniinfer::fake {

Event::Event(Device& device) : device_(device) {
  device_.ledger().add(&miniinfer_fake_ledger::live_events);
}

Event::~Event() { device_.ledger().subtract(&miniinfer_fake_ledger::live_events); }

Mark Event::mark() const {
  std::lock_guard lock(mutex_);
  return mark_;
}

void Event::set(Mark mark) {
  std::lock_guard lock(mutex_);
  mark_ = std::move(mark);
}

void Event::sync() {
  device_.enter("sync");
  device_.ledger().add(&miniinfer_fake_ledger::syncs);
  device_.scheduler().finish(mark());
}

bool Event::done() {
  device_.enter("query");
  return device_.scheduler().ask(mark());
}

Stream::Stream(Device& device) : device_(device), queue_(device.scheduler().make_queue()) {
  device_.ledger().add(&miniinfer_fake_ledger::live_streams);
}

Stream::~Stream() {
  device_.scheduler().close(queue_, device_.lost());
  device_.ledger().subtract(&miniinfer_fake_ledger::live_streams);
}

void Stream::sync() {
  device_.enter("sync");
  refuse_while_recording("sync");
  device_.ledger().add(&miniinfer_fake_ledger::syncs);
  device_.scheduler().finish(device_.scheduler().end_of(queue_));
}

bool Stream::done() {
  device_.enter("query");
  refuse_while_recording("query");
  return device_.scheduler().ask(device_.scheduler().end_of(queue_));
}

void Stream::copy(miniinfer_copy_direction direction, miniinfer_mem dst, miniinfer_mem src,
                  std::uint64_t bytes) {
  device_.enter("copy");
  if (direction < MINIINFER_COPY_HOST_TO_DEVICE || direction > MINIINFER_COPY_DEVICE_TO_DEVICE) {
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "copy in direction %d on %s", direction, device_.id());
  }
  device_.ledger().add(&miniinfer_fake_ledger::copies);
  device_.ledger().add(&miniinfer_fake_ledger::copied_bytes, bytes);
  std::vector<Access> accesses;
  if (direction != MINIINFER_COPY_DEVICE_TO_HOST) accesses.push_back({dst, bytes, true});
  if (direction != MINIINFER_COPY_HOST_TO_DEVICE) accesses.push_back({src, bytes, false});
  const auto work = [this, direction, dst, src, bytes] {
    const auto end = [&](miniinfer_mem mem, bool host) {
      return host ? reinterpret_cast<std::byte*>(mem.handle + mem.offset)
                  : device_.memory().resolve(mem, bytes, "copy");
    };
    std::byte* to = end(dst, direction == MINIINFER_COPY_DEVICE_TO_HOST);
    const std::byte* from = end(src, direction == MINIINFER_COPY_HOST_TO_DEVICE);
    if (bytes != 0) std::memcpy(to, from, bytes);
  };
  launch("copy", work, accesses);
}

void Stream::copy_from(Stream& from, miniinfer_mem dst, miniinfer_mem src, std::uint64_t bytes) {
  device_.enter("peer");
  refuse_while_recording("peer copy");
  from.refuse_while_recording("peer copy");
  device_.ledger().add(&miniinfer_fake_ledger::peer_copies);
  const auto work = [this, source = &from.device_, dst, src, bytes] {
    device_.begin_work();
    std::byte* to = device_.memory().resolve(dst, bytes, "peer copy");
    const std::byte* at = source->memory().resolve(src, bytes, "peer copy");
    if (bytes != 0) std::memcpy(to, at, bytes);
  };
  Scheduler& theirs = from.device_.scheduler();
  const auto [here, there] = device_.scheduler().put_copy(
      *queue_, work, theirs.end_of(from.queue_), {dst, bytes, true}, theirs, {src, bytes, false});
  if (!here.empty()) device_.violation("%s", here.c_str());
  if (!there.empty()) from.device_.violation("%s", there.c_str());
  if (from.queue_ != queue_) theirs.put_wait(*from.queue_, device_.scheduler().end_of(queue_));
}

const miniinfer_peer_copy* Stream::peer_copy() {
  static const miniinfer_peer_copy table = {
      MINIINFER_HEAD(miniinfer_peer_copy),
      [](miniinfer_device*, miniinfer_device*) noexcept -> std::uint32_t { return 1; },
      [](miniinfer_stream* to, miniinfer_mem dst, miniinfer_stream* from, miniinfer_mem src,
         std::uint64_t bytes) noexcept {
        return sdk::detail::guard([&] {
          auto& source = static_cast<Stream&>(*sdk::unwrap(from));
          static_cast<Stream&>(*sdk::unwrap(to)).copy_from(source, dst, src, bytes);
        });
      }};
  return &table;
}

void Stream::fill(miniinfer_mem dst, std::uint64_t bytes, std::uint64_t pattern,
                  std::uint32_t pattern_bytes) {
  device_.enter("fill");
  const bool valid =
      pattern_bytes == 1 || pattern_bytes == 2 || pattern_bytes == 4 || pattern_bytes == 8;
  if (!valid || bytes % pattern_bytes != 0) {
    device_.violation("fill of %llu bytes by a pattern of %u",
                      static_cast<unsigned long long>(bytes), pattern_bytes);
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "fill of %llu bytes by a pattern of %u on %s",
              static_cast<unsigned long long>(bytes), pattern_bytes, device_.id());
  }
  device_.ledger().add(&miniinfer_fake_ledger::fills);
  const auto work = [this, dst, bytes, pattern, pattern_bytes] {
    std::byte* to = device_.memory().resolve(dst, bytes, "fill");
    for (std::uint64_t at = 0; at < bytes; at += pattern_bytes) {
      std::memcpy(to + at, &pattern, pattern_bytes);
    }
  };
  launch("fill", work, {{dst, bytes, true}});
}

void Stream::record(sdk::Event& event) {
  device_.enter("record");
  refuse_while_recording("record");
  static_cast<Event&>(event).set(device_.scheduler().end_of(queue_));
}

void Stream::wait(sdk::Event& event) {
  device_.enter("wait");
  refuse_while_recording("wait");
  const Mark mark = static_cast<Event&>(event).mark();
  if (mark.queue != nullptr && mark.queue != queue_) {
    device_.scheduler().put_wait(*queue_, mark);
  }
}

void Stream::launch(const char* name, std::function<void()> work,
                    const std::vector<Access>& accesses) {
  const auto task = [this, work = std::move(work)] {
    device_.begin_work();
    work();
  };
  put(name, task, false, accesses);
}

void Stream::touch(const char* name, const std::vector<Access>& accesses) {
  device_.enter("touch");
  check(name, accesses);
  put(name, [this] { device_.begin_work(); }, false, accesses);
  if (recording_ != nullptr) recording_->tasks.back().pretends = true;
}

void Stream::check(const char* name, const std::vector<Access>& accesses) {
  for (const Access& access : accesses) device_.memory().check(access.mem, access.bytes, name);
}

void Stream::enqueue(const char* name, std::function<void()> work,
                     const std::vector<Access>& accesses) {
  put(name, std::move(work), true, accesses);
}

void Stream::put(const char* name, std::function<void()> work, bool always,
                 const std::vector<Access>& accesses) {
  if (recording_ != nullptr) {
    recording_->tasks.push_back({name, std::move(work), always, false, accesses});
    return;
  }
  for (const std::string& race :
       device_.scheduler().put(*queue_, name, std::move(work), always, accesses)) {
    device_.violation("%s", race.c_str());
  }
}

void Stream::begin_recording() {
  device_.enter("capture");
  refuse_while_recording("begin");
  recording_ = std::make_unique<Graph>(device_);
  is_recording_.store(true);
}

std::unique_ptr<Graph> Stream::end_recording() {
  if (recording_ == nullptr) {
    device_.violation("end of a recording that was not begun");
    sdk::fail(MINIINFER_FAILED_PRECONDITION, "nothing is being recorded on %s", device_.id());
  }
  std::unique_ptr<Graph> graph = std::move(recording_);
  is_recording_.store(false);
  device_.enter("capture");
  return graph;
}

void Stream::replay(const Graph& graph) {
  device_.enter("replay");
  refuse_while_recording("launch");
  device_.ledger().add(&miniinfer_fake_ledger::replays);
  for (const Graph::Task& task : graph.tasks) {
    if (task.pretends) check(task.name, task.accesses);
    put(task.name, task.work, task.always, task.accesses);
  }
}

void Stream::refuse_while_recording(const char* call) {
  if (!is_recording_.load()) return;
  device_.violation("%s inside a recording", call);
  sdk::fail(MINIINFER_FAILED_PRECONDITION, "%s inside a recording on %s", call, device_.id());
}

}  // namespace miniinfer::fake
