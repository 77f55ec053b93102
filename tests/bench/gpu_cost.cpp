// What a model costs on a GPU beside its kernels, as a program sees it:
//
//   gpu_cost MODEL [--device cuda:0] [--precision strict] [--cache FOLDER] [--runs 1000] [--first]
//            [NAME=1x3x224x224]..
//
// Prints "first" when the first output is on the host, so that whoever started this can take the
// time, and then (not with --first) one JSON document:
//
//   run_ns          a steady run of a binding on the device's memory, by the clock
//   host_ns         of that, what is not the driver's wait for the device: what the run costs the
//                   host, with the launch in it
//   launch_ns       the launch in it, cuGraphLaunch
//   bare_ns         cuGraphLaunch of the very same graph, with nothing around it
//   bare_run_ns     that and the wait for it: what of run_ns is the device's and the driver's
//   host_ratio      host_ns / bare_ns
//   nodes           of the graph: kernels of the plan, and two for the fault block
//   why             instead of those: why there is no such measurement
//   allocations                 that the runs asked the device's allocators for
//   planned_bytes               peak of the plan, and the tensors that are bound
//   reserved_bytes              the most that the device's pool had of the driver, as it counts
//   driver_bytes                what the driver gets back when the session and the tensors go and
//                               the pool is trimmed
//   context_bytes, left_bytes   what opening the device took; what the program holds then besides
//   steady_driver_bytes         by which the driver's free memory fell in the steady runs
//
// Ours and the bare launch take turns, on one processor and with nothing queued before either; all
// figures are medians. Ends with 77 where the device is not there.

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "miniinfer/miniinfer.hpp"
#include "tests/bench/driver_calls.hpp"
#include "tests/bench/free_bytes.hpp"

using namespace miniinfer;         // NOLINT
using namespace miniinfer::bench;  // NOLINT

namespace {

struct Options {
  std::string model, device = "cuda:0", precision = "strict", cache;
  int runs = 1000;
  bool first = false;
  std::vector<NamedShape> shapes;
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "error: %s\n", what.c_str());
  std::exit(1);
}

template <class T>
T take(Result<T> result) {
  if (!result) fail(result.status().to_string());
  return std::move(*result);
}
void take(const Status& status) {
  if (!status.ok()) fail(status.to_string());
}

Shape parse_sizes(const char* text) {
  Shape shape;
  for (char* end = nullptr; *text != '\0'; text = *end == 'x' ? end + 1 : end) {
    shape.push_back(std::strtoll(text, &end, 10));
    if (end == text) fail(std::string("no sizes: ") + text);
  }
  return shape;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&] {
      if (++i == argc) fail(argument + " needs a value");
      return argv[i];
    };
    if (argument == "--device") {
      options.device = value();
    } else if (argument == "--precision") {
      options.precision = value();
    } else if (argument == "--cache") {
      options.cache = value();
    } else if (argument == "--runs") {
      options.runs = std::atoi(value());
    } else if (argument == "--first") {
      options.first = true;
    } else if (const std::size_t equals = argument.find('='); equals != std::string::npos) {
      options.shapes.push_back({argument.substr(0, equals), parse_sizes(argv[i] + equals + 1)});
    } else {
      options.model = argument;
    }
  }
  if (options.model.empty() || options.runs < 1) fail("gpu_cost MODEL [NAME=SIZES]..");
  return options;
}

Precision precision_of(const std::string& name) {
  return name == "tf32"   ? Precision::TF32
         : name == "bf16" ? Precision::BF16
         : name == "fp16" ? Precision::FP16
                          : Precision::Strict;
}

// A half everywhere; of integers, small ones that no table of words is too short for.
Tensor made_up(const TensorSpec& spec, const std::vector<NamedShape>& shapes) {
  Shape shape = spec.shape;
  for (std::int64_t& size : shape) size = std::max<std::int64_t>(size, 1);
  for (const NamedShape& given : shapes) {
    if (given.name == spec.name) shape = given.shape;
  }
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  if (spec.dtype == DataType::Int64) {
    return take(Tensor::from(std::vector<std::int64_t>(count, 1), shape));
  }
  return take(Tensor::from(std::vector<float>(count, 0.5f), shape));
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

std::uint64_t free_bytes(const Device& device) { return take(device.memory()).free_bytes; }

std::uint64_t allocations(const std::vector<AllocatorPtr>& allocators) {
  std::uint64_t sum = 0;
  for (const AllocatorPtr& allocator : allocators) sum += allocator->stats().allocations;
  return sum;
}

// Bytes from `more` to `less`, negative where memory came back.
long long fallen(std::uint64_t more, std::uint64_t less) {
  return static_cast<long long>(more) - static_cast<long long>(less);
}

class Cost {
 public:
  explicit Cost(const Options& options) : options_(options) {
    RuntimeOptions chosen;
    chosen.cache = options.cache;
    chosen.log = log_to_stderr();
    runtime_.emplace(chosen);
  }

  int run() {
    const Result<Device> found = runtime_->device(options_.device);
    if (!found) return skip(found.status());
    device_ = *found;
    // Before the device is opened: nothing can be said of its context later.
    const std::string bus_id(options_.first ? "" : device_.bus_id());
    const std::uint64_t without_context = bench::free_bytes(bus_id);
    if (const Status status = device_.open(); !status.ok()) return skip(status);
    const long long context = fallen(without_context, bench::free_bytes(bus_id));
    const std::uint64_t opened = free_bytes(device_);
    LoadOptions load;
    load.contexts = 1;
    load.precision = precision_of(options_.precision);
    session_ = take(runtime_->load(options_.model, options_.device, load));
    binding_ = take(session_->bind());
    std::uint64_t bound_bytes = 0;
    for (const TensorSpec& spec : session_->inputs()) {
      inputs_.push_back(take(made_up(spec, options_.shapes).to(device_)));
      bound_bytes += inputs_.back().byte_count();
      take(binding_->set(spec.name, inputs_.back()));
    }
    take(binding_->run());
    for (const TensorSpec& spec : session_->outputs()) {
      const Tensor output = take(binding_->get(spec.name));
      bound_bytes += output.byte_count();
      static_cast<void>(take(output.to(Device())));
    }
    std::puts("first");
    std::fflush(stdout);
    if (options_.first) return 0;

    for (const Captured& captured : take(session_->placement()).captures) nodes_ += captured.steps;
    for (int i = 0; i < 20; ++i) take(binding_->run());
    measure_runs();
    planned_ = bound_bytes + planned_bytes();
    const std::uint64_t full = free_bytes(device_);
    const AllocatorPtr memory = take(AllocatorFactory::get(options_.device + "/caching"));
    const std::uint64_t reserved = memory->pool()->pool_stats().reserved_bytes.peak;
    binding_.reset();
    inputs_.clear();
    session_.reset();
    memory->pool()->trim(0);
    const long long driver_bytes = fallen(free_bytes(device_), full);
    std::printf("{\"run_ns\": %.0f, ", median(run_));
    if (why_.empty()) {
      std::printf(
          "\"host_ns\": %.0f, \"launch_ns\": %.0f, \"bare_ns\": %.0f, \"bare_run_ns\": %.0f, "
          "\"host_ratio\": %.3f, \"nodes\": %d, ",
          median(host_), median(launch_), median(bare_), median(bare_run_),
          median(host_) / median(bare_), nodes_);
    } else {
      std::printf("\"why\": \"%s\", ", why_.c_str());
    }
    std::printf(
        "\"runs\": %d, \"allocations\": %llu, \"steady_driver_bytes\": %lld, "
        "\"planned_bytes\": %llu, \"reserved_bytes\": %llu, \"driver_bytes\": %lld, "
        "\"context_bytes\": %lld, \"left_bytes\": %lld}\n",
        options_.runs, static_cast<unsigned long long>(allocations_), steady_,
        static_cast<unsigned long long>(planned_), static_cast<unsigned long long>(reserved),
        driver_bytes, context, fallen(opened, full) - driver_bytes);
    return 0;
  }

 private:
  static int skip(const Status& status) {
    std::printf("skipped: %s\n", status.to_string().c_str());
    return 77;
  }

  void measure_runs() {
    std::vector<AllocatorPtr> allocators;
    for (const MemoryKind kind : {MemoryKind::Device, MemoryKind::Pinned}) {
      if (const auto found = AllocatorFactory::get(options_.device, kind)) {
        allocators.push_back(*found);
      }
    }
    const std::uint64_t free_before = free_bytes(device_);
    const std::uint64_t before = allocations(allocators);
    stay_on_this_processor();
    for (int i = 0; i < options_.runs; ++i) measure_run();
    allocations_ = allocations(allocators) - before;
    steady_ = fallen(free_before, free_bytes(device_));
  }

  std::uint64_t planned_bytes() {
    std::vector<NamedShape> shapes;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      shapes.push_back({session_->inputs()[i].name, inputs_[i].shape()});
    }
    std::uint64_t sum = 0;
    for (const DeviceMemory& memory : take(session_->plan(shapes)).devices) {
      if (memory.device == options_.device) sum += memory.peak;
    }
    return sum;
  }

  // One run, and one bare launch of what it launched.
  void measure_run() {
    DriverCalls& calls = driver_calls();
    calls = {};
    const auto begin = std::chrono::steady_clock::now();
    const Status status = binding_->run();
    const std::chrono::duration<double, std::nano> run = std::chrono::steady_clock::now() - begin;
    take(status);
    run_.push_back(run.count());
    if (!why_.empty()) return;
    if (calls.launches != 1 || calls.waits == 0) {
      why_ = "a run makes " + std::to_string(calls.launches) + " launches and " +
             std::to_string(calls.waits) + " waits";
      return;
    }
    host_.push_back(run.count() - calls.wait_ns);
    launch_.push_back(calls.launch_ns);
    double bare = 0, bare_run = 0;
    why_ = launch_again(calls, bare, bare_run);
    bare_.push_back(bare);
    bare_run_.push_back(bare_run);
  }

  // Of this thread; those that the library has go on where they like.
  static void stay_on_this_processor() {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(sched_getcpu(), &set);
    sched_setaffinity(0, sizeof set, &set);
  }

  const Options& options_;
  std::optional<Runtime> runtime_;
  Device device_;
  std::optional<Session> session_;
  std::optional<Binding> binding_;
  std::vector<Tensor> inputs_;
  std::vector<double> run_, host_, launch_, bare_, bare_run_;  // nanoseconds
  std::string why_;
  int nodes_ = 2;
  std::uint64_t allocations_ = 0, planned_ = 0;
  long long steady_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  return Cost(options).run();
}
