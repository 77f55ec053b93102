#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "miniinfer/abi/ext/draft/peer_copy.h"
#include "miniinfer/sdk/stream.hpp"
#include "plugins/fake/graph.hpp"
#include "plugins/fake/scheduler.hpp"

namespace miniinfer::fake {

class Device;

// The place in a stream's work where it was last recorded. [any-thread]
class Event final : public sdk::Event {
 public:
  explicit Event(Device& device);
  ~Event() override;
  void sync() override;
  bool done() override;

  Mark mark() const;
  void set(Mark mark);

 private:
  Device& device_;
  mutable std::mutex mutex_;
  Mark mark_;
};

class Stream final : public sdk::Stream {
 public:
  explicit Stream(Device& device);
  ~Stream() override;
  void sync() override;
  bool done() override;
  void copy(miniinfer_copy_direction direction, miniinfer_mem dst, miniinfer_mem src,
            std::uint64_t bytes) override;
  void fill(miniinfer_mem dst, std::uint64_t bytes, std::uint64_t pattern,
            std::uint32_t pattern_bytes) override;
  void record(sdk::Event& event) override;
  void wait(sdk::Event& event) override;

  // miniinfer.peer_copy/1
  static const miniinfer_peer_copy* peer_copy();

  // Work of the device's that uses memory: subject to the fault plan, dropped after a failure.
  void launch(const char* name, std::function<void()> work, const std::vector<Access>& accesses);
  // Work that only pretends to use memory, which must be there when it is put on the stream.
  void touch(const char* name, const std::vector<Access>& accesses);
  // Bookkeeping in stream order, done in any case.
  void enqueue(const char* name, std::function<void()> work, const std::vector<Access>& accesses);

  // Between these two, work is recorded instead of queued; what waits or asks is a violation.
  void begin_recording();
  std::unique_ptr<Graph> end_recording();
  void replay(const Graph& graph);

  const std::shared_ptr<Queue>& queue() const { return queue_; }

 private:
  void check(const char* name, const std::vector<Access>& accesses);
  void put(const char* name, std::function<void()> work, bool always,
           const std::vector<Access>& accesses);

  void copy_from(Stream& from, miniinfer_mem dst, miniinfer_mem src, std::uint64_t bytes);

  Device& device_;
  // Throws, and notes a violation, inside a recording.
  void refuse_while_recording(const char* call);

  std::shared_ptr<Queue> queue_;
  std::unique_ptr<Graph> recording_;
  std::atomic<bool> is_recording_{false};  // for threads that do not put work here
};

}  // namespace miniinfer::fake
