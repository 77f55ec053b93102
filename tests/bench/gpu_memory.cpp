// The pool in the rows of allocator_rows.hpp, for gpu_memory.py:
//
//   gpu_memory [--device cuda:0] [--seconds 0.3]
//
// Traces are `miniinfer mem replay`'s. Ends with 77 where the device is not there.

#include <deque>

#include "miniinfer/miniinfer.hpp"
#include "tests/bench/allocator_rows.hpp"

using namespace miniinfer;  // NOLINT
using allocator_rows::fail;

namespace {

class Pooled {
 public:
  using Handle = Block;

  explicit Pooled(const Device& device) : name_(std::string(device.id()) + "/caching?slack=1.02") {
    for (int i = 0; i <= allocator_rows::kThreads; ++i) {
      Result<DeviceContext> context = DeviceContext::create(device);
      if (!context) fail(context.status().to_string());
      contexts_.push_back(std::move(*context));
      streams_.push_back(contexts_.back().stream());
    }
    make();
  }
  ~Pooled() { drop(); }

  Block take(std::uint64_t bytes, int on) {
    const Result<Block> block =
        allocator_->allocate({.bytes = bytes, .stream = streams_[static_cast<std::size_t>(on)]});
    if (!block) fail(block.status().to_string());
    return *block;
  }
  void give(const Block& block, int on) {
    allocator_->deallocate(block, streams_[static_cast<std::size_t>(on)]);
  }
  void reset() {
    sync();
    allocator_->pool()->trim(0);
  }
  double grow_ns(std::uint64_t bytes) {
    drop();
    make();
    const auto begin = allocator_rows::Clock::now();
    const Block block = take(bytes, 0);
    const double taken = allocator_rows::nanoseconds(begin);
    give(block, 0);
    return taken;
  }
  std::uint64_t driver_calls() const { return allocator_->pool()->pool_stats().num_driver_calls; }
  std::uint64_t reserved_peak() const {
    return allocator_->pool()->pool_stats().reserved_bytes.peak;
  }

 private:
  // With options it is a pool of its own, and a new one each time since nobody else holds it.
  void make() {
    Result<AllocatorPtr> allocator = AllocatorFactory::get(name_);
    if (!allocator) fail(allocator.status().to_string());
    allocator_ = std::move(*allocator);
    for (const Stream stream : streams_) {
      if (Status status = allocator_->pool()->add_stream(stream); !status.ok()) {
        fail(status.to_string());
      }
    }
  }
  void sync() {
    for (DeviceContext& context : contexts_) {
      if (Status status = context.sync(); !status.ok()) fail(status.to_string());
    }
  }
  void drop() {
    sync();
    for (const Stream stream : streams_) allocator_->pool()->remove_stream(stream);
    allocator_.reset();
  }

  std::string name_;
  std::deque<DeviceContext> contexts_;
  std::vector<Stream> streams_;
  AllocatorPtr allocator_;
};

}  // namespace

int main(int argc, char** argv) {
  const allocator_rows::Options options = allocator_rows::parse(argc, argv);
  RuntimeOptions chosen;
  chosen.log = log_to_stderr();
  const Runtime runtime(chosen);
  const Result<Device> device = runtime.device(options.device);
  const Status status = device ? device->open() : device.status();
  if (!status.ok()) {
    std::printf("skipped: %s\n", status.to_string().c_str());
    return 77;
  }
  Pooled pooled(*device);
  return allocator_rows::run(pooled, options);
}
