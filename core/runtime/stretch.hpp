#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/device/backend_registry.hpp"
#include "miniinfer/abi/ext/draft/graph_capture.h"
#include "miniinfer/pool_allocator.hpp"

namespace miniinfer {

// Steps of a plan, all on one device, that can be recorded and replayed as one piece of work.
//
// A recording holds addresses. So the first run over some addresses is an ordinary one (it also
// loads what the device loads lazily), the second records, and later ones replay, until the caller
// comes with other memory. A few recordings are kept, and a few tuples of addresses remembered, for
// callers who take turns between buffers: those who let the runtime make the outputs do so without
// knowing, as a pool gives memory out again in the order in which it came back.
// [one-at-a-time]
class Stretch {
 public:
  enum class Turn { Run, Record, Replay };

  Stretch(OpenDevicePtr device, const miniinfer_graph_capture& api, std::uint32_t begin,
          std::uint32_t end)
      : begin(begin), end(end), device_(std::move(device)), api_(api) {}
  ~Stretch();
  Stretch(const Stretch&) = delete;
  Stretch& operator=(const Stretch&) = delete;

  const std::uint32_t begin, end;      // steps
  std::vector<std::uint32_t> patched;  // arguments among theirs that are the caller's memory
  bool owns_fault = false;  // no other step of the device runs a kernel: clears and reads the block

  // What to do in a run with these arguments.
  Turn next(std::span<const miniinfer_mem> args);

  // Record: what is put on the stream in between is recorded and not run. Afterwards replay.
  Status begin_recording(miniinfer_stream* stream);
  // `usable` false drops it. A stretch that could not be recorded once is never tried again; where
  // that is so it is to be run in the ordinary way, and false comes back.
  bool end_recording(miniinfer_stream* stream, bool usable);
  Status replay(miniinfer_stream* stream);

 private:
  static constexpr std::size_t kMost = 4;  // recordings, and addresses remembered
  struct Recording {
    std::vector<miniinfer_mem> addresses;
    miniinfer_graph* graph;
    std::vector<CaptureId> captures;
  };

  void drop(const Recording& recording);
  void remember(std::span<const miniinfer_mem> args);
  bool same(std::span<const miniinfer_mem> args, const std::vector<miniinfer_mem>& addresses) const;

  OpenDevicePtr device_;
  const miniinfer_graph_capture& api_;
  std::vector<Recording> recordings_;             // the one to replay is the last
  std::vector<std::vector<miniinfer_mem>> seen_;  // of ordinary runs, the most recent last
  std::vector<CaptureId> captures_;               // of the recording under way
  bool hopeless_ = false;
};

}  // namespace miniinfer
