#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/runtime/context.hpp"
#include "miniinfer/tensor.hpp"

namespace miniinfer {

// What the programs of one session share.
struct ProgramShared {
  std::shared_ptr<const void> keep_open;  // BackendRegistry::keep_open(); let go of last
  std::vector<OpenDevicePtr> devices;     // in order of preference
  OpenDevicePtr host;
  std::unique_ptr<ConstantStore> constants;
  ConstantStore::AllocatorOf allocator_of;
  std::vector<std::string> disabled_passes;
  PassContext passes;      // what each plan starts from
  std::uint32_t math = 0;  // MINIINFER_MATH_*
  int contexts = 2;
  std::function<std::uint64_t(const OpenDevice&)> limit_of;
};

// A graph with its plans, one for each tuple of input types (at most 16, the least recently used
// goes), and its contexts. What must wait for data is a program of its own. [any-thread]
class Program {
 public:
  // `read_on_host` says which inputs' values are part of what a plan is made for.
  Program(Graph model, std::shared_ptr<const ProgramShared> shared, std::vector<bool> read_on_host);

  // Runs over tensors in the order of the graph's inputs; gives one for each output. `wanted` gives
  // memory for outputs, in their order; empty tensors (or none) are made.
  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs, std::span<const Tensor> wanted,
                                  const StopCheck& stop, Profiler* profiler = nullptr);
  // The same into memory that fits exactly, allocating nothing in a steady run. FAILED_PRECONDITION
  // where sizes depend on data.
  Status run_bound(std::span<const Tensor> inputs, std::span<const Block> input_blocks,
                   std::span<const Block> result_blocks, const StopCheck& stop,
                   Profiler* profiler = nullptr);

  Result<PlanPtr> plan_for(std::span<const InputFact> facts,
                           std::span<const std::uint32_t> input_devices);
  // The plan a run over these tensors uses.
  Result<PlanPtr> plan_for_tensors(std::span<const Tensor> inputs);
  PlanPtr last_plan() const;
  // Of the plan used last and of what waits for data behind it. Empty before any plan is made.
  std::optional<Placement> last_placement() const;
  const Graph& model() const { return model_; }

 private:
  struct Key {
    std::vector<InputFact> facts;
    std::vector<std::uint32_t> devices;
  };
  struct Entry {
    Key key;
    PlanPtr plan;
    std::shared_ptr<Program> rest;
  };
  struct Seat {
    std::atomic<bool> taken{false};
    std::unique_ptr<Context> context;
    std::shared_ptr<const Entry> entry;  // what the context ran last
  };
  class Lease;

  Result<std::shared_ptr<const Entry>> entry_for(std::span<const InputFact> facts,
                                                 std::span<const std::uint32_t> input_devices);
  bool matches(const Entry& entry, std::span<const Tensor> inputs) const;
  std::uint32_t home_of(const Tensor& tensor) const;
  Result<std::shared_ptr<const Entry>> entry_for_tensors(Seat& seat,
                                                         std::span<const Tensor> inputs);
  Result<std::vector<Tensor>> finish(const Entry& entry, std::vector<Tensor> results,
                                     std::span<const Tensor> wanted, const StopCheck& stop,
                                     Profiler* profiler);

  Graph model_;
  std::shared_ptr<const ProgramShared> shared_;
  std::vector<bool> read_on_host_;
  std::vector<std::unique_ptr<Seat>> seats_;
  std::atomic<std::uint32_t> released_{0};
  mutable std::mutex mutex_;
  std::list<std::shared_ptr<const Entry>> entries_;  // the most recent first
};

}  // namespace miniinfer
