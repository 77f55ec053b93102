// top_k/1.

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "core/cpu/parallel.hpp"
#include "core/cpu/rows.hpp"
#include "core/cpu/select.hpp"
#include "miniinfer/abi/op/select.h"

namespace miniinfer::cpu {
namespace {

// What is sorted: a value and where it was.
template <class T>
struct Entry {
  T value;
  std::int64_t position;
};
constexpr std::uint64_t kEntryBytes = 16;

// Whether a goes before b. NaN counts as larger than every number.
template <class T>
bool precedes(const Entry<T>& a, const Entry<T>& b, bool largest) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan || b_nan) {
    if (a_nan != b_nan) return a_nan == largest;
    return a.position < b.position;
  }
  if (a.value == b.value) return a.position < b.position;
  return largest ? a.value > b.value : a.value < b.value;
}

class TopK final : public Kernel {
 public:
  explicit TopK(const RegionView& region)
      : workers_(worker_count()),
        dtype_(region.in(0).dtype),
        in_(region.arg_in(0)),
        values_(region.arg_out(0)),
        positions_(region.arg_out(1)) {
    const auto& attrs = region.attrs<miniinfer_top_k_attrs>();
    split_ = split_at(region.in(0), attrs.axis);
    k_ = region.out(0).dims[attrs.axis];
    largest_ = attrs.largest != 0;
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    with_element_type(dtype_, [&](auto type) { run_as<decltype(type)>(run); });
    return MINIINFER_OK;
  }

 private:
  template <class T>
  void run_as(const miniinfer_run& run) const noexcept {
    static_assert(sizeof(Entry<T>) <= kEntryBytes);
    const auto* in = reinterpret_cast<const T*>(address(run.args[in_]));
    auto* values = values_ < 0 ? nullptr : reinterpret_cast<T*>(address(run.args[values_]));
    auto* positions =
        positions_ < 0 ? nullptr : reinterpret_cast<std::int64_t*>(address(run.args[positions_]));
    std::byte* scratch = address(run.workspace);
    if (k_ == 0) return;
    const std::int64_t n = split_.length;
    const double cost = 8 * static_cast<double>(n) + 30 * static_cast<double>(k_);
    parallel(split_.outer * split_.inner, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               auto* entries = reinterpret_cast<Entry<T>*>(
                   scratch + worker * align64(static_cast<std::uint64_t>(n) * kEntryBytes));
               for (std::int64_t row = begin; row < end; ++row) {
                 const std::int64_t outer = row / split_.inner, inner = row % split_.inner;
                 const T* from = in + outer * n * split_.inner + inner;
                 for (std::int64_t i = 0; i < n; ++i) entries[i] = {from[i * split_.inner], i};
                 const auto before = [&](const Entry<T>& a, const Entry<T>& b) {
                   return precedes(a, b, largest_);
                 };
                 // Positions break ties, so no stable sort is needed; and sorting also serves those
                 // who do not ask for it.
                 if (k_ < n) std::nth_element(entries, entries + k_ - 1, entries + n, before);
                 std::sort(entries, entries + k_, before);
                 for (std::int64_t i = 0; i < k_; ++i) {
                   const std::int64_t to = (outer * k_ + i) * split_.inner + inner;
                   if (values != nullptr) values[to] = entries[i].value;
                   if (positions != nullptr) positions[to] = entries[i].position;
                 }
               }
             });
  }

  std::uint32_t workers_;
  int dtype_;
  AxisSplit split_;
  std::int64_t k_;
  bool largest_;
  int in_, values_, positions_;
};

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  const auto& attrs = region.attrs<miniinfer_top_k_attrs>();
  const bool axis_ok = attrs.axis >= 0 && attrs.axis < in.rank && out.rank == in.rank;
  if (region.node_count() != 1 || !with_element_type(in.dtype, [](auto) {}) ||
      out.dtype != in.dtype || !axis_ok || out.dims[attrs.axis] > in.dims[attrs.axis] ||
      !is_row_major(in) || !is_row_major(out)) {
    std::snprintf(choice.reason, sizeof choice.reason,
                  "top_k: element type %d, axis %d of %d: numbers, a k no larger than the axis and "
                  "row-major operands are served",
                  in.dtype, attrs.axis, in.rank);
    return MINIINFER_UNSUPPORTED;
  }
  const auto n = static_cast<std::uint64_t>(in.dims[attrs.axis]);
  choice.workspace_bytes = worker_count() * align64(n * kEntryBytes);
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
