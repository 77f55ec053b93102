#include "plugins/fake/graph.hpp"

#include <memory>

#include "plugins/fake/device.hpp"
#include "plugins/fake/stream.hpp"

namespace miniinfer::fake {
namespace {

Stream& unwrap(miniinfer_stream* stream) { return static_cast<Stream&>(*sdk::unwrap(stream)); }
Graph* unwrap(miniinfer_graph* graph) { return reinterpret_cast<Graph*>(graph); }

miniinfer_code begin(miniinfer_stream* stream) noexcept {
  return sdk::detail::guard([&] { unwrap(stream).begin_recording(); });
}

miniinfer_code end(miniinfer_stream* stream, miniinfer_graph** out) noexcept {
  return sdk::detail::guard(
      [&] { *out = reinterpret_cast<miniinfer_graph*>(unwrap(stream).end_recording().release()); });
}

miniinfer_code launch(miniinfer_graph* graph, miniinfer_stream* stream) noexcept {
  return sdk::detail::guard([&] { unwrap(stream).replay(*unwrap(graph)); });
}

void destroy(miniinfer_graph* graph) noexcept { delete unwrap(graph); }

}  // namespace

Graph::Graph(Device& device) : device(device) {
  device.ledger().add(&miniinfer_fake_ledger::live_graphs);
}

Graph::~Graph() { device.ledger().subtract(&miniinfer_fake_ledger::live_graphs); }

const miniinfer_graph_capture* Graph::api() {
  static const miniinfer_graph_capture table = {MINIINFER_HEAD(miniinfer_graph_capture), begin, end,
                                                launch, destroy};
  return &table;
}

}  // namespace miniinfer::fake
