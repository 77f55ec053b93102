#include "core/plan/plan.hpp"

#include <algorithm>
#include <map>

#include "core/base/format.hpp"
#include "core/device/open_device.hpp"
#include "core/plan/layout.hpp"
#include "core/plan/placement.hpp"
#include "core/plan/support.hpp"

namespace miniinfer {
namespace {

bool disabled(const PlanRequest& request, std::string_view pass) {
  return std::find(request.disabled_passes.begin(), request.disabled_passes.end(), pass) !=
         request.disabled_passes.end();
}

std::uint64_t bytes_of(const Graph& graph, ValueId id) {
  if (id == kNoValue) return 0;
  const Value& value = graph.value(id);
  return *byte_count(value.dtype, *value.shape);
}

bool writes_nothing(const Graph& graph, const Region& region) {
  return std::all_of(region.outputs().begin(), region.outputs().end(),
                     [&](ValueId id) { return bytes_of(graph, id) == 0; });
}

// Builds one plan; the members are what its stages hand on.
class Builder {
 public:
  explicit Builder(const PlanRequest& request)
      : request_(request), plan_(std::make_shared<Plan>()) {}

  Result<PlanPtr> build() {
    for (Status (Builder::*stage)() :
         {&Builder::specialise_model, &Builder::place, &Builder::make_kernels, &Builder::lay_out,
          &Builder::check_limits, &Builder::bind_constants}) {
      if (Status status = (this->*stage)(); !status.ok()) return status;
    }
    find_stretches();
    report_placement();
    report_memory();
    return PlanPtr(std::move(plan_));
  }

 private:
  Status specialise_model() {
    PassContext passes = request_.passes;
    for (const OpenDevicePtr& device : request_.devices) {
      const miniinfer_op_api& api = *device->api->op;
      passes.max_instructions = std::min(passes.max_instructions, api.max_instructions);
      passes.max_operands = std::min(passes.max_operands, api.max_operands);
    }
    Result<Specialised> made =
        specialise(*request_.model, request_.inputs, passes, request_.disabled_passes);
    if (!made) return made.status();
    specialised_ = std::move(*made);
    plan_->outputs = specialised_.outputs;
    plan_->dynamic = specialised_.dynamic;
    plan_->rest = std::move(specialised_.rest);
    return {};
  }

  Status place() {
    Graph& graph = specialised_.kernels;
    for (const OpenDevicePtr& device : request_.devices) {
      if (Status status = device->ready(); !status.ok()) return status;
    }
    Result<std::vector<NodePlace>> places = place_nodes(graph, request_.devices, request_.math);
    if (!places) return places.status();
    places_ = std::move(*places);
    if (!disabled(request_, "layout")) {
      Status chosen = choose_layouts(graph, request_.devices, places_, request_.math);
      if (!chosen.ok()) return chosen;
    }
    plan_->devices = request_.devices;
    const auto host = std::find(plan_->devices.begin(), plan_->devices.end(), request_.host);
    plan_->host = static_cast<std::uint32_t>(host - plan_->devices.begin());
    if (host == plan_->devices.end()) plan_->devices.push_back(request_.host);
    schedule_ = make_schedule(graph, plan_->devices, places_, request_.input_devices,
                              !disabled(request_, "fuse-epilogue"), request_.math);
    return {};
  }

  Status make_kernels() {
    const Graph& graph = specialised_.kernels;
    memory_.resize(schedule_.items.size());
    steps_.resize(schedule_.items.size());
    skipped_.resize(schedule_.items.size());
    plan_->used.resize(plan_->devices.size());
    for (std::size_t i = 0; i < schedule_.items.size(); ++i) {
      const Item& item = schedule_.items[i];
      Step& step = steps_[i];
      step.kind = item.kind;
      step.device = item.device;
      step.from_device = item.from_device;
      plan_->used[item.device] = true;
      if (item.kind == Item::Transfer) {
        plan_->used[item.from_device] = true;
        step.bytes = bytes_of(graph, item.from);
        step.label = "transfer";
        step.peer_copy = peer_copy(*plan_->devices[item.device], *plan_->devices[item.from_device]);
        continue;
      }
      // Values that only nodes of the item read stay inside it.
      std::vector<ValueId> wanted = graph.node(item.nodes.back()).outputs;
      const Region region(graph, item.nodes, wanted, request_.math);
      memory_[i].inputs = region.inputs();
      memory_[i].outputs = region.outputs();
      for (const ValueId id : memory_[i].inputs) step.bytes += bytes_of(graph, id);
      for (const ValueId id : memory_[i].outputs) step.bytes += bytes_of(graph, id);
      for (const NodeId id : item.nodes) {
        const Node& node = graph.node(id);
        step.label += (step.label.empty() ? "" : " + ") + node.op;
        step.sources.insert(step.sources.end(), node.origin.sources.begin(),
                            node.origin.sources.end());
      }
      skipped_[i] = writes_nothing(graph, region);
      if (skipped_[i]) continue;
      const OpenDevicePtr& device = plan_->devices[item.device];
      const Support support = query_support(*device, region);
      miniinfer_kernel* kernel = nullptr;
      if (!support.yes) {
        return {Code::Internal,
                format("%s took %s back: %s", std::string(device->device.id()).c_str(),
                       step.label.c_str(), support.reason.c_str())};
      }
      const miniinfer_code code =
          device->api->op->create(device->handle, &region.abi(), &support.choice, &kernel);
      if (Status status = device->check(code, "creating kernel " + step.label); !status.ok()) {
        return status;
      }
      step.kernel = KernelHandle(device, kernel);
      step.workspace_bytes = support.choice.workspace_bytes;
      step.capturable = (support.choice.flags & MINIINFER_CHOICE_CAPTURABLE) != 0;
      memory_[i].workspace_bytes = support.choice.workspace_bytes;
      memory_[i].in_place = disabled(request_, "in-place") ? 0 : support.choice.in_place;
    }
    return {};
  }

  Status lay_out() {
    Result<MemoryLayout> layout =
        lay_out_memory(specialised_.kernels, schedule_, memory_, plan_->devices);
    if (!layout) return layout.status();
    layout_ = std::move(*layout);
    plan_->arenas = layout_.arenas;
    plan_->faults = layout_.faults;
    return {};
  }

  // Refuses before anything is allocated. Weights not on the device yet count with their raw size.
  Status check_limits() {
    if (!request_.limit_of) return {};
    for (std::uint32_t d = 0; d < plan_->devices.size(); ++d) {
      const OpenDevice& device = *plan_->devices[d];
      const std::uint64_t limit = request_.limit_of(device);
      const std::uint64_t weights = request_.constants->bytes_on(device);
      const std::uint64_t arenas =
          static_cast<std::uint64_t>(request_.contexts) * layout_.arenas[d].bytes;
      if (weights + arenas <= limit) continue;
      MemoryReport report;
      report.device = device.device.id();
      report.tag = "activations";
      report.asked_bytes = arenas;
      report.limit = report.device + " (this session)";
      report.limit_bytes = limit;
      report.limit_used_bytes = weights;
      return Status(
                 Code::LimitExceeded,
                 format(
                     "%s needs %s of activations in %d contexts beside %s of weights, the limit is "
                     "%s",
                     std::string(device.device.id()).c_str(), format_bytes(arenas).c_str(),
                     request_.contexts, format_bytes(weights).c_str(), format_bytes(limit).c_str()),
                 "allow more, or run smaller batches")
          .with_memory_report(std::make_shared<const MemoryReport>(std::move(report)));
    }
    return {};
  }

  Status bind_constants() {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const Item& item = schedule_.items[i];
      if (skipped_[i]) continue;
      Step& step = steps_[i];
      if (item.kind == Item::Transfer) {
        step.from = layout_.slots[item.from];
        step.to = layout_.slots[item.to];
      } else {
        step.workspace = layout_.workspaces[i];
        if (Status status = bind_kernel(step, memory_[i]); !status.ok()) return status;
      }
      plan_->steps.push_back(std::move(step));
    }
    return bind_results();
  }

  Status bind_kernel(Step& step, const ItemMemory& memory) {
    const OpenDevicePtr& device = plan_->devices[step.device];
    step.first_arg = static_cast<std::uint32_t>(plan_->args.size());
    step.arg_count = static_cast<std::uint32_t>(memory.inputs.size() + memory.outputs.size());
    for (std::uint32_t operand = 0; operand < memory.inputs.size(); ++operand) {
      const ValueId id = memory.inputs[operand];
      if (id == kNoValue) {
        plan_->args.emplace_back();
        continue;
      }
      const Slot& slot = layout_.slots[id];
      if (slot.place != Slot::Constant) {
        plan_->args.push_back(slot);
        continue;
      }
      // A view of a constant has its bytes, but the kernel was not told that it is one.
      const bool view = !specialised_.kernels.value(id).constant;
      const ConstantPtr& constant = specialised_.kernels.value(slot.index).constant;
      Result<DeviceConstantPtr> placed = view ? request_.constants->raw(constant, device)
                                              : place_constant(step, device, operand, constant);
      if (!placed) return placed.status();
      plan_->args.push_back(add_constant(std::move(*placed), step.device));
    }
    for (const ValueId id : memory.outputs) plan_->args.push_back(layout_.slots[id]);
    return {};
  }

  Result<DeviceConstantPtr> place_constant(const Step& step, const OpenDevicePtr& device,
                                           std::uint32_t operand, const ConstantPtr& constant) {
    const miniinfer_op_api& api = *device->api->op;
    miniinfer_packed wanted{};
    wanted.head = {sizeof wanted, MINIINFER_ABI_MINOR};
    if (MINIINFER_HAS(miniinfer_op_api, &api, pack) && api.packed != nullptr &&
        api.pack != nullptr) {
      const miniinfer_code code = api.packed(step.kernel.get(), operand, &wanted);
      if (Status status = device->check(code, "asking for packed weights"); !status.ok()) {
        return status;
      }
    }
    if (wanted.bytes == 0) return request_.constants->raw(constant, device);
    return request_.constants->packed(
        constant, device, wanted, [&](miniinfer_mem src, miniinfer_mem dst) -> miniinfer_code {
          const miniinfer_stream_api* streams = device->api->stream;
          miniinfer_stream* stream = nullptr;
          if (streams != nullptr) {
            if (const miniinfer_code code = streams->create(device->handle, 0, nullptr, &stream)) {
              return code;
            }
          }
          miniinfer_code code = api.pack(step.kernel.get(), operand, src, dst, stream);
          if (streams != nullptr) {
            if (code == MINIINFER_OK) code = streams->sync(stream);
            streams->destroy(stream);
          }
          return code;
        });
  }

  Slot add_constant(DeviceConstantPtr constant, std::uint32_t device) {
    plan_->constants.push_back(std::move(constant));
    return {Slot::Constant, device, static_cast<std::uint32_t>(plan_->constants.size() - 1), 0};
  }

  Status bind_results() {
    const Graph& graph = specialised_.kernels;
    for (const ValueId id : graph.outputs) {
      PlanResult result;
      result.type = {graph.value(id).dtype, *graph.value(id).shape};
      const Slot& slot = layout_.slots[id];
      result.device = slot.place == Slot::Constant ? plan_->host : schedule_.home[id];
      plan_->results.push_back(std::move(result));
    }
    for (const auto& [index, id] : layout_.copied_outputs) {
      Slot from = layout_.slots[id];
      if (from.place == Slot::Constant) {
        Result<DeviceConstantPtr> placed =
            request_.constants->raw(graph.value(from.index).constant, plan_->devices[plan_->host]);
        if (!placed) return placed.status();
        from = add_constant(std::move(*placed), plan_->host);
      }
      plan_->results[index].copy_from = from;
      plan_->used[plan_->results[index].device] = true;  // a copy needs its stream
    }
    return {};
  }

  // As long as they can be: whatever may be recorded between two steps that may not. One step alone
  // is replayed no faster than it is run.
  void find_stretches() {
    if (disabled(request_, "graph-capture")) return;
    const auto count = static_cast<std::uint32_t>(plan_->steps.size());
    std::vector<const miniinfer_graph_capture*> able;
    for (const OpenDevicePtr& device : plan_->devices) able.push_back(graph_capture(*device));
    const auto recordable = [&](const Step& step) {
      return step.kind == Item::Kernel && step.capturable && able[step.device] != nullptr;
    };
    for (std::uint32_t begin = 0; begin < count;) {
      std::uint32_t end = begin;
      while (end < count && recordable(plan_->steps[end]) &&
             plan_->steps[end].device == plan_->steps[begin].device) {
        ++end;
      }
      if (end - begin >= 2) plan_->stretches.push_back({plan_->steps[begin].device, begin, end});
      begin = std::max(end, begin + 1);
    }
    for (std::uint32_t d = 0; d < able.size(); ++d) {
      if (able[d] != nullptr) report_capture(d);
    }
  }

  void report_capture(std::uint32_t device) {
    Captured captured;
    captured.device = plan_->devices[device]->device.id();
    for (const StretchRange& stretch : plan_->stretches) {
      if (stretch.device != device) continue;
      captured.steps += static_cast<int>(stretch.end - stretch.begin);
      ++captured.pieces;
    }
    for (const Step& step : plan_->steps) {
      if (step.device != device || step.kind != Item::Kernel) continue;
      ++captured.kernels;
      if (!step.capturable && captured.reason.empty()) {
        captured.reason = step.label + " cannot be recorded";
      }
    }
    plan_->placement.captures.push_back(std::move(captured));
  }

  void report_placement() {
    const Graph& graph = specialised_.kernels;
    Placement& placement = plan_->placement;
    for (const SourceNode& source : *graph.sources) {
      placement.nodes.push_back({source.name, source.op, "", ""});
    }
    for (const NodeId source : specialised_.host_shape) {
      placement.nodes[source].device = "host-shape";
    }
    for (NodeId id = 0; id < places_.size(); ++id) {
      const Node& node = graph.node(id);
      if (node.removed) continue;
      for (const NodeId source : node.origin.sources) {
        PlacedNode& placed = placement.nodes[source];
        placed.device = plan_->devices[places_[id].device]->device.id();
        if (!places_[id].reason.empty()) placed.reason = places_[id].reason;
      }
    }
    for (PlacedNode& node : placement.nodes) {
      // Folded when the model was loaded, or passed over: it needs nobody.
      if (node.device.empty()) node.device = "host-shape";
      ++placement.per_device[node.device];
    }
    placement.steps = static_cast<int>(plan_->steps.size());
  }

  void report_memory() {
    for (std::uint32_t d = 0; d < plan_->devices.size(); ++d) {
      if (!plan_->used[d]) continue;
      DeviceMemory memory;
      memory.device = plan_->devices[d]->device.id();
      std::map<std::uint64_t, std::uint64_t> weights;  // by address: shared ones count once
      for (const Slot& slot : plan_->args) {
        if (slot.place != Slot::Constant || slot.device != d) continue;
        const DeviceConstantPtr& constant = plan_->constants[slot.index];
        weights[constant->mem.handle + constant->mem.offset] = constant->size;
      }
      for (const auto& [address, bytes] : weights) memory.weights += bytes;
      const ArenaUse& use = plan_->arenas[d];
      memory.activations = use.activations;
      memory.workspace = use.bytes > use.activations ? use.bytes - use.activations : 0;
      memory.lower_bound = use.lower_bound;
      memory.buffers = use.buffers;
      memory.peak = memory.weights + static_cast<std::uint64_t>(request_.contexts) * use.bytes;
      plan_->memory.push_back(std::move(memory));
    }
  }

  const PlanRequest& request_;
  std::shared_ptr<Plan> plan_;
  Specialised specialised_;
  std::vector<NodePlace> places_;
  Schedule schedule_;
  std::vector<ItemMemory> memory_;
  std::vector<Step> steps_;
  std::vector<bool> skipped_;
  MemoryLayout layout_;
};

}  // namespace

Result<PlanPtr> build_plan(const PlanRequest& request) { return Builder(request).build(); }

}  // namespace miniinfer
