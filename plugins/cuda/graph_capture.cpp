#include "plugins/cuda/graph_capture.hpp"

#include <memory>

#include "plugins/cuda/check.hpp"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/device.hpp"

namespace miniinfer::cuda {
namespace {

struct Graph {
  explicit Graph(Device& device) : device(device) {}
  ~Graph() {
    device.release([&] { exec.reset(); });
    static_cast<void>(exec.release());
  }

  Device& device;
  UniqueGraphExec exec;
};

CUDADeviceContext& stream_of(miniinfer_stream* stream) { return context(sdk::unwrap(stream)); }

miniinfer_code begin(miniinfer_stream* stream) noexcept {
  return sdk::detail::guard([&] { stream_of(stream).begin_capture(); });
}

miniinfer_code end(miniinfer_stream* stream, miniinfer_graph** out) noexcept {
  return sdk::detail::guard([&] {
    Device& device = stream_of(stream).device();
    const UniqueGraph recorded = stream_of(stream).end_capture();
    auto graph = std::make_unique<Graph>(device);
    device.on_device([&] {
      cudaGraphExec_t exec = nullptr;
      CUDA_CHECK_THROW(cudaGraphInstantiate(&exec, recorded.get(), 0));
      graph->exec.reset(exec);
      // Else the first launch pays for it.
      CUDA_CHECK_THROW(cudaGraphUpload(exec, stream_of(stream).stream()));
    });
    *out = reinterpret_cast<miniinfer_graph*>(graph.release());
  });
}

miniinfer_code launch(miniinfer_graph* graph, miniinfer_stream* stream) noexcept {
  return sdk::detail::guard([&] {
    const auto& recorded = *reinterpret_cast<Graph*>(graph);
    recorded.device.on_device([&] {
      CUDA_CHECK_THROW(cudaGraphLaunch(recorded.exec.get(), stream_of(stream).stream()));
    });
  });
}

void destroy(miniinfer_graph* graph) noexcept { delete reinterpret_cast<Graph*>(graph); }

constexpr miniinfer_graph_capture kTable = {MINIINFER_HEAD(miniinfer_graph_capture), begin, end,
                                            launch, destroy};

}  // namespace

const miniinfer_graph_capture* graph_capture() noexcept { return &kTable; }

}  // namespace miniinfer::cuda
