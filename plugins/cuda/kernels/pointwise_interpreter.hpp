#pragma once

// Any pointwise program, an instruction at a time. The code runs on the device over slots in shared
// memory, and, for tests, on the host.

#include <cstdint>

#include "miniinfer/abi/op/pointwise.h"
#include "plugins/cuda/kernels/operand.hpp"
#include "plugins/cuda/kernels/pointwise_ops.hpp"

namespace miniinfer::cuda {

// The type an instruction is calculated in.
enum class ComputeKind : std::uint8_t { F32, F64, I32, U32, I64, U64 };

struct InterpretedInstruction {
  std::uint8_t op;  // MINIINFER_PW_*, or kInterpretedLoad: operand `a` into a slot
  std::uint8_t dtype;
  ComputeKind kind;  // of the operands
  std::uint8_t bits;
  std::uint16_t slot;     // of the result
  std::uint16_t a, b, c;  // slots, or constants from kFirstConstant on
};

inline constexpr std::uint8_t kInterpretedLoad = 255;
inline constexpr std::uint16_t kFirstConstant = 0x8000;
inline constexpr int kMaxInterpretedCode = MINIINFER_POINTWISE_MAX_CODE + 16;
inline constexpr int kMaxPointwiseArgs = 16;

// A kernel argument: below 4 KiB.
struct InterpretedProgram {
  void* pointers[kMaxPointwiseArgs];  // inputs, then outputs; set for each run
  miniinfer_fault* fault;             // set for each run; may be null
  std::uint32_t step;
  std::uint32_t inputs;
  std::uint32_t outputs;
  std::uint32_t code_count;
  std::uint32_t slots;
  std::int32_t rank;
  std::int64_t count;
  std::uint32_t direct;                  // bit k: operand k's element p is at p
  std::uint8_t wide_slots;               // some register needs 64 bits
  std::uint8_t wide_index;               // 2^31 elements or more
  std::uint16_t out[kMaxPointwiseArgs];  // a slot or constant
  std::uint8_t dtypes[kMaxPointwiseArgs];
  FastDivisor divisors[MINIINFER_MAX_RANK];
  std::int64_t dims[MINIINFER_MAX_RANK];
  std::int64_t strides[kMaxPointwiseArgs][MINIINFER_MAX_RANK];
  std::uint64_t constants[64];  // as slots
  InterpretedInstruction code[kMaxInterpretedCode];
};
static_assert(sizeof(InterpretedProgram) <= 4096);

// A slot holds a value of a compute type: its bits, integers extended.
template <class T, class Slot>
MINIINFER_HD T from_slot(Slot slot) {
  return static_cast<T>(slot);
}
template <>
MINIINFER_HD float from_slot<float, unsigned>(unsigned slot) {
  return float_of(slot);
}
template <>
MINIINFER_HD float from_slot<float, unsigned long long>(unsigned long long slot) {
  return float_of(static_cast<unsigned>(slot));
}
template <>
MINIINFER_HD double from_slot<double, unsigned long long>(unsigned long long slot) {
  return double_of(slot);
}
template <class Slot, class T>
MINIINFER_HD Slot to_slot(T value) {
  if constexpr (kIsFloating<T>) {
    return static_cast<Slot>(bits_of(value));
  } else {
    return static_cast<Slot>(value);
  }
}

// The element `index` of memory as a slot, and back.
template <class Slot>
MINIINFER_HD Slot read_slot(const void* base, std::int64_t index, int dtype) {
  const auto as = [&](auto tag) {
    using S = decltype(tag);
    return to_slot<Slot>(Number<S>::load(static_cast<const S*>(base)[index]));
  };
  switch (dtype) {
    case MINIINFER_FLOAT32:
      return as(float{});
    case MINIINFER_FLOAT16:
      return as(Float16{});
    case MINIINFER_BFLOAT16:
      return as(BFloat16{});
    case MINIINFER_INT32:
      return as(int{});
    case MINIINFER_UINT32:
      return as(unsigned{});
    case MINIINFER_INT16:
      return as(short{});
    case MINIINFER_UINT16:
      return as(static_cast<unsigned short>(0));
    case MINIINFER_INT8:
      return as(static_cast<signed char>(0));
    case MINIINFER_UINT8:
      return as(static_cast<unsigned char>(0));
    case MINIINFER_BOOL:
      return as(Bool{});
    default:
      if constexpr (sizeof(Slot) == 8) return static_cast<const unsigned long long*>(base)[index];
      return 0;
  }
}
template <class Slot>
MINIINFER_HD void write_slot(void* base, std::int64_t index, int dtype, Slot slot) {
  switch (dtype) {
    case MINIINFER_FLOAT16:
      static_cast<Float16*>(base)[index] = encode_float16(from_slot<float>(slot));
      return;
    case MINIINFER_BFLOAT16:
      static_cast<BFloat16*>(base)[index] = encode_bfloat16(from_slot<float>(slot));
      return;
    case MINIINFER_FLOAT32:
    case MINIINFER_INT32:
    case MINIINFER_UINT32:
      static_cast<unsigned*>(base)[index] = static_cast<unsigned>(slot);
      return;
    case MINIINFER_INT16:
    case MINIINFER_UINT16:
      static_cast<unsigned short*>(base)[index] = static_cast<unsigned short>(slot);
      return;
    case MINIINFER_INT8:
    case MINIINFER_UINT8:
    case MINIINFER_BOOL:
      static_cast<unsigned char*>(base)[index] = static_cast<unsigned char>(slot);
      return;
    default:
      if constexpr (sizeof(Slot) == 8) static_cast<unsigned long long*>(base)[index] = slot;
  }
}

// What `value` becomes as an element of its type, as a slot.
template <class Slot, class T>
MINIINFER_HD Slot narrow_slot(T value, int dtype) {
  if constexpr (sizeof(T) == 4) {
    switch (dtype) {
      case MINIINFER_FLOAT16:
        if constexpr (kIsFloating<T>) return to_slot<Slot>(narrow<Float16>(value));
        break;
      case MINIINFER_BFLOAT16:
        if constexpr (kIsFloating<T>) return to_slot<Slot>(narrow<BFloat16>(value));
        break;
      case MINIINFER_INT16:
        if constexpr (!kIsFloating<T>) return to_slot<Slot>(narrow<short>(value));
        break;
      case MINIINFER_INT8:
        if constexpr (!kIsFloating<T>) return to_slot<Slot>(narrow<signed char>(value));
        break;
      case MINIINFER_UINT16:
        if constexpr (!kIsFloating<T>) return to_slot<Slot>(narrow<unsigned short>(value));
        break;
      case MINIINFER_UINT8:
        if constexpr (!kIsFloating<T>) return to_slot<Slot>(narrow<unsigned char>(value));
        break;
      case MINIINFER_BOOL:
        if constexpr (!kIsFloating<T>) return to_slot<Slot>(narrow<Bool>(value));
        break;
      default:
        break;
    }
  }
  return to_slot<Slot>(value);
}

template <class Slot, class T>
MINIINFER_HD Slot cast_slot(T value, int dtype) {
  const auto as = [&](auto tag) {
    using S = decltype(tag);
    return to_slot<Slot>(Number<S>::load(convert<S>(value)));
  };
  switch (dtype) {
    case MINIINFER_FLOAT32:
      return as(float{});
    case MINIINFER_FLOAT16:
      return as(Float16{});
    case MINIINFER_BFLOAT16:
      return as(BFloat16{});
    case MINIINFER_INT32:
      return as(int{});
    case MINIINFER_UINT32:
      return as(unsigned{});
    case MINIINFER_INT16:
      return as(short{});
    case MINIINFER_UINT16:
      return as(static_cast<unsigned short>(0));
    case MINIINFER_INT8:
      return as(static_cast<signed char>(0));
    case MINIINFER_UINT8:
      return as(static_cast<unsigned char>(0));
    case MINIINFER_BOOL:
      return as(Bool{});
    case MINIINFER_FLOAT64:
      if constexpr (sizeof(Slot) == 8) return as(double{});
      return 0;
    case MINIINFER_INT64:
      if constexpr (sizeof(Slot) == 8) return as(0ll);
      return 0;
    default:
      if constexpr (sizeof(Slot) == 8) return as(0ull);
      return 0;
  }
}

struct PointwiseProgram;

// Assigns slots. The program fits: read_pointwise says so.
InterpretedProgram make_interpreted(const PointwiseProgram& program);

// kElements elements go through the program together: element e of slot s is at
// slots[(s * kElements + e) * stride].
template <class Slot, int kElements, class Sink>
class Interpreter {
 public:
  MINIINFER_HD Interpreter(const InterpretedProgram& program, Slot* slots, std::int64_t stride,
                           const Sink& sink)
      : program_(program), slots_(slots), stride_(stride), sink_(sink) {}

  // Elements first, first + step, ... as far as there are such; at least one element exists.
  MINIINFER_HD void run(std::int64_t first, std::int64_t step) const {
    const InterpretedProgram& p = program_;
    for (std::uint32_t i = 0; i < p.code_count; ++i) {
      const InterpretedInstruction& code = p.code[i];
      if (code.op == kInterpretedLoad) {
        load(code, first, step);
        continue;
      }
      if (code.op == MINIINFER_PW_SELECT) {
        each(code, [](Slot a, Slot b, Slot c) { return a != 0 ? b : c; });
        continue;
      }
      switch (code.kind) {
        case ComputeKind::F32:
          evaluate<float>(code);
          break;
        case ComputeKind::I32:
          evaluate<int>(code);
          break;
        case ComputeKind::U32:
          evaluate<unsigned>(code);
          break;
        default:
          if constexpr (sizeof(Slot) == 8) {
            if (code.kind == ComputeKind::F64) evaluate<double>(code);
            if (code.kind == ComputeKind::I64) evaluate<long long>(code);
            if (code.kind == ComputeKind::U64) evaluate<unsigned long long>(code);
          }
      }
    }
    for (std::uint32_t o = 0; o < p.outputs; ++o) {
      const std::uint32_t k = p.inputs + o;
      for (int e = 0; e < kElements; ++e) {
        const std::int64_t element = first + e * step;
        if (element < p.count) {
          write_slot<Slot>(p.pointers[k], offset(k, element), p.dtypes[k], get(p.out[o], e));
        }
      }
    }
  }

 private:
  MINIINFER_HD Slot get(std::uint16_t number, int e) const {
    if (number >= kFirstConstant) {
      return static_cast<Slot>(program_.constants[number - kFirstConstant]);
    }
    return slots_[(number * kElements + e) * stride_];
  }

  MINIINFER_HD std::int64_t offset(std::uint32_t k, std::int64_t element) const {
    const InterpretedProgram& p = program_;
    if ((p.direct >> k & 1) != 0) return element;
    if (p.wide_index != 0) return unravel_wide(element, p.rank, p.dims, p.strides[k]);
    return unravel(static_cast<unsigned>(element), p.rank, p.divisors, p.strides[k]);
  }

  MINIINFER_HD void load(const InterpretedInstruction& code, std::int64_t first,
                         std::int64_t step) const {
    for (int e = 0; e < kElements; ++e) {
      // Past the end the last element is computed again: never a fault that is not in the data.
      const std::int64_t wanted = first + e * step;
      const std::int64_t element = wanted < program_.count ? wanted : program_.count - 1;
      slots_[(code.slot * kElements + e) * stride_] =
          read_slot<Slot>(program_.pointers[code.a], offset(code.a, element), code.dtype);
    }
  }

  template <class F>
  MINIINFER_HD void each(const InterpretedInstruction& code, const F& f) const {
#if defined(__CUDACC__)
#pragma unroll 1
#endif
    for (int e = 0; e < kElements; ++e) {
      slots_[(code.slot * kElements + e) * stride_] =
          f(get(code.a, e), get(code.b, e), get(code.c, e));
    }
  }

  template <class T>
  MINIINFER_HD void evaluate(const InterpretedInstruction& code) const {
    const Site<Sink> site{code.bits, sink_};
    const int dtype = code.dtype;
#define MINIINFER_CASE(opcode, function)                                                  \
  case MINIINFER_PW_##opcode:                                                             \
    each(code, [&](Slot a, Slot b, Slot c) {                                              \
      return narrow_slot<Slot>(                                                           \
          op_##function(from_slot<T>(a), from_slot<T>(b), from_slot<T>(c), site), dtype); \
    });                                                                                   \
    return;
#define MINIINFER_TEST(opcode, function)                                                 \
  case MINIINFER_PW_##opcode:                                                            \
    each(code, [](Slot a, Slot b, Slot) {                                                \
      return static_cast<Slot>(op_##function(from_slot<T>(a), from_slot<T>(b)) ? 1 : 0); \
    });                                                                                  \
    return;
    switch (code.op) {
      MINIINFER_POINTWISE_COMMON(MINIINFER_CASE)
      MINIINFER_POINTWISE_TESTS(MINIINFER_TEST)
      case MINIINFER_PW_CAST:
        each(code, [&](Slot a, Slot, Slot) { return cast_slot<Slot>(from_slot<T>(a), dtype); });
        return;
      default:
        break;
    }
    if constexpr (kIsFloating<T>) {
      switch (code.op) {
        MINIINFER_POINTWISE_FLOAT(MINIINFER_CASE)
        default:
          return;
      }
    } else {
      switch (code.op) {
        MINIINFER_POINTWISE_INTEGER(MINIINFER_CASE)
        default:
          return;
      }
    }
#undef MINIINFER_CASE
#undef MINIINFER_TEST
  }

  const InterpretedProgram& program_;
  Slot* slots_;
  std::int64_t stride_;
  const Sink& sink_;
};

}  // namespace miniinfer::cuda
