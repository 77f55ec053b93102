#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/runtime/program.hpp"
#include "miniinfer/session.hpp"

namespace miniinfer {

class Session::Impl {
 public:
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::shared_ptr<ProgramShared> shared;
  std::shared_ptr<Program> program;

  // Puts named tensors in the order of the inputs. INVALID_ARGUMENT for a name that is unknown,
  // missing or given twice, a type or a shape that does not fit.
  Result<std::vector<Tensor>> order_inputs(std::span<const Named> given) const;
  // Shapes for all inputs: those given, free sizes of the others 1.
  Result<std::vector<InputFact>> facts_for(std::span<const NamedShape> shapes) const;
  Result<PlanPtr> plan_for(std::span<const NamedShape> shapes) const;

  int find_input(std::string_view name) const;   // -1: none
  int find_output(std::string_view name) const;  // -1: none
  Result<Outputs> run(std::span<const Named> given, const RunOptions& options,
                      const StopCheck& stop) const;
};

// Whether a shape fits a declaration. `sizes` collects what named sizes stand for, so that one name
// stands for one size.
Status check_shape(const TensorSpec& spec, const TensorType& type,
                   std::vector<std::pair<std::string_view, std::int64_t>>& sizes);

}  // namespace miniinfer
