#pragma once

// Owning C++ forms of the attribute structs of abi/op/, as nodes of a lowered graph hold them.

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/graph/graph.hpp"
#include "miniinfer/abi/op/copy.h"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer {

// A struct that points to nothing: conv, reduce, softmax, ..
template <class T>
class PlainAttrs final : public KernelAttrs {
 public:
  explicit PlainAttrs(T attrs) : attrs_(attrs) { attrs_.head = {sizeof(T), MINIINFER_ABI_MINOR}; }
  const void* abi() const noexcept override { return &attrs_; }
  const T& operator*() const { return attrs_; }

 private:
  T attrs_;
};

template <class T>
KernelAttrsPtr make_attrs(T attrs) {
  return std::make_shared<PlainAttrs<T>>(attrs);
}

// A pointwise program under construction, and then as attributes.
//
//   PointwiseBuilder p(2);                                 // two inputs: registers 0 and 1
//   auto sum = p.emit(MINIINFER_PW_ADD, DataType::Float32, 0, 1);
//   node attrs = p.finish({sum});
class PointwiseProgram final : public KernelAttrs {
 public:
  PointwiseProgram(std::uint32_t inputs, std::vector<std::pair<std::uint64_t, DataType>> constants,
                   std::vector<miniinfer_instruction> code, std::vector<std::uint16_t> outputs);
  PointwiseProgram(const PointwiseProgram&) = delete;
  const void* abi() const noexcept override { return &attrs_; }

  std::uint32_t inputs() const { return attrs_.in_count; }
  const std::vector<std::uint64_t>& constants() const { return constants_; }
  const std::vector<std::uint16_t>& constant_dtypes() const { return constant_dtypes_; }
  const std::vector<miniinfer_instruction>& code() const { return code_; }
  const std::vector<std::uint16_t>& outputs() const { return outputs_; }

 private:
  std::vector<std::uint64_t> constants_;
  std::vector<std::uint16_t> constant_dtypes_;
  std::vector<miniinfer_instruction> code_;
  std::vector<std::uint16_t> outputs_;
  miniinfer_pointwise_attrs attrs_{};
};

// Registers are handed out as handles; finish() numbers them as the boundary wants it (inputs,
// constants, results), so constants may be asked for at any time.
class PointwiseBuilder {
 public:
  struct Reg {
    enum Kind : std::uint8_t { Input, Constant, Result } kind;
    std::uint16_t index;
  };

  explicit PointwiseBuilder(std::uint32_t inputs) : inputs_(inputs) {}
  Reg input(std::uint32_t i) const { return {Reg::Input, static_cast<std::uint16_t>(i)}; }
  Reg constant(DataType type, double value);  // converted to the type
  Reg constant_bits(DataType type, std::uint64_t bits);
  Reg emit(std::uint16_t op, DataType dtype, Reg a, Reg b = {}, Reg c = {});
  KernelAttrsPtr finish(std::vector<Reg> outputs) const;

 private:
  std::uint32_t inputs_;
  std::vector<std::pair<std::uint64_t, DataType>> constants_;
  struct Pending {
    std::uint16_t op;
    DataType dtype;
    Reg a, b, c;
  };
  std::vector<Pending> code_;
};

// The regions of a copy node.
class CopyRegions final : public KernelAttrs {
 public:
  explicit CopyRegions(std::vector<miniinfer_copy_region> regions);
  CopyRegions(std::vector<miniinfer_copy_region> regions, std::uint64_t fill_bits);
  CopyRegions(const CopyRegions&) = delete;
  const void* abi() const noexcept override { return &attrs_; }
  const std::vector<miniinfer_copy_region>& regions() const { return regions_; }
  bool fills() const { return attrs_.fill != 0; }

 private:
  std::vector<miniinfer_copy_region> regions_;
  std::vector<const miniinfer_copy_region*> pointers_;
  miniinfer_copy_attrs attrs_{};
};

}  // namespace miniinfer
