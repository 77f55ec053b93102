#include "core/runtime/program.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/format.hpp"
#include "core/runtime/evaluate.hpp"

namespace miniinfer {
namespace {

constexpr std::size_t kMostPlans = 16;

ConstantPtr constant_of(const Tensor& tensor) {
  return make_constant(tensor.type(), tensor.bytes());
}

bool same_fact(const InputFact& a, const InputFact& b) {
  if (a.type != b.type || (a.value != nullptr) != (b.value != nullptr)) return false;
  return !a.value || std::ranges::equal(a.value->bytes, b.value->bytes);
}

// A tensor in memory that the plan's devices can use as it is.
bool usable_in_place(const Tensor& tensor) {
  const Block block = tensor.block();
  const std::uint64_t element = std::max<std::uint64_t>(bits(tensor.dtype()) / 8, 1);
  return (block.handle + block.offset) % element == 0 || block.host == nullptr;
}

}  // namespace

// A seat taken for the time of a run.
class Program::Lease {
 public:
  explicit Lease(Program& program) : program_(program) {
    while (true) {
      const std::uint32_t before = program_.released_.load(std::memory_order_acquire);
      for (const std::unique_ptr<Seat>& seat : program_.seats_) {
        if (!seat->taken.exchange(true, std::memory_order_acquire)) {
          seat_ = seat.get();
          return;
        }
      }
      program_.released_.wait(before, std::memory_order_acquire);
    }
  }
  ~Lease() {
    seat_->taken.store(false, std::memory_order_release);
    program_.released_.fetch_add(1, std::memory_order_release);
    program_.released_.notify_one();
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Seat& operator*() const { return *seat_; }
  Seat* operator->() const { return seat_; }

 private:
  Program& program_;
  Seat* seat_ = nullptr;
};

Program::Program(Graph model, std::shared_ptr<const ProgramShared> shared,
                 std::vector<bool> read_on_host)
    : model_(std::move(model)), shared_(std::move(shared)), read_on_host_(std::move(read_on_host)) {
  for (int i = 0; i < std::max(shared_->contexts, 1); ++i) {
    seats_.push_back(std::make_unique<Seat>());
    seats_.back()->context = std::make_unique<Context>(shared_->allocator_of);
  }
}

std::uint32_t Program::home_of(const Tensor& tensor) const {
  const std::string_view domain = tensor.device().memory_domain();
  for (std::uint32_t d = 0; d < shared_->devices.size(); ++d) {
    if (shared_->devices[d]->domain() == domain) return d;
  }
  return static_cast<std::uint32_t>(shared_->devices.size());  // the host comes after the list
}

bool Program::matches(const Entry& entry, std::span<const Tensor> inputs) const {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const InputFact& fact = entry.key.facts[i];
    if (fact.type != inputs[i].type() || entry.key.devices[i] != home_of(inputs[i])) return false;
    if (fact.value && !std::ranges::equal(fact.value->bytes, inputs[i].bytes())) return false;
  }
  return true;
}

Result<std::shared_ptr<const Program::Entry>> Program::entry_for(
    std::span<const InputFact> facts, std::span<const std::uint32_t> input_devices) {
  const std::lock_guard lock(mutex_);
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    const Key& key = (*it)->key;
    if (std::ranges::equal(key.facts, facts, same_fact) &&
        std::ranges::equal(key.devices, input_devices)) {
      entries_.splice(entries_.begin(), entries_, it);
      return entries_.front();
    }
  }
  PlanRequest request;
  request.model = &model_;
  request.inputs.assign(facts.begin(), facts.end());
  request.input_devices.assign(input_devices.begin(), input_devices.end());
  request.devices = shared_->devices;
  request.host = shared_->host;
  request.constants = shared_->constants.get();
  request.passes = shared_->passes;
  request.passes.evaluate = make_evaluator(shared_->host);
  request.math = shared_->math;
  request.disabled_passes = shared_->disabled_passes;
  request.contexts = static_cast<int>(seats_.size());
  request.limit_of = shared_->limit_of;
  Result<PlanPtr> plan = build_plan(request);
  if (!plan) return plan.status();
  auto entry = std::make_shared<Entry>();
  entry->key = {request.inputs, request.input_devices};
  entry->plan = *plan;
  if ((*plan)->rest) {
    entry->rest =
        std::make_shared<Program>((*plan)->rest->graph, shared_, (*plan)->rest->read_on_host);
  }
  entries_.push_front(std::move(entry));
  if (entries_.size() > kMostPlans) entries_.pop_back();
  return entries_.front();
}

Result<PlanPtr> Program::plan_for(std::span<const InputFact> facts,
                                  std::span<const std::uint32_t> input_devices) {
  Result<std::shared_ptr<const Entry>> entry = entry_for(facts, input_devices);
  if (!entry) return entry.status();
  return (*entry)->plan;
}

PlanPtr Program::last_plan() const {
  const std::lock_guard lock(mutex_);
  return entries_.empty() ? nullptr : entries_.front()->plan;
}

std::optional<Placement> Program::last_placement() const {
  std::shared_ptr<const Entry> entry;
  {
    const std::lock_guard lock(mutex_);
    if (entries_.empty()) return std::nullopt;
    entry = entries_.front();
  }
  Placement placement = entry->plan->placement;
  if (!entry->rest) return placement;
  const std::optional<Placement> rest = entry->rest->last_placement();
  for (const Node& node : entry->rest->model().nodes()) {
    if (node.removed) continue;
    for (const NodeId source : node.origin.sources) {
      if (rest) {
        placement.nodes[source] = rest->nodes[source];
      } else {
        placement.nodes[source].reason = "planned in a run, when the data it waits for is known";
      }
    }
  }
  placement.per_device.clear();
  for (const PlacedNode& node : placement.nodes) ++placement.per_device[node.device];
  if (rest) {
    placement.steps += rest->steps;
    placement.captures.insert(placement.captures.end(), rest->captures.begin(),
                              rest->captures.end());
  }
  return placement;
}

Result<std::shared_ptr<const Program::Entry>> Program::entry_for_tensors(
    Seat& seat, std::span<const Tensor> inputs) {
  if (seat.entry && matches(*seat.entry, inputs)) return seat.entry;
  std::vector<InputFact> facts;
  std::vector<std::uint32_t> devices;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool read = i < read_on_host_.size() && read_on_host_[i];
    facts.push_back({inputs[i].type(), read ? constant_of(inputs[i]) : nullptr});
    devices.push_back(home_of(inputs[i]));
  }
  Result<std::shared_ptr<const Entry>> entry = entry_for(facts, devices);
  if (entry) seat.entry = *entry;
  return entry;
}

Result<PlanPtr> Program::plan_for_tensors(std::span<const Tensor> inputs) {
  Lease seat(*this);
  Result<std::shared_ptr<const Entry>> entry = entry_for_tensors(*seat, inputs);
  if (!entry) return entry.status();
  return (*entry)->plan;
}

Result<std::vector<Tensor>> Program::run(std::span<const Tensor> given,
                                         std::span<const Tensor> wanted, const StopCheck& stop,
                                         Profiler* profiler) {
  std::vector<Tensor> inputs(given.begin(), given.end());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool foreign = home_of(inputs[i]) == shared_->devices.size();
    const bool read = i < read_on_host_.size() && read_on_host_[i];
    if (foreign || read) {
      Result<Tensor> moved = inputs[i].to(shared_->host->device);
      if (!moved) return moved.status();
      inputs[i] = std::move(*moved);
    }
    if (!usable_in_place(inputs[i])) {
      Result<Tensor> aligned = inputs[i].clone();
      if (!aligned) return aligned.status();
      inputs[i] = std::move(*aligned);
    }
  }

  std::shared_ptr<const Entry> entry;
  std::vector<Tensor> results;
  {
    Lease seat(*this);
    Result<std::shared_ptr<const Entry>> found = entry_for_tensors(*seat, inputs);
    if (!found) return found.status();
    entry = *found;
    const Plan& plan = *entry->plan;
    std::vector<Block> input_blocks;
    std::vector<Block> result_blocks;
    for (const Tensor& input : inputs) input_blocks.push_back(input.block());
    results.resize(plan.results.size());
    for (std::size_t o = 0; o < plan.outputs.size() && o < wanted.size(); ++o) {
      const std::uint32_t index = plan.outputs[o];
      if (index >= results.size() || !wanted[o] || wanted[o].type() != plan.results[index].type ||
          wanted[o].device().memory_domain() !=
              plan.devices[plan.results[index].device]->domain()) {
        continue;
      }
      results[index] = wanted[o];
    }
    for (std::size_t i = 0; i < results.size(); ++i) {
      const PlanResult& result = plan.results[i];
      if (!results[i]) {
        Result<Tensor> made = Tensor::empty(result.type.dtype, result.type.shape,
                                            plan.devices[result.device]->device);
        if (!made) return made.status();
        results[i] = std::move(*made);
      }
      result_blocks.push_back(results[i].block());
    }
    if (Status status =
            seat->context->run(entry->plan, input_blocks, result_blocks, stop, profiler);
        !status.ok()) {
      return status;
    }
  }
  return finish(*entry, std::move(results), wanted, stop, profiler);
}

Result<std::vector<Tensor>> Program::finish(const Entry& entry, std::vector<Tensor> results,
                                            std::span<const Tensor> wanted, const StopCheck& stop,
                                            Profiler* profiler) {
  const Plan& plan = *entry.plan;
  for (const DynamicResult& dynamic : plan.dynamic) {
    Result<std::vector<std::int64_t>> count = results[dynamic.count].to_vector<std::int64_t>();
    if (!count) return count.status();
    Shape shape = results[dynamic.result].shape();
    shape[dynamic.axis] = std::min(shape[dynamic.axis], count->front());
    Result<Tensor> host = results[dynamic.result].to(shared_->host->device);
    if (!host) return host.status();
    const TensorType type{host->dtype(), std::move(shape)};
    Result<std::uint64_t> bytes = byte_count(type.dtype, type.shape);
    if (!bytes) return bytes.status();
    Result<Tensor> exact = Tensor::from_bytes(host->bytes().first(*bytes), type);
    if (!exact) return exact.status();
    results[dynamic.result] = std::move(*exact);
  }
  std::vector<Tensor> rest_results;
  if (plan.rest) {
    std::vector<Tensor> carried;
    for (const std::uint32_t index : plan.rest->carried) carried.push_back(results[index]);
    std::vector<Tensor> rest_wanted;
    for (std::size_t o = 0; o < plan.outputs.size() && o < wanted.size(); ++o) {
      if (plan.outputs[o] < results.size()) continue;
      const std::size_t index = plan.outputs[o] - results.size();
      if (rest_wanted.size() <= index) rest_wanted.resize(index + 1);
      rest_wanted[index] = wanted[o];
    }
    Result<std::vector<Tensor>> ran = entry.rest->run(carried, rest_wanted, stop, profiler);
    if (!ran) return ran.status();
    rest_results = std::move(*ran);
  }
  std::vector<Tensor> outputs;
  for (const std::uint32_t index : plan.outputs) {
    outputs.push_back(index < results.size() ? results[index]
                                             : rest_results[index - results.size()]);
  }
  return outputs;
}

Status Program::run_bound(std::span<const Tensor> inputs, std::span<const Block> input_blocks,
                          std::span<const Block> result_blocks, const StopCheck& stop,
                          Profiler* profiler) {
  Lease seat(*this);
  Result<std::shared_ptr<const Entry>> entry = entry_for_tensors(*seat, inputs);
  if (!entry) return entry.status();
  return seat->context->run((*entry)->plan, input_blocks, result_blocks, stop, profiler);
}

}  // namespace miniinfer
