#include "miniinfer/session.hpp"

#include <algorithm>
#include <optional>

#include "core/base/format.hpp"
#include "core/runtime/session_impl.hpp"

namespace miniinfer {
namespace {

std::string list_names(const std::vector<TensorSpec>& specs) {
  std::string text;
  for (const TensorSpec& spec : specs) text += (text.empty() ? "" : ", ") + printable(spec.name);
  return text;
}

int find_spec(const std::vector<TensorSpec>& specs, std::string_view name) {
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

std::string to_string(const TensorSpec& spec) {
  std::string text(to_string(spec.dtype));
  if (!spec.known_rank) return text + "[..]";
  text += '[';
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    if (i > 0) text += ',';
    if (spec.shape[i] >= 0) {
      text += std::to_string(spec.shape[i]);
    } else {
      const bool named = i < spec.dim_names.size() && !spec.dim_names[i].empty();
      text += named ? printable(spec.dim_names[i]) : "?";
    }
  }
  return text + ']';
}

Status check_shape(const TensorSpec& spec, const TensorType& type,
                   std::vector<std::pair<std::string_view, std::int64_t>>& sizes) {
  const auto mismatch = [&] {
    return Status(Code::InvalidArgument,
                  format("input %s is %s, got %s", printable(spec.name).c_str(),
                         to_string(spec).c_str(), to_string(type).c_str()));
  };
  if (type.dtype != spec.dtype) return mismatch();
  if (!spec.known_rank) return {};
  if (type.shape.size() != spec.shape.size()) return mismatch();
  for (std::size_t axis = 0; axis < spec.shape.size(); ++axis) {
    const std::int64_t size = type.shape[axis];
    if (spec.shape[axis] >= 0) {
      if (size != spec.shape[axis]) return mismatch();
      continue;
    }
    if (axis >= spec.dim_names.size() || spec.dim_names[axis].empty()) continue;
    const std::string_view name = spec.dim_names[axis];
    const auto known = std::find_if(sizes.begin(), sizes.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (known == sizes.end()) {
      sizes.emplace_back(name, size);
    } else if (known->second != size) {
      return {Code::InvalidArgument,
              format("input %s has %lld for %s, another input has %lld",
                     printable(spec.name).c_str(), static_cast<long long>(size),
                     printable(name).c_str(), static_cast<long long>(known->second))};
    }
  }
  return {};
}

int Session::Impl::find_input(std::string_view name) const { return find_spec(inputs, name); }
int Session::Impl::find_output(std::string_view name) const { return find_spec(outputs, name); }

Result<std::vector<Tensor>> Session::Impl::order_inputs(std::span<const Named> given) const {
  std::vector<Tensor> ordered(inputs.size());
  for (const Named& named : given) {
    const int index = find_input(named.name);
    if (index < 0) {
      return Status(Code::InvalidArgument,
                    format("no input is called %s", printable(named.name).c_str()),
                    "inputs: " + list_names(inputs));
    }
    if (ordered[static_cast<std::size_t>(index)]) {
      return Status(Code::InvalidArgument,
                    format("input %s is given twice", printable(named.name).c_str()));
    }
    if (!named.tensor) {
      return Status(Code::InvalidArgument,
                    format("input %s is an empty tensor", printable(named.name).c_str()));
    }
    ordered[static_cast<std::size_t>(index)] = named.tensor;
  }
  std::vector<std::pair<std::string_view, std::int64_t>> sizes;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!ordered[i]) {
      return Status(Code::InvalidArgument,
                    format("input %s is missing", printable(inputs[i].name).c_str()),
                    "it is " + to_string(inputs[i]));
    }
    if (Status status = check_shape(inputs[i], ordered[i].type(), sizes); !status.ok()) {
      return status;
    }
  }
  return ordered;
}

Result<std::vector<InputFact>> Session::Impl::facts_for(std::span<const NamedShape> shapes) const {
  for (const NamedShape& shape : shapes) {
    if (find_input(shape.name) < 0) {
      return Status(Code::InvalidArgument,
                    format("no input is called %s", printable(shape.name).c_str()),
                    "inputs: " + list_names(inputs));
    }
  }
  std::vector<InputFact> facts;
  std::vector<std::pair<std::string_view, std::int64_t>> sizes;
  for (const TensorSpec& spec : inputs) {
    InputFact fact{{spec.dtype, spec.shape}, nullptr};
    const auto given = std::find_if(shapes.begin(), shapes.end(), [&](const NamedShape& shape) {
      return shape.name == spec.name;
    });
    if (given != shapes.end()) {
      fact.type.shape = given->shape;
    } else {
      // A size another input's shape gives a name to; 1 otherwise.
      for (std::size_t axis = 0; axis < fact.type.shape.size(); ++axis) {
        if (fact.type.shape[axis] >= 0) continue;
        const auto known = std::find_if(sizes.begin(), sizes.end(), [&](const auto& entry) {
          return axis < spec.dim_names.size() && entry.first == spec.dim_names[axis];
        });
        fact.type.shape[axis] = known != sizes.end() ? known->second : 1;
      }
    }
    if (Status status = check_shape(spec, fact.type, sizes); !status.ok()) return status;
    facts.push_back(std::move(fact));
  }
  return facts;
}

Result<PlanPtr> Session::Impl::plan_for(std::span<const NamedShape> shapes) const {
  Result<std::vector<InputFact>> facts = facts_for(shapes);
  if (!facts) return facts.status();
  const auto& devices = shared->devices;
  const auto host = std::find_if(devices.begin(), devices.end(), [&](const OpenDevicePtr& device) {
    return device->domain() == shared->host->domain();
  });
  const std::vector<std::uint32_t> homes(inputs.size(),
                                         static_cast<std::uint32_t>(host - devices.begin()));
  return program->plan_for(*facts, homes);
}

Result<Outputs> Session::Impl::run(std::span<const Named> given, const RunOptions& options,
                                   const StopCheck& stop) const {
  for (const std::string& name : options.outputs) {
    if (find_output(name) < 0) {
      return Status(Code::InvalidArgument,
                    format("no output is called %s", printable(name).c_str()),
                    "outputs: " + list_names(outputs));
    }
  }
  Result<std::vector<Tensor>> ordered = order_inputs(given);
  if (!ordered) return ordered.status();
  std::optional<Profiler> profiler;
  if (options.trace != nullptr) profiler.emplace(*options.trace);
  Result<std::vector<Tensor>> results =
      program->run(*ordered, {}, stop, profiler ? &*profiler : nullptr);
  if (!results) return results.status();
  std::vector<std::pair<std::string, Tensor>> named;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!options.outputs.empty() && std::find(options.outputs.begin(), options.outputs.end(),
                                              outputs[i].name) == options.outputs.end()) {
      continue;
    }
    named.emplace_back(outputs[i].name, std::move((*results)[i]));
  }
  return Outputs(std::move(named));
}

Result<Tensor> Outputs::get(std::string_view name) const {
  std::string names;
  for (const auto& [key, tensor] : tensors_) {
    if (key == name) return tensor;
    names += (names.empty() ? "" : ", ") + printable(key);
  }
  return Status(Code::NotFound, format("no output is called %s", printable(name).c_str()),
                "outputs: " + names);
}

Result<Tensor> Outputs::only() const {
  if (tensors_.size() == 1) return tensors_.front().second;
  return Status(Code::FailedPrecondition,
                format("the model has %zu outputs, not one", tensors_.size()),
                "name the one you want: get(name)");
}

std::span<const TensorSpec> Session::inputs() const noexcept { return impl_->inputs; }
std::span<const TensorSpec> Session::outputs() const noexcept { return impl_->outputs; }

Result<Placement> Session::placement() const {
  if (!impl_->program->last_plan()) {
    if (Result<PlanPtr> made = impl_->plan_for({}); !made) return made.status();
  }
  return *impl_->program->last_placement();
}

Result<MemoryPlan> Session::plan(std::span<const NamedShape> shapes) const {
  Result<PlanPtr> plan = impl_->plan_for(shapes);
  if (!plan) return plan.status();
  MemoryPlan memory;
  memory.devices = (*plan)->memory;
  if ((*plan)->rest && (*plan)->rest->graph.node_count() > 0) {
    memory.unbounded = describe((*plan)->rest->graph, 0, "").name;
  }
  return memory;
}

Result<Outputs> Session::run(std::span<const Named> inputs, const RunOptions& options) const {
  return impl_->run(inputs, options, StopCheck(options.stop, options.timeout));
}

Result<Outputs> Session::run(const Tensor& input, const RunOptions& options) const {
  if (impl_->inputs.size() != 1) {
    return Status(Code::InvalidArgument,
                  format("the model has %zu inputs, not one", impl_->inputs.size()),
                  "inputs: " + list_names(impl_->inputs));
  }
  const Named named{impl_->inputs.front().name, input};
  return run(std::span(&named, 1), options);
}

}  // namespace miniinfer
