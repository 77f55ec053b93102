// What a model costs on a GPU beside its kernels, as a program sees it:
//
//   gpu_cost MODEL [--device cuda:0] [--precision strict] [--cache FOLDER] [--runs 1000] [--first]
//            [NAME=1x3x224x224]..
//
// Prints "first" when the first output is on the host, so that whoever started this can take the
// time, and then (not with --first) one JSON document:
//
//   run_ns, run_cpu_ns          a steady run of a binding on the device's memory, by the clock and
//                               by this thread's processor time, in which waiting does not count
//   launch_ns, wait_cpu_ns      cudaGraphLaunch of a graph of as many nodes that takes as long, and
//                               the processor time of waiting for it
//   host_ratio                  (run_cpu_ns - wait_cpu_ns) / launch_ns
//   nodes                       of that graph: kernels of the plan, and two for the fault block
//   allocations                 that the runs asked the device's allocators for
//   planned_bytes               peak of the plan, and the tensors that are bound
//   counted_bytes               the most that was given out at once, as the allocator counts
//   driver_bytes                what the driver gets back when the session and the tensors go
//   context_bytes, left_bytes   what opening the device took; what the program holds then besides
//   steady_driver_bytes         by which the driver's free memory fell in the steady runs
//
// Ends with 77 where the device is not there.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "miniinfer/miniinfer.hpp"
#include "tests/bench/bare_graph.hpp"

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
    prepare_driver();
    const std::uint64_t without_context = Driver::free_bytes(bus_id_);
    if (const Status status = device_.open(); !status.ok()) return skip(status);
    const long long context = fallen(without_context, Driver::free_bytes(bus_id_));
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

    for (int i = 0; i < 20; ++i) take(binding_->run());
    measure_runs();
    planned_ = bound_bytes + planned_bytes();
    const std::uint64_t full = free_bytes(device_);
    const AllocatorPtr memory = take(AllocatorFactory::get(options_.device));
    const std::uint64_t counted = memory->stats().peak_allocated_bytes;
    if (const std::string why = measure_bare(); !why.empty()) {
      std::fprintf(stderr, "no bare launch: %s\n", why.c_str());
    }
    const std::uint64_t with_bare = free_bytes(device_);
    binding_.reset();
    inputs_.clear();
    session_.reset();
    const long long driver_bytes = fallen(free_bytes(device_), with_bare);
    std::printf(
        "{\"run_ns\": %.0f, \"run_cpu_ns\": %.0f, \"launch_ns\": %.0f, "
        "\"wait_cpu_ns\": %.0f, \"bare_ns\": %.0f, \"host_ratio\": %.3f, \"nodes\": %d, "
        "\"runs\": %d, \"allocations\": %llu, \"steady_driver_bytes\": %lld, "
        "\"planned_bytes\": %llu, \"counted_bytes\": %llu, \"driver_bytes\": %lld, "
        "\"context_bytes\": %lld, \"left_bytes\": %lld}\n",
        run_ns_, run_cpu_ns_, bare_.launch_ns, bare_.wait_cpu_ns, bare_.total_ns,
        bare_.launch_ns > 0 ? (run_cpu_ns_ - bare_.wait_cpu_ns) / bare_.launch_ns : 0.0, nodes_,
        options_.runs, static_cast<unsigned long long>(allocations_), steady_,
        static_cast<unsigned long long>(planned_), static_cast<unsigned long long>(counted),
        driver_bytes, context, fallen(opened, full) - driver_bytes);
    return 0;
  }

 private:
  static int skip(const Status& status) {
    std::printf("skipped: %s\n", status.to_string().c_str());
    return 77;
  }

  // Before the device is opened, since nothing can be said of its context later.
  void prepare_driver() {
    if (options_.first) return;
    bus_id_ = device_.bus_id();
    driver_why_ = driver_.open();
    if (driver_why_.empty()) driver_why_ = driver_.sleep_in_waits(bus_id_);
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
    std::vector<double> times, cpu_times;
    for (int i = 0; i < options_.runs; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      const double cpu = thread_ns();
      const Status status = binding_->run();
      cpu_times.push_back(thread_ns() - cpu);
      times.push_back(
          std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin)
              .count());
      take(status);
    }
    run_ns_ = median(times);
    run_cpu_ns_ = median(cpu_times);
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

  std::string measure_bare() {
    if (!driver_why_.empty()) return driver_why_;
    if (std::string why = driver_.enter(bus_id_); !why.empty()) return why;
    nodes_ = 2;
    for (const Captured& captured : take(session_->placement()).captures) nodes_ += captured.steps;
    BareGraph graph;
    if (std::string why = graph.make(driver_, nodes_, run_ns_); !why.empty()) return why;
    if (std::string why = graph.measure(20, bare_); !why.empty()) return why;
    return graph.measure(options_.runs, bare_);
  }

  const Options& options_;
  std::optional<Runtime> runtime_;
  Device device_;
  std::optional<Session> session_;
  std::optional<Binding> binding_;
  std::vector<Tensor> inputs_;
  Driver driver_;
  std::string bus_id_, driver_why_;
  BareGraph::Cost bare_;
  int nodes_ = 0;
  double run_ns_ = 0, run_cpu_ns_ = 0;
  std::uint64_t allocations_ = 0, planned_ = 0;
  long long steady_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  return Cost(options).run();
}
