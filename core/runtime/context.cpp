#include "core/runtime/context.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/format.hpp"
#include "core/device/open_device.hpp"

namespace miniinfer {
namespace {

constexpr std::size_t kMostBound = 16;

miniinfer_mem host_mem(const void* address) {
  return {reinterpret_cast<std::uint64_t>(address), 0};
}

std::byte* host_address(miniinfer_mem mem) {
  return reinterpret_cast<std::byte*>(mem.handle + mem.offset);
}

// What a kernel found in the data, in words, with the user's node.
Status describe_fault(const Plan& plan, const miniinfer_fault& fault) {
  std::string what;
  switch (fault.code) {
    case MINIINFER_FAULT_INDEX:
      what =
          format("index %lld is out of range for an axis of size %lld",
                 static_cast<long long>(fault.detail[0]), static_cast<long long>(fault.detail[1]));
      break;
    case MINIINFER_FAULT_DIVIDE:
      what = "integer division by zero";
      break;
    default:
      what = format("a value the operator does not allow (%lld)",
                    static_cast<long long>(fault.detail[0]));
  }
  std::vector<NodeReport> nodes;
  if (fault.step < plan.steps.size() && !plan.steps[fault.step].sources.empty()) {
    const PlacedNode& node = plan.placement.nodes[plan.steps[fault.step].sources.front()];
    nodes.push_back({node.name, node.op, "", what});
    what += " in node " + printable(node.name);
  }
  return {Code::InvalidArgument, what, "the data of an input causes this", std::move(nodes)};
}

}  // namespace

Context::~Context() {
  bound_.clear();  // recordings go before the streams they were made on
  for (std::size_t d = 0; d < streams_.size(); ++d) {
    if (streams_[d] != nullptr) destroy_stream(*devices_[d], streams_[d]);
  }
}

Status Context::open_streams(const Plan& plan) {
  if (devices_.empty()) {
    devices_ = plan.devices;
    arenas_.resize(devices_.size());
    streams_.resize(devices_.size());
    faults_.resize(devices_.size());
    pinned_faults_.resize(devices_.size());
  }
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    const OpenDevice& device = *devices_[d];
    if (!plan.used[d] || device.is_inline() || streams_[d] != nullptr) continue;
    Result<miniinfer_stream*> stream = make_stream(device, nullptr, "creating a stream");
    if (!stream) return stream.status();
    streams_[d] = *stream;
    Result<AllocatorPtr> pinned = shared_memory(device, MemoryKind::Pinned);
    if (!pinned || pinned_faults_[d].bytes() != 0) continue;
    MemoryRequest request;
    request.bytes = sizeof(miniinfer_fault);
    request.kind = MemoryKind::Pinned;
    request.lifetime = Lifetime::Arena;
    request.tag = "fault block";
    Result<Storage> page = Storage::create(*pinned, request);
    if (!page) return page.status();
    pinned_faults_[d] = std::move(*page);
  }
  return {};
}

// Arenas only grow. Plans bound to the old one are bound again when they are next run.
Status Context::grow_arenas(const Plan& plan) {
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    const std::uint64_t bytes = plan.arenas[d].bytes;
    if (!plan.used[d] && d != plan.host) continue;
    if (arenas_[d].bytes() >= bytes && arenas_[d].allocator()) continue;
    bound_.clear();
    current_ = nullptr;
    arenas_[d].reset();
    MemoryRequest request;
    request.bytes = bytes;
    request.alignment = std::max<std::uint64_t>(64, devices_[d]->info.memory_alignment);
    request.lifetime = Lifetime::Arena;
    request.tag = "arena";
    Result<Storage> arena = Storage::create(allocator_of_(*devices_[d]), request);
    if (!arena) return arena.status();
    arenas_[d] = std::move(*arena);
  }
  return {};
}

miniinfer_mem Context::resolve(const Plan& plan, const Slot& slot, std::span<const Block> inputs,
                               std::span<const Block> results) const {
  switch (slot.place) {
    case Slot::None:
      return {};
    case Slot::Arena: {
      miniinfer_mem mem = OpenDevice::mem(arenas_[slot.device].block());
      mem.offset += slot.offset;
      return mem;
    }
    case Slot::Constant:
      return plan.constants[slot.index]->mem;
    case Slot::Input:
      return slot.index < inputs.size() ? OpenDevice::mem(inputs[slot.index]) : miniinfer_mem{};
    case Slot::Output:
      return slot.index < results.size() ? OpenDevice::mem(results[slot.index]) : miniinfer_mem{};
  }
  return {};
}

void Context::bind(Bound& bound) {
  const Plan& plan = *bound.plan;
  bound.args.resize(plan.args.size());
  for (std::uint32_t i = 0; i < plan.args.size(); ++i) {
    const Slot& slot = plan.args[i];
    if (slot.place == Slot::Input || slot.place == Slot::Output) {
      bound.patches.push_back({i, slot.index, slot.place == Slot::Input});
    } else {
      bound.args[i] = resolve(plan, slot, {}, {});
    }
  }
  bound.calls.resize(plan.steps.size());
  for (std::uint32_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    if (step.kind != Item::Kernel) continue;
    Call& call = bound.calls[i];
    call.enqueue = devices_[step.device]->api->op->enqueue;
    call.kernel = step.kernel.get();
    call.stream = streams_[step.device];
    call.run.head = {sizeof call.run, MINIINFER_ABI_MINOR};
    call.run.args = bound.args.data() + step.first_arg;
    call.run.workspace = resolve(plan, step.workspace, {}, {});
    call.run.fault = resolve(plan, plan.faults[step.device], {}, {});
    call.run.step = i;
  }
  bind_stretches(bound);
}

void Context::bind_stretches(Bound& bound) {
  const Plan& plan = *bound.plan;
  bound.fault_inside.resize(devices_.size());
  for (const StretchRange& range : plan.stretches) {
    const miniinfer_graph_capture* api = graph_capture(*devices_[range.device]);
    if (api == nullptr) continue;
    auto stretch = std::make_unique<Stretch>(devices_[range.device], *api, range.begin, range.end);
    const std::uint32_t first = plan.steps[range.begin].first_arg;
    const Step& last = plan.steps[range.end - 1];
    for (const Patch& patch : bound.patches) {
      if (patch.arg >= first && patch.arg < last.first_arg + last.arg_count) {
        stretch->patched.push_back(patch.arg);
      }
    }
    const auto kernels = std::count_if(plan.steps.begin(), plan.steps.end(), [&](const Step& step) {
      return step.kind == Item::Kernel && step.device == range.device;
    });
    stretch->owns_fault =
        kernels == range.end - range.begin && pinned_faults_[range.device].host() != nullptr;
    bound.fault_inside[range.device] = stretch->owns_fault;
    bound.stretches.push_back(std::move(stretch));
  }
}

Status Context::prepare(const PlanPtr& plan) {
  if (current_ != nullptr && current_->plan == plan) return {};
  if (Status status = open_streams(*plan); !status.ok()) return status;
  if (Status status = grow_arenas(*plan); !status.ok()) return status;
  const auto found = std::find_if(bound_.begin(), bound_.end(),
                                  [&](const auto& bound) { return bound->plan == plan; });
  if (found != bound_.end()) {
    std::rotate(found, found + 1, bound_.end());
  } else {
    if (bound_.size() >= kMostBound) bound_.erase(bound_.begin());
    bound_.push_back(std::make_unique<Bound>());
    bound_.back()->plan = plan;
    bind(*bound_.back());
  }
  current_ = bound_.back().get();
  last_ = plan;
  return {};
}

Status Context::grow_staging(const OpenDevice& host, std::uint64_t bytes) {
  if (staging_.bytes() >= bytes) return {};
  staging_.reset();
  MemoryRequest request;
  request.bytes = bytes;
  request.lifetime = Lifetime::Staging;
  request.tag = "staging";
  Result<Storage> made = Storage::create(host.allocator, request);
  if (!made) return made.status();
  staging_ = std::move(*made);
  return {};
}

Status Context::transfer(const Plan& plan, const Step& step, std::span<const Block> inputs,
                         std::span<const Block> results) {
  if (step.bytes == 0) return {};
  const OpenDevice& source = *devices_[step.from_device];
  const OpenDevice& target = *devices_[step.device];
  const miniinfer_mem from = resolve(plan, step.from, inputs, results);
  const miniinfer_mem to = resolve(plan, step.to, inputs, results);
  if (step.peer_copy != nullptr) {
    const miniinfer_code code = step.peer_copy->enqueue(
        streams_[step.device], to, streams_[step.from_device], from, step.bytes);
    return target.check(code, "copying from " + std::string(source.device.id()));
  }
  // An inline device's memory is the host's to read and write, whatever its domain.
  const bool from_host = source.domain() == "host" || source.is_inline();
  const bool to_host = target.domain() == "host" || target.is_inline();
  miniinfer_mem on_host = from;
  if (!from_host) {
    if (!to_host) {
      if (Status status = grow_staging(*devices_[plan.host], step.bytes); !status.ok()) {
        return status;
      }
    }
    on_host = to_host ? to : OpenDevice::mem(staging_.block());
    miniinfer_stream* stream = streams_[step.from_device];
    const miniinfer_code code =
        source.api->stream->copy(stream, MINIINFER_COPY_DEVICE_TO_HOST, on_host, from, step.bytes);
    if (Status status = source.check(code, "copying to the host"); !status.ok()) return status;
    if (Status status = sync_stream(source, stream, "copying to the host"); !status.ok()) {
      return status;
    }
    if (to_host) return {};
  }
  if (to_host) {
    std::memcpy(host_address(to), host_address(on_host), step.bytes);
    return {};
  }
  miniinfer_stream* stream = streams_[step.device];
  const miniinfer_code code =
      target.api->stream->copy(stream, MINIINFER_COPY_HOST_TO_DEVICE, to, on_host, step.bytes);
  Status status = target.check(code, "copying from the host");
  // The host writes over its arena and the staging area before the device may have read them.
  if (!status.ok() || step.from.place == Slot::Input) return status;
  return sync_stream(target, stream, "copying from the host");
}

Status Context::copy_results(const Plan& plan, std::span<const Block> inputs,
                             std::span<const Block> results) {
  for (std::size_t i = 0; i < plan.results.size(); ++i) {
    const PlanResult& result = plan.results[i];
    if (!result.copy_from) continue;
    const std::uint64_t bytes = *byte_count(result.type.dtype, result.type.shape);
    if (bytes == 0) continue;
    const miniinfer_mem from = resolve(plan, *result.copy_from, inputs, results);
    const miniinfer_mem to = OpenDevice::mem(results[i]);
    const OpenDevice& device = *devices_[result.device];
    if (device.host_visible()) {
      std::memcpy(host_address(to), host_address(from), bytes);
      continue;
    }
    const miniinfer_code code = device.api->stream->copy(
        streams_[result.device], MINIINFER_COPY_DEVICE_TO_DEVICE, to, from, bytes);
    if (Status status = device.check(code, "copying an output"); !status.ok()) return status;
  }
  return {};
}

Status Context::clear_fault(const Plan& plan, std::uint32_t d) {
  const OpenDevice& device = *devices_[d];
  const miniinfer_mem fault = resolve(plan, plan.faults[d], {}, {});
  const miniinfer_code code =
      device.api->stream->fill(streams_[d], fault, sizeof(miniinfer_fault), 0, 8);
  return device.check(code, "clearing the fault block");
}

Status Context::bring_fault(const Plan& plan, std::uint32_t d, void* to) {
  const OpenDevice& device = *devices_[d];
  const miniinfer_mem fault = resolve(plan, plan.faults[d], {}, {});
  const miniinfer_code code = device.api->stream->copy(
      streams_[d], MINIINFER_COPY_DEVICE_TO_HOST, host_mem(to), fault, sizeof(miniinfer_fault));
  return device.check(code, "reading the fault block");
}

Status Context::clear_faults(const Bound& bound) {
  const Plan& plan = *bound.plan;
  for (std::uint32_t d = 0; d < devices_.size(); ++d) {
    if (!plan.used[d]) continue;
    const OpenDevice& device = *devices_[d];
    if (Status status = device.ready(); !status.ok()) return status;
    if (device.host_visible()) {
      std::memset(host_address(resolve(plan, plan.faults[d], {}, {})), 0, sizeof(miniinfer_fault));
    } else if (!bound.fault_inside[d]) {
      if (Status status = clear_fault(plan, d); !status.ok()) return status;
    }
  }
  return {};
}

Status Context::finish(const Bound& bound) {
  const Plan& plan = *bound.plan;
  for (std::uint32_t d = 0; d < devices_.size(); ++d) {
    if (!plan.used[d]) continue;
    const OpenDevice& device = *devices_[d];
    if (device.host_visible()) {
      std::memcpy(&faults_[d], host_address(resolve(plan, plan.faults[d], {}, {})),
                  sizeof(miniinfer_fault));
    } else {
      if (!bound.fault_inside[d]) {
        if (Status status = bring_fault(plan, d, &faults_[d]); !status.ok()) return status;
      }
      Status status = sync_stream(device, streams_[d], "waiting for the run");
      if (!status.ok()) return status;
      if (bound.fault_inside[d]) {
        std::memcpy(&faults_[d], pinned_faults_[d].host(), sizeof(miniinfer_fault));
      }
    }
    if (faults_[d].code != MINIINFER_FAULT_NONE) return describe_fault(plan, faults_[d]);
  }
  return {};
}

Status Context::run_step(const Bound& bound, std::uint32_t step, std::span<const Block> inputs,
                         std::span<const Block> results) {
  const Call& call = bound.calls[step];
  if (call.enqueue == nullptr) {
    return transfer(*bound.plan, bound.plan->steps[step], inputs, results);
  }
  const miniinfer_code code = call.enqueue(call.kernel, call.stream, &call.run);
  if (code == MINIINFER_OK) return {};
  const Step& failed = bound.plan->steps[step];
  return devices_[failed.device]->check(code, "running " + failed.label);
}

// Puts what a stretch is on the stream, to be run or to be recorded.
Status Context::put_steps(const Bound& bound, const Stretch& stretch, const StopCheck& stop,
                          Profiler* profiler) {
  const Plan& plan = *bound.plan;
  const std::uint32_t device = plan.steps[stretch.begin].device;
  if (stretch.owns_fault) {
    if (Status status = clear_fault(plan, device); !status.ok()) return status;
  }
  for (std::uint32_t i = stretch.begin; i < stretch.end; ++i) {
    if (stop.requested()) return stop.status();
    if (Status status = run_step(bound, i, {}, {}); !status.ok()) return status;
    if (profiler != nullptr) profiler->end_step(plan, i);
  }
  if (!stretch.owns_fault) return {};
  return bring_fault(plan, device, pinned_faults_[device].host());
}

Status Context::run_stretch(const Bound& bound, Stretch& stretch, const StopCheck& stop,
                            Profiler* profiler) {
  const std::uint32_t device = bound.plan->steps[stretch.begin].device;
  miniinfer_stream* stream = streams_[device];
  const Stretch::Turn turn = profiler != nullptr ? Stretch::Turn::Run : stretch.next(bound.args);
  if (turn == Stretch::Turn::Replay) return stretch.replay(stream);
  if (turn == Stretch::Turn::Record && stretch.begin_recording(stream).ok()) {
    const Status recorded = put_steps(bound, stretch, StopCheck(), nullptr);
    if (stretch.end_recording(stream, recorded.ok())) return stretch.replay(stream);
  }
  if (Status status = devices_[device]->ready(); !status.ok()) return status;
  return put_steps(bound, stretch, stop, profiler);
}

// After a failure: nothing may still use the caller's memory when the call returns.
void Context::drain(const Plan& plan) {
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    if (plan.used[d] && streams_[d] != nullptr && !devices_[d]->lost()) {
      if (sync_stream(*devices_[d], streams_[d], "waiting for a failed run").ok()) continue;
      // A stream that failed may never do anything again: the next run has a new one.
      destroy_stream(*devices_[d], std::exchange(streams_[d], nullptr));
      bound_.clear();
      current_ = nullptr;
    }
  }
}

Status Context::run(const PlanPtr& plan, std::span<const Block> inputs,
                    std::span<const Block> results, const StopCheck& stop, Profiler* profiler) {
  if (Status status = prepare(plan); !status.ok()) return status;
  Bound& bound = *current_;
  for (const Patch& patch : bound.patches) {
    bound.args[patch.arg] =
        OpenDevice::mem(patch.is_input ? inputs[patch.index] : results[patch.index]);
  }
  Status status = clear_faults(bound);
  if (profiler != nullptr) profiler->begin();
  auto stretch = bound.stretches.begin();
  for (std::uint32_t i = 0; i < bound.calls.size() && status.ok();) {
    if (stop.requested()) {
      status = stop.status();
      break;
    }
    if (stretch != bound.stretches.end() && (*stretch)->begin == i) {
      status = run_stretch(bound, **stretch, stop, profiler);
      i = (*stretch++)->end;
      continue;
    }
    status = run_step(bound, i, inputs, results);
    if (profiler != nullptr) profiler->end_step(*plan, i);
    ++i;
  }
  if (status.ok()) status = copy_results(*plan, inputs, results);
  if (status.ok()) status = finish(bound);
  if (profiler != nullptr) profiler->end_wait(*plan);
  if (!status.ok()) drain(*plan);
  return status;
}

}  // namespace miniinfer
