#pragma once

// A whole region, node after node, through scratch memory for the values between them.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "miniinfer/sdk/reference/contract.hpp"
#include "miniinfer/sdk/reference/copy.hpp"
#include "miniinfer/sdk/reference/gather.hpp"
#include "miniinfer/sdk/reference/operation.hpp"
#include "miniinfer/sdk/reference/pointwise.hpp"
#include "miniinfer/sdk/reference/reduce.hpp"

namespace miniinfer::sdk::reference {

// What every backend serves.
inline constexpr Family kFamilies[] = {
    {MINIINFER_POINTWISE, sizeof(miniinfer_pointwise_attrs), make<Pointwise>},
    {MINIINFER_COPY, sizeof(miniinfer_copy_attrs), make<Copy>},
    {MINIINFER_REDUCE, sizeof(miniinfer_reduce_attrs), make<Reduce>},
    {MINIINFER_CONTRACT, sizeof(miniinfer_contract_attrs), make<Contract>},
    {MINIINFER_GATHER, sizeof(miniinfer_gather_attrs), make<Gather>},
};

// Immutable; run() may be called on several threads at once with a scratch of its own each.
class Program {
 public:
  // Throws UNSUPPORTED with a reason where a node is none of the families'.
  explicit Program(const Region& region, std::span<const Family> families = kFamilies) {
    for (std::uint32_t i = 0; i < region.value_count(); ++i) {
      const int arg = region.arg_of(i);
      values_.push_back({arg, is_absent(region.value(i)), 0});
      if (arg >= 0 || values_.back().absent) continue;
      values_.back().scratch = scratch_bytes_;
      scratch_bytes_ += (make_operand(region.value(i)).extent_bytes() + 63) / 64 * 64;
    }
    for (std::uint32_t n = 0; n < region.node_count(); ++n) add_node(region, n, families);
    for (const std::uint32_t value : region.inputs()) add_arg(region.value(value));
    for (const std::uint32_t value : region.outputs()) add_arg(region.value(value));
  }

  std::uint64_t scratch_bytes() const { return scratch_bytes_; }
  // Operands in the order of miniinfer_run.args.
  const std::vector<Operand>& args() const { return args_; }

  // `args` are the bases of region.in then region.out, null where an operand was left out.
  void run(std::span<std::byte* const> args, std::byte* scratch, const FaultSink& fault) const {
    const auto base = [&](std::uint32_t number) -> std::byte* {
      const Value& value = values_[number];
      if (value.absent) return nullptr;
      return value.arg >= 0 ? args[static_cast<std::size_t>(value.arg)] : scratch + value.scratch;
    };
    for (const Step& step : steps_) {
      std::vector<const std::byte*> in;
      std::vector<std::byte*> out;
      for (const std::uint32_t value : step.in) in.push_back(base(value));
      for (const std::uint32_t value : step.out) out.push_back(base(value));
      step.operation->run(in, out, fault);
    }
  }

 private:
  struct Value {
    int arg;  // -1: in the scratch
    bool absent;
    std::uint64_t scratch;
  };
  struct Step {
    std::unique_ptr<Operation> operation;
    std::vector<std::uint32_t> in;
    std::vector<std::uint32_t> out;
  };

  void add_node(const Region& region, std::uint32_t n, std::span<const Family> families) {
    const miniinfer_node& node = region.node(n);
    for (const Family& family : families) {
      if (region.op(n) != family.op) continue;
      steps_.push_back({family.make(region, n),
                        {node.in, node.in + node.in_count},
                        {node.out, node.out + node.out_count}});
      return;
    }
    fail(MINIINFER_UNSUPPORTED, "%s is not implemented", node.op);
  }

  void add_arg(const miniinfer_value& value) { args_.push_back(make_operand(value)); }

  std::vector<Value> values_;
  std::vector<Step> steps_;
  std::vector<Operand> args_;
  std::uint64_t scratch_bytes_ = 0;
};

// The oracle of a kernel's test: runs `region` once over host memory.
inline void run_region(const miniinfer_region& region, std::span<std::byte* const> args,
                       miniinfer_fault* fault = nullptr) {
  const Program program{Region(region)};
  std::vector<std::byte> scratch(program.scratch_bytes() + 1);
  program.run(args, scratch.data(), FaultSink(fault, 0));
}

}  // namespace miniinfer::sdk::reference
