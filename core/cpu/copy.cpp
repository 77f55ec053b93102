// copy/1: strided regions. Each is put in the shape of its target: axes sorted by the target's
// stride and merged where both sides allow it. Then it is runs of whole bytes, or a transposition
// in blocks, or a strided loop.

#include "miniinfer/abi/op/copy.h"

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/cpu/parallel.hpp"
#include "core/cpu/rows.hpp"

namespace miniinfer::cpu {
namespace {

constexpr std::int64_t kBlock = 32;  // a side of a transposed block, in elements
constexpr double kByteNs = 0.1;

struct Axis {
  std::int64_t size;
  std::int64_t src;  // bytes
  std::int64_t dst;
};

// A region ready to run: outer axes, then the body of one item.
struct Plan {
  enum Body : std::uint8_t { Runs, Strided, Transposed } body;
  std::uint32_t input;
  std::int64_t src;  // bytes from the base
  std::int64_t dst;
  int outer_rank = 0;
  std::array<Axis, MINIINFER_MAX_RANK> outer;
  std::int64_t items = 1;
  Axis inner{1, 0, 0};   // dst steps by one element; for Runs: size in bytes
  Axis second{1, 0, 0};  // of Transposed: src steps by one element
};

using Bytes16 = std::array<std::uint64_t, 2>;

template <class T>
void move_one(std::byte* dst, const std::byte* src) {
  std::memcpy(dst, src, sizeof(T));
}

template <class T>
void move_strided(std::byte* dst, const std::byte* src, const Axis& axis) {
  for (std::int64_t i = 0; i < axis.size; ++i) {
    move_one<T>(dst + i * axis.dst, src + i * axis.src);
  }
}

// Four by four elements of 4 bytes: rows of the source become columns.
void transpose_4x4(std::byte* dst, std::int64_t dst_step, const std::byte* src,
                   std::int64_t src_step) {
  const auto row = [&](int i) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(src + i * src_step));
  };
  __m128 r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
  _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
  _mm_storeu_ps(reinterpret_cast<float*>(dst), r0);
  _mm_storeu_ps(reinterpret_cast<float*>(dst + dst_step), r1);
  _mm_storeu_ps(reinterpret_cast<float*>(dst + 2 * dst_step), r2);
  _mm_storeu_ps(reinterpret_cast<float*>(dst + 3 * dst_step), r3);
}

// dst[j][i] = src[i][j]: `i` is the target's contiguous axis, `j` the source's.
template <class T>
void transpose_block(std::byte* dst, std::int64_t dst_step, const std::byte* src,
                     std::int64_t src_step, std::int64_t is, std::int64_t js) {
  constexpr std::int64_t kBytes = sizeof(T);
  std::int64_t i = 0;
  if constexpr (kBytes == 4) {
    for (; i + 4 <= is; i += 4) {
      std::int64_t j = 0;
      for (; j + 4 <= js; j += 4) {
        transpose_4x4(dst + j * dst_step + i * 4, dst_step, src + i * src_step + j * 4, src_step);
      }
      for (; j < js; ++j) {
        for (std::int64_t k = i; k < i + 4; ++k) {
          move_one<T>(dst + j * dst_step + k * 4, src + k * src_step + j * 4);
        }
      }
    }
  }
  const std::int64_t rest = i;
  for (std::int64_t j = 0; j < js; ++j) {
    for (i = rest; i < is; ++i) {
      move_one<T>(dst + j * dst_step + i * kBytes, src + i * src_step + j * kBytes);
    }
  }
}

template <class T>
void run_item(const Plan& plan, std::byte* dst, const std::byte* src) {
  switch (plan.body) {
    case Plan::Runs:
      std::memcpy(dst, src, static_cast<std::size_t>(plan.inner.size));
      return;
    case Plan::Strided:
      move_strided<T>(dst, src, plan.inner);
      return;
    case Plan::Transposed:
      // An item is kBlock rows of the target or what is left of them.
      for (std::int64_t i = 0; i < plan.inner.size; i += kBlock) {
        const std::int64_t is = std::min(kBlock, plan.inner.size - i);
        transpose_block<T>(dst + i * plan.inner.dst, plan.second.dst, src + i * plan.inner.src,
                           plan.inner.src, is, plan.second.size);
      }
  }
}

template <class T>
void run_items(const Plan& plan, std::byte* out, const std::byte* in, std::int64_t begin,
               std::int64_t end) {
  const std::int64_t blocks =
      plan.body == Plan::Transposed ? (plan.second.size + kBlock - 1) / kBlock : 1;
  std::array<std::int64_t, MINIINFER_MAX_RANK> index;
  std::int64_t rest = begin / blocks;
  std::int64_t block = begin % blocks;
  std::int64_t src = plan.src;
  std::int64_t dst = plan.dst;
  for (int axis = plan.outer_rank - 1; axis >= 0; --axis) {
    index[axis] = rest % plan.outer[axis].size;
    rest /= plan.outer[axis].size;
    src += index[axis] * plan.outer[axis].src;
    dst += index[axis] * plan.outer[axis].dst;
  }
  for (std::int64_t item = begin; item < end; ++item) {
    if (plan.body == Plan::Transposed) {
      Plan part = plan;
      part.second.size = std::min(kBlock, plan.second.size - block * kBlock);
      run_item<T>(part, out + dst + block * kBlock * plan.second.dst,
                  in + src + block * kBlock * plan.second.src);
      if (++block < blocks) continue;
      block = 0;
    } else {
      run_item<T>(plan, out + dst, in + src);
    }
    for (int axis = plan.outer_rank - 1; axis >= 0; --axis) {
      const Axis& a = plan.outer[axis];
      src += a.src;
      dst += a.dst;
      if (++index[axis] < a.size) break;
      src -= a.size * a.src;
      dst -= a.size * a.dst;
      index[axis] = 0;
    }
  }
}

// Offsets and strides of `region` are in units of `bytes`; every unit is moved as it is.
Plan make_plan(const miniinfer_copy_region& region, std::int64_t bytes) {
  Plan plan{};
  plan.input = region.input;
  plan.src = region.src_offset * bytes;
  plan.dst = region.dst_offset * bytes;
  std::vector<Axis> axes;
  for (std::int32_t i = 0; i < region.rank; ++i) {
    if (region.dims[i] == 0) {
      plan.items = 0;
      return plan;
    }
    if (region.dims[i] == 1) continue;
    Axis axis{region.dims[i], region.src_strides[i] * bytes, region.dst_strides[i] * bytes};
    if (axis.dst < 0) {  // walk the target upwards
      plan.src += (axis.size - 1) * axis.src;
      plan.dst += (axis.size - 1) * axis.dst;
      axis.src = -axis.src;
      axis.dst = -axis.dst;
    }
    axes.push_back(axis);
  }
  std::sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.dst > b.dst; });
  std::vector<Axis> merged;
  for (const Axis& axis : axes) {
    if (!merged.empty() && merged.back().src == axis.src * axis.size &&
        merged.back().dst == axis.dst * axis.size) {
      merged.back() = {merged.back().size * axis.size, axis.src, axis.dst};
    } else {
      merged.push_back(axis);
    }
  }
  if (merged.empty()) merged.push_back({1, bytes, bytes});
  plan.inner = merged.back();
  merged.pop_back();
  plan.body = Plan::Strided;
  if (plan.inner.src == bytes && plan.inner.dst == bytes) {
    plan.body = Plan::Runs;
    plan.inner.size *= bytes;
  } else if (plan.inner.dst == bytes && plan.inner.size >= 4) {
    const auto contiguous = std::find_if(
        merged.begin(), merged.end(), [&](const Axis& a) { return a.src == bytes && a.size >= 4; });
    if (contiguous != merged.end()) {
      plan.body = Plan::Transposed;
      plan.second = *contiguous;
      merged.erase(contiguous);
    }
  }
  for (const Axis& axis : merged) {
    plan.outer[static_cast<std::size_t>(plan.outer_rank++)] = axis;
    plan.items *= axis.size;
  }
  // A single long run is cut, so that threads can share it.
  constexpr std::int64_t kRun = 1 << 16;
  if (plan.body == Plan::Runs && plan.items == 1 && plan.inner.size >= 4 * kRun &&
      plan.inner.size % kRun == 0) {
    plan.outer[0] = {plan.inner.size / kRun, kRun, kRun};
    plan.outer_rank = 1;
    plan.items = plan.outer[0].size;
    plan.inner.size = kRun;
  }
  if (plan.body == Plan::Transposed) plan.items *= (plan.second.size + kBlock - 1) / kBlock;
  return plan;
}

using RunItems = void (*)(const Plan&, std::byte*, const std::byte*, std::int64_t, std::int64_t);

RunItems run_items_of(std::int64_t bytes) {
  switch (bytes) {
    case 1:
      return run_items<std::uint8_t>;
    case 2:
      return run_items<std::uint16_t>;
    case 4:
      return run_items<std::uint32_t>;
    case 8:
      return run_items<std::uint64_t>;
    case 16:
      return run_items<Bytes16>;
    default:
      return nullptr;
  }
}

std::int64_t per_byte(miniinfer_dtype dtype) {
  switch (dtype) {
    case MINIINFER_UINT4:
    case MINIINFER_INT4:
    case MINIINFER_FLOAT4E2M1:
      return 2;
    case MINIINFER_UINT2:
    case MINIINFER_INT2:
      return 4;
    default:
      return 1;
  }
}

// A region of packed elements as one of bytes; false where it would cut a byte.
bool in_bytes(miniinfer_copy_region& region, std::int64_t packed) {
  if (packed == 1) return true;
  bool moves_bytes = false;
  if (region.src_offset % packed != 0 || region.dst_offset % packed != 0) return false;
  region.src_offset /= packed;
  region.dst_offset /= packed;
  for (std::int32_t i = 0; i < region.rank; ++i) {
    if (region.dims[i] == 0) return true;
    if (region.dims[i] == 1) continue;
    if (region.src_strides[i] == 1 && region.dst_strides[i] == 1 && !moves_bytes) {
      if (region.dims[i] % packed != 0) return false;
      region.dims[i] /= packed;
      moves_bytes = true;
    } else if (region.src_strides[i] % packed != 0 || region.dst_strides[i] % packed != 0) {
      return false;
    } else {
      region.src_strides[i] /= packed;
      region.dst_strides[i] /= packed;
    }
  }
  return moves_bytes;
}

// Whether elements offset + sum(k * stride) lie inside [0, count).
bool stays_inside(const miniinfer_copy_region& region, std::int64_t offset,
                  const std::int64_t* strides, std::int64_t count) {
  std::int64_t first = offset;
  std::int64_t last = offset;
  for (std::int32_t i = 0; i < region.rank; ++i) {
    if (region.dims[i] == 0) return true;
    std::int64_t reach;
    if (region.dims[i] < 0 || __builtin_mul_overflow(region.dims[i] - 1, strides[i], &reach) ||
        __builtin_add_overflow(reach < 0 ? first : last, reach, reach < 0 ? &first : &last)) {
      return false;
    }
  }
  return first >= 0 && last < count;
}

class Copy final : public Kernel {
 public:
  explicit Copy(const RegionView& region) : workers_(worker_count()) {
    const auto& attrs = region.attrs<miniinfer_copy_attrs>();
    const miniinfer_value& out = region.out(0);
    const std::int64_t packed = per_byte(out.dtype);
    bytes_ = packed > 1 ? 1 : static_cast<std::int64_t>(element_bytes(out.dtype));
    total_ = (element_count(out) + packed - 1) / packed;
    out_ = region.arg_out(0);
    run_items_ = run_items_of(bytes_);
    fill_ = attrs.fill != 0;
    std::memcpy(pattern_, &attrs.fill_bits, sizeof attrs.fill_bits);
    if (packed > 1) {
      const unsigned bits = static_cast<unsigned>(8 / packed);
      const unsigned element = static_cast<unsigned>(attrs.fill_bits) & ((1u << bits) - 1);
      unsigned whole = 0;
      for (unsigned at = 0; at < 8; at += bits) whole |= element << at;
      pattern_[0] = static_cast<std::byte>(whole);
    }
    for (std::uint32_t i = 0; i < region.node().in_count; ++i) in_.push_back(region.arg_in(i));
    for (std::uint32_t i = 0; i < attrs.region_count; ++i) {
      miniinfer_copy_region copy = *attrs.regions[i];
      in_bytes(copy, packed);
      const Plan plan = make_plan(copy, bytes_);
      if (plan.items > 0) plans_.push_back(plan);
    }
    if (total_ == 0) plans_.clear();
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    std::byte* out = address(run.args[out_]);
    if (fill_) fill(out);
    for (const Plan& plan : plans_) {
      const std::byte* in = address(run.args[in_[plan.input]]);
      const std::int64_t item_bytes =
          plan.body == Plan::Runs ? plan.inner.size
                                  : plan.inner.size * bytes_ * std::min(kBlock, plan.second.size);
      parallel(plan.items, static_cast<double>(item_bytes) * kByteNs + 5, workers_,
               [&](std::int64_t begin, std::int64_t end, std::uint32_t) {
                 run_items_(plan, out, in, begin, end);
               });
    }
    return MINIINFER_OK;
  }

 private:
  void fill(std::byte* out) const {
    parallel(total_, static_cast<double>(bytes_) * kByteNs, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t) {
               std::byte* at = out + begin * bytes_;
               if (std::all_of(pattern_, pattern_ + bytes_,
                               [&](std::byte b) { return b == pattern_[0]; })) {
                 std::memset(at, static_cast<int>(pattern_[0]),
                             static_cast<std::size_t>((end - begin) * bytes_));
                 return;
               }
               for (std::int64_t i = begin; i < end; ++i, at += bytes_) {
                 std::memcpy(at, pattern_, static_cast<std::size_t>(bytes_));
               }
             });
  }

  std::uint32_t workers_;
  std::int64_t bytes_;
  std::int64_t total_;  // of bytes_ each
  bool fill_;
  std::byte pattern_[16] = {};
  int out_;
  std::vector<int> in_;
  RunItems run_items_;
  std::vector<Plan> plans_;
};

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  if (region.node_count() != 1) return refuse_region(choice, "copy: %u nodes", region.node_count());
  const auto& attrs = region.attrs<miniinfer_copy_attrs>();
  const miniinfer_value& out = region.out(0);
  const std::int64_t packed = per_byte(out.dtype);
  const std::int64_t bytes = packed > 1 ? 1 : static_cast<std::int64_t>(element_bytes(out.dtype));
  if (run_items_of(bytes) == nullptr)
    return refuse_region(choice, "copy: element type %d", out.dtype);
  double moved = attrs.fill != 0 ? static_cast<double>(element_count(out)) : 0;
  for (std::uint32_t i = 0; i < attrs.region_count; ++i) {
    miniinfer_copy_region copy = *attrs.regions[i];
    if (copy.input >= region.node().in_count || copy.rank < 0 || copy.rank > MINIINFER_MAX_RANK) {
      return refuse_region(choice, "copy: region %u has input %u and rank %d", i, copy.input,
                           copy.rank);
    }
    const miniinfer_value& in = region.in(copy.input);
    if (in.block > 1 || out.block > 1) return refuse_region(choice, "copy: blocked operands");
    if (per_byte(in.dtype) != packed || element_bytes(in.dtype) != element_bytes(out.dtype)) {
      return refuse_region(choice, "copy: from element type %d to %d", in.dtype, out.dtype);
    }
    if (!stays_inside(copy, copy.src_offset, copy.src_strides, element_count(in)) ||
        !stays_inside(copy, copy.dst_offset, copy.dst_strides, element_count(out))) {
      return refuse_region(choice, "copy: region %u reaches past its operand", i);
    }
    if (!in_bytes(copy, packed)) {
      return refuse_region(choice, "copy: region %u cuts a byte of element type %d", i, out.dtype);
    }
    double elements = 1;
    for (std::int32_t axis = 0; axis < copy.rank; ++axis) {
      elements *= static_cast<double>(copy.dims[axis]);
    }
    moved += elements;
  }
  choice.workspace_bytes = 0;
  choice.cost_ns = static_cast<std::uint64_t>(50 + moved * static_cast<double>(bytes) * kByteNs);
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) { return std::make_unique<Copy>(region); }

}  // namespace

const Family kCopy = {MINIINFER_COPY, sizeof(miniinfer_copy_attrs), support, create};

}  // namespace miniinfer::cpu
