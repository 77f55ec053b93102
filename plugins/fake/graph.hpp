#pragma once

#include <functional>
#include <vector>

#include "miniinfer/abi/ext/draft/graph_capture.h"
#include "plugins/fake/race_oracle.hpp"

namespace miniinfer::fake {

class Device;

// Work recorded from a stream, to be put there again as often as wanted.
struct Graph {
  explicit Graph(Device& device);
  ~Graph();

  struct Task {
    const char* name;
    std::function<void()> work;
    bool always;
    bool pretends;  // does nothing with what it uses
    std::vector<Access> accesses;
  };
  Device& device;
  std::vector<Task> tasks;

  // miniinfer.graph_capture/1
  static const miniinfer_graph_capture* api();
};

}  // namespace miniinfer::fake
