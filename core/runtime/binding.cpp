#include <algorithm>
#include <optional>

#include "core/base/format.hpp"
#include "core/runtime/session_impl.hpp"

namespace miniinfer {

struct Binding::Impl {
  std::shared_ptr<Session::Impl> session;
  std::vector<Tensor> inputs;   // in the session's order
  std::vector<Tensor> outputs;  // those set, or made by the first run
  PlanPtr plan;                 // what the blocks below are for
  std::vector<Tensor> results;  // of the plan: the outputs, in its order
  std::vector<Block> input_blocks;
  std::vector<Block> result_blocks;

  Status prepare();
  Status run_general(const StopCheck& stop, Profiler* profiler);
};

Binding::Binding(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Binding::Binding(Binding&&) noexcept = default;
Binding& Binding::operator=(Binding&&) noexcept = default;
Binding::~Binding() = default;

Result<Binding> Session::bind(std::span<const NamedShape> shapes) const {
  if (!shapes.empty()) {
    if (Result<PlanPtr> plan = impl_->plan_for(shapes); !plan) return plan.status();
  }
  auto binding = std::make_unique<Binding::Impl>();
  binding->session = impl_;
  binding->inputs.resize(impl_->inputs.size());
  binding->outputs.resize(impl_->outputs.size());
  return Binding(std::move(binding));
}

Status Binding::set(std::string_view name, Tensor tensor) {
  Impl& impl = *impl_;
  impl.plan = nullptr;
  if (const int input = impl.session->find_input(name); input >= 0) {
    std::vector<std::pair<std::string_view, std::int64_t>> sizes;
    const TensorSpec& spec = impl.session->inputs[static_cast<std::size_t>(input)];
    if (Status status = check_shape(spec, tensor.type(), sizes); !status.ok()) return status;
    impl.inputs[static_cast<std::size_t>(input)] = std::move(tensor);
    return {};
  }
  if (const int output = impl.session->find_output(name); output >= 0) {
    impl.outputs[static_cast<std::size_t>(output)] = std::move(tensor);
    return {};
  }
  return {Code::InvalidArgument,
          format("no input or output is called %s", printable(name).c_str())};
}

// Works out the blocks of a run once, so that later runs only pass them on.
Status Binding::Impl::prepare() {
  std::vector<Named> named;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i]) named.push_back({session->inputs[i].name, inputs[i]});
  }
  if (Result<std::vector<Tensor>> ordered = session->order_inputs(named); !ordered) {
    return ordered.status();
  }
  Result<PlanPtr> made = session->program->plan_for_tensors(inputs);
  if (!made) return made.status();
  const Plan& next = **made;
  if (next.rest || !next.dynamic.empty()) {
    plan = *made;
    return {};
  }
  results.assign(next.results.size(), Tensor());
  for (std::size_t o = 0; o < next.outputs.size(); ++o) {
    const PlanResult& result = next.results[next.outputs[o]];
    const Device device = next.devices[result.device]->device;
    if (outputs[o] && outputs[o].type() != result.type) {
      return {Code::InvalidArgument,
              format("output %s will be %s, its tensor is %s",
                     printable(session->outputs[o].name).c_str(), to_string(result.type).c_str(),
                     to_string(outputs[o].type()).c_str())};
    }
    if (outputs[o] && outputs[o].device().memory_domain() != device.memory_domain()) {
      return {Code::InvalidArgument,
              format("output %s is given by %s, its tensor is on %s",
                     printable(session->outputs[o].name).c_str(), std::string(device.id()).c_str(),
                     std::string(outputs[o].device().id()).c_str())};
    }
    if (!outputs[o]) {
      Result<Tensor> tensor = Tensor::empty(result.type.dtype, result.type.shape, device);
      if (!tensor) return tensor.status();
      outputs[o] = std::move(*tensor);
    }
    results[next.outputs[o]] = outputs[o];
  }
  input_blocks.clear();
  result_blocks.clear();
  for (const Tensor& input : inputs) input_blocks.push_back(input.block());
  for (const Tensor& result : results) result_blocks.push_back(result.block());
  plan = *made;
  return {};
}

// Sizes that depend on data: outputs are made anew by each run.
Status Binding::Impl::run_general(const StopCheck& stop, Profiler* profiler) {
  Result<std::vector<Tensor>> made = session->program->run(inputs, outputs, stop, profiler);
  if (!made) return made.status();
  outputs = std::move(*made);
  return {};
}

Status Binding::run(std::stop_token stop) {
  RunOptions options;
  options.stop = std::move(stop);
  return run(options);
}

Status Binding::run(const RunOptions& options) {
  Impl& impl = *impl_;
  if (!impl.plan) {
    if (Status status = impl.prepare(); !status.ok()) return status;
  }
  const StopCheck check(options.stop, options.timeout);
  std::optional<Profiler> profiler;
  if (options.trace != nullptr) profiler.emplace(*options.trace);
  Profiler* const used = profiler ? &*profiler : nullptr;
  if (impl.plan->rest || !impl.plan->dynamic.empty()) return impl.run_general(check, used);
  return impl.session->program->run_bound(impl.inputs, impl.input_blocks, impl.result_blocks, check,
                                          used);
}

Result<Tensor> Binding::get(std::string_view name) const {
  const int output = impl_->session->find_output(name);
  if (output < 0) {
    return Status(Code::NotFound, format("no output is called %s", printable(name).c_str()));
  }
  const Tensor& tensor = impl_->outputs[static_cast<std::size_t>(output)];
  if (!tensor) {
    return Status(Code::FailedPrecondition,
                  format("output %s has no tensor yet", printable(name).c_str()), "run first");
  }
  return tensor;
}

}  // namespace miniinfer
