#include "core/runtime/profiler.hpp"

#include <string>
#include <utility>

namespace miniinfer {

Profiler::Profiler(Trace& trace) : trace_(trace), start_(Clock::now()), last_(start_) {
  trace_.steps.clear();
}

void Profiler::begin() { last_ = Clock::now(); }

void Profiler::add(TraceStep step, Clock::time_point end) {
  step.begin = last_ - start_;
  step.duration = end - last_;
  trace_.steps.push_back(std::move(step));
  last_ = Clock::now();  // what it costs to write this down belongs to no step
}

void Profiler::end_step(const Plan& plan, std::size_t index) {
  const Clock::time_point end = Clock::now();
  const Step& step = plan.steps[index];
  const OpenDevice& device = *plan.devices[step.device];
  TraceStep made;
  made.name = step.label;
  if (step.kind == Item::Transfer) {
    made.name += " from " + std::string(plan.devices[step.from_device]->device.id());
  }
  for (const NodeId node : step.sources) made.nodes.push_back(plan.placement.nodes[node].name);
  made.device = device.device.id();
  made.bytes = step.bytes;
  made.complete = device.is_inline();
  add(std::move(made), end);
}

void Profiler::end_wait(const Plan& plan) {
  const Clock::time_point end = Clock::now();
  TraceStep made;
  made.name = "wait";
  for (std::size_t d = 0; d < plan.devices.size(); ++d) {
    if (!plan.used[d] || plan.devices[d]->is_inline()) continue;
    made.device += (made.device.empty() ? "" : ",") + std::string(plan.devices[d]->device.id());
  }
  if (made.device.empty()) return;  // nothing ran late
  add(std::move(made), end);
}

}  // namespace miniinfer
