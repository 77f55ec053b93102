// top_k/1.

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "core/cpu/order_key.hpp"
#include "core/cpu/parallel.hpp"
#include "core/cpu/rows.hpp"
#include "miniinfer/abi/op/select.h"

namespace miniinfer::cpu {
namespace {

struct Entry {
  std::uint64_t key;
  std::int64_t position;
  // Positions break ties, so no stable sort is needed.
  bool operator<(const Entry& other) const {
    return key != other.key ? key < other.key : position < other.position;
  }
};

class TopK final : public Kernel {
 public:
  explicit TopK(const RegionView& region)
      : workers_(worker_count()),
        keys_(order_keys(region.in(0).dtype)),
        bytes_(static_cast<std::int64_t>(element_bytes(region.in(0).dtype))),
        in_(region.arg_in(0)),
        values_(region.arg_out(0)),
        positions_(region.arg_out(1)) {
    const auto& attrs = region.attrs<miniinfer_top_k_attrs>();
    split_ = split_at(region.in(0), attrs.axis);
    k_ = region.out(0).dims[attrs.axis];
    flip_ = attrs.largest != 0 ? ~std::uint64_t{0} : 0;
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    if (k_ == 0) return MINIINFER_OK;
    const std::byte* in = address(run.args[in_]);
    std::byte* values = values_ < 0 ? nullptr : address(run.args[values_]);
    auto* positions =
        positions_ < 0 ? nullptr : reinterpret_cast<std::int64_t*>(address(run.args[positions_]));
    std::byte* scratch = address(run.workspace);
    const std::int64_t n = split_.length;
    const double cost = 8 * static_cast<double>(n) + 30 * static_cast<double>(k_);
    parallel(split_.outer * split_.inner, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               auto* entries = reinterpret_cast<Entry*>(
                   scratch + worker * align64(static_cast<std::uint64_t>(n) * sizeof(Entry)));
               for (std::int64_t row = begin; row < end; ++row) {
                 const std::int64_t outer = row / split_.inner, inner = row % split_.inner;
                 const std::byte* from = in + (outer * n * split_.inner + inner) * bytes_;
                 make_entries(entries, from, n);
                 // Sorting also serves those who do not ask for it.
                 if (k_ < n) std::nth_element(entries, entries + k_ - 1, entries + n);
                 std::sort(entries, entries + k_);
                 for (std::int64_t i = 0; i < k_; ++i) {
                   const std::int64_t to = (outer * k_ + i) * split_.inner + inner;
                   const std::int64_t at = entries[i].position;
                   if (values != nullptr) {
                     std::memcpy(values + to * bytes_, from + at * split_.inner * bytes_,
                                 static_cast<std::size_t>(bytes_));
                   }
                   if (positions != nullptr) positions[to] = at;
                 }
               }
             });
    return MINIINFER_OK;
  }

 private:
  // NaN counts as larger than every number.
  void make_entries(Entry* entries, const std::byte* from, std::int64_t n) const noexcept {
    constexpr std::int64_t kPiece = 256;
    std::uint64_t keys[kPiece];
    for (std::int64_t i = 0; i < n; i += kPiece) {
      const std::int64_t count = std::min(kPiece, n - i);
      keys_(keys, from + i * split_.inner * bytes_, split_.inner, count, flip_, ~flip_);
      for (std::int64_t k = 0; k < count; ++k) entries[i + k] = {keys[k], i + k};
    }
  }

  std::uint32_t workers_;
  OrderKeys keys_;
  std::int64_t bytes_;
  AxisSplit split_;
  std::int64_t k_;
  std::uint64_t flip_;  // all bits, where the largest go first
  int in_, values_, positions_;
};

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  const auto& attrs = region.attrs<miniinfer_top_k_attrs>();
  const bool axis_ok = attrs.axis >= 0 && attrs.axis < in.rank && out.rank == in.rank;
  if (region.node_count() != 1 || order_keys(in.dtype) == nullptr || out.dtype != in.dtype ||
      !axis_ok || out.dims[attrs.axis] > in.dims[attrs.axis] || !is_row_major(in) ||
      !is_row_major(out)) {
    std::snprintf(choice.reason, sizeof choice.reason,
                  "top_k: element type %d, axis %d of %d: numbers, a k no larger than the axis and "
                  "row-major operands are served",
                  in.dtype, attrs.axis, in.rank);
    return MINIINFER_UNSUPPORTED;
  }
  const auto n = static_cast<std::uint64_t>(in.dims[attrs.axis]);
  choice.workspace_bytes = worker_count() * align64(n * sizeof(Entry));
  choice.cost_ns = 100 + 10 * static_cast<std::uint64_t>(element_count(in));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

}  // namespace

const Family kTopK = {MINIINFER_TOP_K, sizeof(miniinfer_top_k_attrs), support,
                      [](const RegionView& region) -> std::unique_ptr<Kernel> {
                        return std::make_unique<TopK>(region);
                      }};

}  // namespace miniinfer::cpu
