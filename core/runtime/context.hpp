#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/plan/plan.hpp"
#include "core/runtime/profiler.hpp"
#include "core/runtime/stop_check.hpp"
#include "core/runtime/stretch.hpp"
#include "miniinfer/storage.hpp"

namespace miniinfer {

// What one run needs for itself: an arena and a stream on each device, and for each plan it has run
// the plan's arguments as addresses. [one-at-a-time]
class Context {
 public:
  explicit Context(ConstantStore::AllocatorOf allocator_of)
      : allocator_of_(std::move(allocator_of)) {}
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Runs a plan over memory of the caller: a block for each input and each result. Waits until all
  // of it is done. A plan run before allocates nothing. `profiler` may be null.
  Status run(const PlanPtr& plan, std::span<const Block> inputs, std::span<const Block> results,
             const StopCheck& stop, Profiler* profiler = nullptr);

  const PlanPtr& last_plan() const { return last_; }

 private:
  struct Call {  // a kernel's enqueue, ready to be made
    miniinfer_code (*enqueue)(miniinfer_kernel*, miniinfer_stream*, const miniinfer_run*) = nullptr;
    miniinfer_kernel* kernel = nullptr;
    miniinfer_stream* stream = nullptr;
    miniinfer_run run{};
  };
  struct Patch {  // an argument that is the caller's memory
    std::uint32_t arg;
    std::uint32_t index;
    bool is_input;
  };
  struct Bound {
    PlanPtr plan;
    std::vector<miniinfer_mem> args;
    std::vector<Call> calls;  // by step; a transfer's is empty
    std::vector<Patch> patches;
    std::vector<std::unique_ptr<Stretch>> stretches;  // in order of their steps
    std::vector<bool> fault_inside;  // by device: a stretch clears and brings back its block
  };

  Status prepare(const PlanPtr& plan);
  Status open_streams(const Plan& plan);
  Status grow_arenas(const Plan& plan);
  void bind(Bound& bound);
  void bind_stretches(Bound& bound);
  miniinfer_mem resolve(const Plan& plan, const Slot& slot, std::span<const Block> inputs,
                        std::span<const Block> results) const;
  Status grow_staging(const OpenDevice& host, std::uint64_t bytes);
  Status transfer(const Plan& plan, const Step& step, std::span<const Block> inputs,
                  std::span<const Block> results);
  Status copy_results(const Plan& plan, std::span<const Block> inputs,
                      std::span<const Block> results);
  Status run_step(const Bound& bound, std::uint32_t step, std::span<const Block> inputs,
                  std::span<const Block> results);
  Status run_stretch(const Bound& bound, Stretch& stretch, const StopCheck& stop,
                     Profiler* profiler);
  Status put_steps(const Bound& bound, const Stretch& stretch, const StopCheck& stop,
                   Profiler* profiler);
  Status clear_fault(const Plan& plan, std::uint32_t device);
  Status bring_fault(const Plan& plan, std::uint32_t device, void* to);
  Status clear_faults(const Bound& bound);
  Status finish(const Bound& bound);
  void drain(const Plan& plan);

  ConstantStore::AllocatorOf allocator_of_;
  std::vector<OpenDevicePtr> devices_;
  std::vector<Storage> arenas_;                // by device
  std::vector<miniinfer_stream*> streams_;     // by device; null where inline or unused
  std::vector<miniinfer_fault> faults_;        // by device, as brought back
  std::vector<Storage> pinned_faults_;         // by device; empty where it has no such memory
  Storage staging_;                            // between two devices that share no memory
  std::vector<std::unique_ptr<Bound>> bound_;  // by plan, the most recent last
  Bound* current_ = nullptr;
  PlanPtr last_;
};

}  // namespace miniinfer
