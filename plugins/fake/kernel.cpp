#include "plugins/fake/kernel.hpp"

#include <algorithm>
#include <utility>

#include "plugins/fake/conv.hpp"
#include "plugins/fake/device.hpp"
#include "plugins/fake/limits.hpp"
#include "plugins/fake/stream.hpp"

namespace miniinfer::fake {

namespace reference = sdk::reference;

struct Kernel::Work {
  std::vector<miniinfer_mem> args;
  miniinfer_mem workspace;
  miniinfer_mem fault;
  std::uint32_t step;
};

std::unique_ptr<reference::Program> Kernel::compile(const Device& device,
                                                    const sdk::Region& region) {
  static const std::vector<reference::Family> families = [] {
    std::vector<reference::Family> all(std::begin(reference::kFamilies),
                                       std::end(reference::kFamilies));
    all.push_back({MINIINFER_CONV, sizeof(miniinfer_conv_attrs), reference::make<Conv>});
    return all;
  }();
  for (std::uint32_t n = 0; n < region.node_count(); ++n) {
    if (region.op(n) == MINIINFER_CONV && !device.prefers_channels_last()) {
      refuse_wide_conv(region, n);
    }
    if (region.op(n) != MINIINFER_POINTWISE) continue;
    const auto attrs = region.attrs<miniinfer_pointwise_attrs>(n);
    if (attrs.code_count > kMaxInstructions) {
      sdk::fail(MINIINFER_UNSUPPORTED, "%u instructions: only %u", attrs.code_count,
                kMaxInstructions);
    }
  }
  const bool fused = region.node_count() == 2 && region.op(1) == MINIINFER_POINTWISE &&
                     (region.op(0) == MINIINFER_CONV || region.op(0) == MINIINFER_CONTRACT);
  if (region.node_count() != 1 && !fused) {
    sdk::fail(MINIINFER_UNSUPPORTED, "only conv and contract are fused, with one pointwise");
  }
  return std::make_unique<reference::Program>(region, families);
}

Kernel::Kernel(Device& device, const sdk::Region& region, std::uint64_t in_place)
    : device_(device),
      program_(compile(device, region)),
      in_count_(static_cast<std::uint32_t>(region.inputs().size())),
      in_place_(in_place) {
  device_.ledger().add(&miniinfer_fake_ledger::live_kernels);
}

Kernel::~Kernel() { device_.ledger().subtract(&miniinfer_fake_ledger::live_kernels); }

void Kernel::enqueue(sdk::Stream* stream, const miniinfer_run& run) const {
  device_.enter("launch");
  device_.ledger().add(&miniinfer_fake_ledger::launches);
  Work work{{run.args, run.args + program_->args().size()}, run.workspace, run.fault, run.step};
  std::vector<Access> accesses;
  for (std::size_t i = 0; i < work.args.size(); ++i) {
    const std::uint64_t bytes = program_->args()[i].extent_bytes();
    if (bytes != 0) accesses.push_back({work.args[i], bytes, i >= in_count_});
  }
  if (program_->scratch_bytes() != 0) {
    accesses.push_back({work.workspace, program_->scratch_bytes(), true});
  }
  if (stream == nullptr) {  // the device works inline
    device_.begin_work();
    execute(work);
    return;
  }
  static_cast<Stream*>(stream)->launch(
      "a kernel", [this, work = std::move(work)] { execute(work); }, accesses);
}

void Kernel::execute(const Work& work) const {
  check_overlap(work);
  Memory& memory = device_.memory();
  std::vector<std::byte*> args;
  for (std::size_t i = 0; i < work.args.size(); ++i) {
    const reference::Operand& operand = program_->args()[i];
    const bool unused = operand.absent || operand.extent_bytes() == 0;
    args.push_back(unused ? nullptr
                          : memory.resolve(work.args[i], operand.extent_bytes(), "a kernel"));
  }
  std::byte* scratch = nullptr;
  if (program_->scratch_bytes() != 0) {
    scratch = memory.resolve(work.workspace, program_->scratch_bytes(), "a kernel's workspace");
  }
  miniinfer_fault* fault = nullptr;
  if (work.fault.handle != 0) {
    fault = reinterpret_cast<miniinfer_fault*>(
        memory.resolve(work.fault, sizeof(miniinfer_fault), "a fault block"));
  }
  program_->run(args, scratch, reference::FaultSink(fault, work.step));
}

// An output shares memory with an input only where the choice allowed it, and then exactly.
void Kernel::check_overlap(const Work& work) const {
  for (std::size_t o = in_count_; o < work.args.size(); ++o) {
    const miniinfer_mem out = work.args[o];
    const std::uint64_t out_bytes = program_->args()[o].extent_bytes();
    for (std::size_t i = 0; i < o; ++i) {
      const miniinfer_mem in = work.args[i];
      const std::uint64_t in_bytes = program_->args()[i].extent_bytes();
      const bool apart = in.handle != out.handle || in_bytes == 0 || out_bytes == 0 ||
                         in.offset + in_bytes <= out.offset || out.offset + out_bytes <= in.offset;
      if (apart) continue;
      const std::uint64_t allowed = sdk::in_place_bit(static_cast<std::uint32_t>(o - in_count_),
                                                      static_cast<std::uint32_t>(i));
      if (i < in_count_ && (in_place_ & allowed) != 0 && in.offset == out.offset) continue;
      const std::string text = sdk::format("step %u: output %zu shares memory with operand %zu",
                                           work.step, o - in_count_, i);
      device_.violation("%s", text.c_str());
      throw sdk::Error(MINIINFER_INVALID_ARGUMENT, text);
    }
  }
}

}  // namespace miniinfer::fake
