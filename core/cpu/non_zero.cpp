// non_zero/1.

#include <cstdio>

#include "core/cpu/rows.hpp"
#include "core/cpu/select.hpp"
#include "miniinfer/abi/op/select.h"

namespace miniinfer::cpu {
namespace {

class NonZero final : public Kernel {
 public:
  explicit NonZero(const RegionView& region)
      : dtype_(region.in(0).dtype),
        rank_(region.in(0).rank),
        elements_(element_count(region.in(0))),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)),
        count_(region.arg_out(1)) {
    for (int i = 0; i < rank_; ++i) dims_[i] = region.in(0).dims[i];
  }

  // Counts first, so that the rows of the output lie side by side without gaps.
  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    auto* out = reinterpret_cast<std::int64_t*>(address(run.args[out_]));
    std::int64_t count = 0;
    with_element_type(dtype_, [&](auto type) {
      using T = decltype(type);
      const auto* in = reinterpret_cast<const T*>(address(run.args[in_]));
      for (std::int64_t i = 0; i < elements_; ++i) count += in[i] != 0;
      std::int64_t found = 0;
      for (std::int64_t i = 0; i < elements_; ++i) {
        if (!(in[i] != 0)) continue;
        std::int64_t at = i;
        for (int axis = rank_ - 1; axis >= 0; --axis) {
          out[axis * count + found] = at % dims_[axis];
          at /= dims_[axis];
        }
        ++found;
      }
    });
    if (count_ >= 0) *reinterpret_cast<std::int64_t*>(address(run.args[count_])) = count;
    return MINIINFER_OK;
  }

 private:
  int dtype_;
  int rank_;
  std::int64_t dims_[MINIINFER_MAX_RANK] = {};
  std::int64_t elements_;
  int in_, out_, count_;
};

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  const miniinfer_value& in = region.in(0);
  if (region.node_count() != 1 || !with_element_type(in.dtype, [](auto) {}) || !is_row_major(in) ||
      region.out(0).dtype != MINIINFER_INT64) {
    std::snprintf(choice.reason, sizeof choice.reason,
                  "non_zero: element type %d, positions of type %d: numbers, int64 positions and "
                  "row-major operands are served",
                  in.dtype, region.out(0).dtype);
    return MINIINFER_UNSUPPORTED;
  }
  choice.cost_ns = 50 + 2 * static_cast<std::uint64_t>(element_count(in));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

}  // namespace

const Family kNonZero = {MINIINFER_NON_ZERO, sizeof(miniinfer_non_zero_attrs), support,
                         [](const RegionView& region) -> std::unique_ptr<Kernel> {
                           return std::make_unique<NonZero>(region);
                         }};

}  // namespace miniinfer::cpu
