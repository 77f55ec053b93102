#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/cpu/kernel.hpp"
#include "core/cpu/primitives.hpp"

namespace miniinfer::cpu {

// A pointwise node made ready for tiles: every instruction a loop over contiguous elements, every
// operand a place in one array of pointers, laid out as inputs, outputs, constants, slots. A slot
// is a tile in scratch memory.
struct PointwiseProgram {
  static constexpr std::uint32_t kMaxInputs = 32;
  static constexpr std::uint32_t kMaxOutputs = 16;
  static constexpr std::uint32_t kMaxPlaces = 384;
  static constexpr int kNone = -1;

  struct Step {
    Primitive loop;
    std::uint16_t out, a, b, c;  // places
  };

  struct Input {
    enum Mode : std::uint8_t {
      Direct,  // as the output: element p is at p
      Single,  // one element for all
      Row,     // anything else
    };
    Mode mode;
    std::uint8_t bytes;
    int tile;  // the slot's place where it is spread or collected, or kNone
    int rank;  // of Row, with axes merged where this input allows it
    std::array<std::int64_t, MINIINFER_MAX_RANK> dims;     // of the output
    std::array<std::int64_t, MINIINFER_MAX_RANK> strides;  // in bytes
  };

  struct Constant {
    std::uint64_t bits;
    std::uint8_t bytes;
    int tile;  // as for inputs
  };

  std::vector<Input> inputs;
  std::vector<std::uint8_t> output_bytes;
  std::vector<Constant> constants;
  std::vector<Step> steps;
  std::uint32_t slots = 0;
  std::int64_t elements = 0;
  std::int64_t row = 0;   // tiles end where a multiple of it does; 0: anywhere
  std::int64_t tile = 0;  // elements to a tile, at most
  std::size_t slot_bytes = 0;
  double element_ns = 0;  // estimate

  // The program is a clamp of input 0, or of the sum of inputs 0 and 1 where it has two.
  bool is_clamp = false;
  float low = 0;
  float high = 0;

  std::uint32_t output_place(std::uint32_t o) const {
    return static_cast<std::uint32_t>(inputs.size()) + o;
  }
  std::uint32_t constant_place(std::uint32_t i) const {
    return output_place(static_cast<std::uint32_t>(output_bytes.size())) + i;
  }
  std::uint32_t slot_place(std::uint32_t i) const {
    return constant_place(static_cast<std::uint32_t>(constants.size())) + i;
  }
};

// False, with `why` set, where an opcode, a type or a layout is not served.
bool compile(const RegionView& region, std::uint32_t node, PointwiseProgram* out, std::string* why);

}  // namespace miniinfer::cpu
