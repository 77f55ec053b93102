#include "core/runtime/evaluate.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/format.hpp"
#include "core/ops/operator.hpp"
#include "core/plan/support.hpp"
#include "miniinfer/storage.hpp"

namespace miniinfer {
namespace {

// The node alone, with its inputs as constants and its outputs as the graph's.
Graph isolate(const Graph& graph, NodeId id) {
  Graph alone;
  alone.sources = graph.sources;
  Node node = graph.node(id);
  for (ValueId& input : node.inputs) {
    if (input != kNoValue) input = alone.add_constant(graph.value(input).constant);
  }
  for (ValueId& output : node.outputs) {
    if (output == kNoValue) continue;
    const Value& value = graph.value(output);
    output = alone.add_value(value.name, value.dtype, value.shape);
    alone.outputs.push_back(output);
  }
  alone.add_node(std::move(node));
  return alone;
}

class Interpreter {
 public:
  Interpreter(const OpenDevice& device, const Graph& graph) : device_(device), graph_(graph) {
    values_.resize(graph.value_count());
    for (ValueId id = 0; id < graph.value_count(); ++id) values_[id] = graph.value(id).constant;
  }

  Status run(NodeId id) {
    const Node& node = graph_.node(id);
    if (node.op == "view") {
      const Value& out = graph_.value(node.outputs[0]);
      auto view = std::make_shared<Constant>(*values_[node.inputs[0]]);
      view->keep = values_[node.inputs[0]];
      view->type = {out.dtype, *out.shape};
      values_[node.outputs[0]] = std::move(view);
      return {};
    }
    return run_kernel(id);
  }

  const ConstantPtr& value(ValueId id) const { return values_[id]; }

 private:
  Result<Storage> allocate(std::uint64_t bytes, Lifetime lifetime = Lifetime::Transient) {
    MemoryRequest request;
    request.bytes = bytes;
    request.lifetime = lifetime;
    request.tag = "folding";
    return Storage::create(device_.allocator, request);
  }

  Status run_kernel(NodeId id) {
    const NodeId nodes[] = {id};
    const Region region(graph_, nodes, graph_.node(id).outputs, 0);
    const Support support = query_support(device_, region);
    if (!support.yes) return {Code::Unsupported, support.reason};
    const miniinfer_op_api& api = *device_.api->op;
    miniinfer_kernel* kernel = nullptr;
    Status status = device_.check(
        api.create(device_.handle, &region.abi(), &support.choice, &kernel), "creating a kernel");
    if (!status.ok()) return status;
    status = run_created(api, kernel, region, support.choice.workspace_bytes);
    api.destroy(kernel);
    return status;
  }

  Status run_created(const miniinfer_op_api& api, miniinfer_kernel* kernel, const Region& region,
                     std::uint64_t workspace_bytes) {
    std::vector<miniinfer_mem> args;
    std::vector<Storage> scratch;
    for (std::uint32_t i = 0; i < region.inputs().size(); ++i) {
      const ValueId id = region.inputs()[i];
      if (id == kNoValue) {
        args.push_back({});
        continue;
      }
      // Bytes of a model file have any alignment; kernels want their own type's.
      const std::span<const std::byte> bytes = values_[id]->bytes;
      miniinfer_mem mem{reinterpret_cast<std::uint64_t>(bytes.data()), 0};
      if (mem.handle % 64 != 0 && !bytes.empty()) {
        Result<Storage> aligned = allocate(bytes.size());
        if (!aligned) return aligned.status();
        std::memcpy(aligned->host(), bytes.data(), bytes.size());
        mem = OpenDevice::mem(aligned->block());
        scratch.push_back(std::move(*aligned));
      }
      miniinfer_packed wanted{};
      wanted.head = {sizeof wanted, MINIINFER_ABI_MINOR};
      if (values_[id] == graph_.value(id).constant && api.packed != nullptr) {
        Status status = device_.check(api.packed(kernel, i, &wanted), "asking for packed weights");
        if (!status.ok()) return status;
      }
      if (wanted.bytes > 0) {
        Result<Storage> packed = allocate(wanted.bytes);
        if (!packed) return packed.status();
        const miniinfer_mem to = OpenDevice::mem(packed->block());
        Status status = device_.check(api.pack(kernel, i, mem, to, nullptr), "packing weights");
        if (!status.ok()) return status;
        mem = to;
        scratch.push_back(std::move(*packed));
      }
      args.push_back(mem);
    }
    std::vector<std::shared_ptr<Storage>> outputs;
    for (const ValueId id : region.outputs()) {
      const Value& value = graph_.value(id);
      Result<std::uint64_t> bytes = byte_count(value.dtype, *value.shape);
      if (!bytes) return bytes.status();
      Result<Storage> storage = allocate(*bytes, Lifetime::Weights);  // most become constants
      if (!storage) return storage.status();
      outputs.push_back(std::make_shared<Storage>(std::move(*storage)));
      args.push_back(OpenDevice::mem(outputs.back()->block()));
    }
    Result<Storage> workspace = allocate(workspace_bytes);
    if (!workspace) return workspace.status();
    miniinfer_fault fault{};
    miniinfer_run run{};
    run.head = {sizeof run, MINIINFER_ABI_MINOR};
    run.args = args.data();
    run.workspace = OpenDevice::mem(workspace->block());
    run.fault = {reinterpret_cast<std::uint64_t>(&fault), 0};
    const bool empty = std::ranges::all_of(outputs, [](const auto& s) { return s->bytes() == 0; });
    if (!empty) {
      Status status = device_.check(api.enqueue(kernel, nullptr, &run), "running a kernel");
      if (!status.ok()) return status;
    }
    if (fault.code != MINIINFER_FAULT_NONE) {
      return {Code::InvalidArgument, format("the data is not allowed: fault %d (%lld, %lld)",
                                            fault.code, static_cast<long long>(fault.detail[0]),
                                            static_cast<long long>(fault.detail[1]))};
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const ValueId id = region.outputs()[i];
      auto made = std::make_shared<Constant>();
      made->type = {graph_.value(id).dtype, *graph_.value(id).shape};
      made->bytes = {outputs[i]->host(), static_cast<std::size_t>(outputs[i]->bytes())};
      made->keep = outputs[i];
      values_[id] = std::move(made);
    }
    return {};
  }

  const OpenDevice& device_;
  const Graph& graph_;
  std::vector<ConstantPtr> values_;
};

// Cuts a data-dependent output down to what was written.
ConstantPtr trim(const ConstantPtr& value, const Shape& inferred, std::int64_t count) {
  auto trimmed = std::make_shared<Constant>(*value);
  trimmed->keep = value;
  const auto axis = std::find(inferred.begin(), inferred.end(), -1);
  if (axis == inferred.end()) return value;
  trimmed->type.shape[static_cast<std::size_t>(axis - inferred.begin())] = count;
  trimmed->bytes = value->bytes.first(*byte_count(trimmed->type.dtype, trimmed->type.shape));
  return trimmed;
}

}  // namespace

Evaluator make_evaluator(OpenDevicePtr host) {
  return [host](const Graph& graph, NodeId id) -> Result<std::vector<ConstantPtr>> {
    Graph alone = isolate(graph, id);
    if (Status status = infer_shapes(alone); !status.ok()) return status;
    Result<Graph> kernels = lower(alone);
    if (!kernels) return kernels.status();
    Interpreter interpreter(*host, *kernels);
    for (NodeId node = 0; node < kernels->node_count(); ++node) {
      if (kernels->node(node).removed) continue;
      if (Status status = interpreter.run(node); !status.ok()) {
        return status.with_context("folding " + graph.node(id).op);
      }
    }
    const Operator* op = find_operator(graph.node(id).op);
    std::vector<ConstantPtr> outputs;
    std::size_t next = 0;
    for (const ValueId output : graph.node(id).outputs) {
      if (output == kNoValue) {
        outputs.push_back(nullptr);
        continue;
      }
      const ValueId lowered = kernels->outputs[next];
      ConstantPtr value = interpreter.value(lowered);
      const NodeId producer = kernels->value(lowered).producer;
      const Value& inferred = alone.value(alone.outputs[next]);
      if (op->data_dependent && producer != kNoNode &&
          kernels->node(producer).outputs.size() == 2) {
        const ConstantPtr& count = interpreter.value(kernels->node(producer).outputs[1]);
        value = trim(value, *inferred.shape, count->as_ints().front());
      }
      outputs.push_back(std::move(value));
      ++next;
    }
    return outputs;
  };
}

}  // namespace miniinfer
