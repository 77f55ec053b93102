#pragma once

// A loaded model, ready to run.
//
// A Session is thread-safe: any number of threads may run it at once. Shapes of inputs may differ
// from run to run; the work of preparing for a shape (the plan) is done once and kept. Where every
// size follows from the input shapes, a run with shapes seen before allocates nothing but its
// outputs, and through a Binding nothing at all.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/tensor.hpp"

namespace miniinfer {

// An input or output as the model declares it.
struct TensorSpec {
  std::string name;
  DataType dtype = DataType::Undefined;
  Shape shape;                         // -1 where free
  std::vector<std::string> dim_names;  // "N" for a named free size, else empty; as long as shape
  bool known_rank = true;
};

// "float32[N,1,8,8]"
MINIINFER_API std::string to_string(const TensorSpec& spec);

struct Named {
  std::string_view name;
  Tensor tensor;
};

struct NamedShape {
  std::string name;
  Shape shape;
};

// Where a node runs, and why there.
struct PlacedNode {
  std::string name;
  std::string op;      // "Conv"
  std::string device;  // "cpu:0"; "host-shape" for shape arithmetic, which is nobody's
  std::string reason;  // why not on an earlier device of the list; empty: its first choice
};

// How much of a device's work is recorded by the second run over the same memory and replayed as
// one piece from then on. Only of devices that can do that.
struct Captured {
  std::string device;
  int kernels = 0;     // steps that run a kernel
  int steps = 0;       // those of them that are replayed
  int pieces = 0;      // in how many pieces
  std::string reason;  // why the others are not; empty: nothing prevents it
};

struct Placement {
  std::vector<PlacedNode> nodes;          // in the order of the model's file
  std::map<std::string, int> per_device;  // how many nodes each has
  int steps = 0;                          // kernels and copies, after fusion
  std::vector<Captured> captures;
};

// What lies in an arena: a value that is made and used up inside a run, with what shares its
// memory, or scratch of a step. Steps count as they are scheduled, from 0.
struct ArenaBuffer {
  std::string name;  // of the value; "workspace", "fault" for what has none
  std::uint64_t bytes = 0;
  std::uint64_t begin = 0;  // the step that writes it
  std::uint64_t end = 0;    // the first step that needs it no more
  std::uint64_t offset = 0;
};

// Bytes on one device for one set of input shapes.
struct DeviceMemory {
  std::string device;
  std::uint64_t weights = 0;      // constants, packed forms among them
  std::uint64_t activations = 0;  // the arena of one context
  std::uint64_t workspace = 0;    // scratch inside that arena
  std::uint64_t lower_bound = 0;  // no arena of one context can be smaller
  std::uint64_t peak = 0;         // weights + contexts * (activations + workspace)
  std::vector<ArenaBuffer> buffers;
};

struct MemoryPlan {
  std::vector<DeviceMemory> devices;
  std::string unbounded;  // a node whose output no bound is known for; empty: the peak is exact
};

// The outputs of one run. They outlive the session. [any-thread]
class MINIINFER_API Outputs {
 public:
  Outputs() = default;
  explicit Outputs(std::vector<std::pair<std::string, Tensor>> tensors)
      : tensors_(std::move(tensors)) {}

  Result<Tensor> get(std::string_view name) const;  // NOT_FOUND lists the names there are
  Result<Tensor> only() const;  // FAILED_PRECONDITION unless there is exactly one
  std::size_t size() const noexcept { return tensors_.size(); }
  const std::pair<std::string, Tensor>& operator[](std::size_t i) const { return tensors_[i]; }

 private:
  std::vector<std::pair<std::string, Tensor>> tensors_;
};

struct Trace;  // trace.hpp

struct RunOptions {
  std::stop_token stop;
  std::chrono::nanoseconds timeout{0};  // 0: none
  std::vector<std::string> outputs;     // empty: all
  Trace* trace = nullptr;               // what the run did is put there
};

// A run on its way. Its destructor cancels it and waits.
class MINIINFER_API Run {
 public:
  struct Impl;
  explicit Run(std::shared_ptr<Impl> impl) noexcept;
  Run(Run&&) noexcept;
  Run& operator=(Run&&) noexcept;
  ~Run();
  bool done() const noexcept;
  void cancel() noexcept;
  Result<Outputs> wait();  // once

 private:
  std::shared_ptr<Impl> impl_;
};

// Inputs and outputs bound to memory of the caller. A steady run allocates nothing.
// [one-at-a-time]
class MINIINFER_API Binding {
 public:
  struct Impl;
  explicit Binding(std::unique_ptr<Impl> impl) noexcept;
  Binding(Binding&&) noexcept;
  Binding& operator=(Binding&&) noexcept;
  ~Binding();
  // Binds an input or an output by name. An output's tensor must have the shape the run will give.
  Status set(std::string_view name, Tensor tensor);
  Status run(std::stop_token stop = {});
  // The same; `outputs` means nothing here.
  Status run(const RunOptions& options);
  // The tensor an output is bound to: the one set, or the binding's own after the first run.
  Result<Tensor> get(std::string_view name) const;

 private:
  std::unique_ptr<Impl> impl_;
};

// A counted handle. A run keeps the session alive. [any-thread]
class MINIINFER_API Session {
 public:
  std::span<const TensorSpec> inputs() const noexcept;
  std::span<const TensorSpec> outputs() const noexcept;

  // Where each node runs. Worked out for the shapes last prepared; free sizes count as 1 before
  // that.
  Result<Placement> placement() const;
  // Peak memory for these input shapes. Prepares for them, so the first run does not have to.
  Result<MemoryPlan> plan(std::span<const NamedShape> shapes = {}) const;

  Result<Outputs> run(const Tensor& input, const RunOptions& options = {}) const;
  Result<Outputs> run(std::span<const Named> inputs, const RunOptions& options = {}) const;
  Run start(std::vector<Named> inputs, RunOptions options = {},
            std::function<void()> done = {}) const;
  Result<Binding> bind(std::span<const NamedShape> shapes = {}) const;

  class Impl;
  explicit Session(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace miniinfer
