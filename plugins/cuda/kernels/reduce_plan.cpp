#include "plugins/cuda/kernels/reduce_plan.hpp"

#include <algorithm>
#include <vector>

#include "miniinfer/sdk/error.hpp"
#include "plugins/cuda/kernels/rows.hpp"

namespace miniinfer::cuda {
namespace {

constexpr std::int64_t kMostPadding = 1 << 30;

[[gnu::format(printf, 1, 2)]] [[noreturn]] void refuse(const char* text, ...) {
  std::va_list args;
  va_start(args, text);
  std::string reason = sdk::vformat(text, args);
  va_end(args);
  throw sdk::Error(MINIINFER_UNSUPPORTED, "reduce: " + reason);
}

class Planner {
 public:
  Planner(const sdk::Region& region, int multiprocessors)
      : region_(region),
        attrs_(region.attrs<miniinfer_reduce_attrs>()),
        in_value_(region.in(0)),
        out_value_(region.out(0)),
        multiprocessors_(std::max(multiprocessors, 1)) {}

  ReducePlan run() {
    check_types();
    in_ = make_operand(in_value_);
    find_flat_strides();
    bool windows = false;
    for (int axis = 0; axis < in_.rank; ++axis) {
      check_axis(axis);
      windows = windows || (!is_kept(axis) && !is_whole(axis));
    }
    ReduceResult result;
    result.dtype = in_value_.dtype;
    result.kind = attrs_.kind;
    result.select_last = attrs_.select_last;
    result.wants_positions = is_arg() || has_out(region_, 1) ? 1 : 0;
    result.outputs = static_cast<std::uint32_t>(elements(out_value_));
    if (windows) {
      if (is_arg()) refuse("a window is not a whole axis for ARGMAX");
      plan_.shape = ReducePlan::Shape::Windows;
      plan_.window.result = result;
      plan_windows();
    } else {
      plan_.whole.result = result;
      plan_whole();
    }
    return plan_;
  }

 private:
  bool is_arg() const { return attrs_.kind >= MINIINFER_REDUCE_ARGMAX; }

  void check_types() const {
    if (attrs_.kind < MINIINFER_REDUCE_SUM || attrs_.kind > MINIINFER_REDUCE_ARGMIN) {
      refuse("kind %d is not known", attrs_.kind);
    }
    if (!is_numeric(in_value_.dtype)) refuse("elements of %s", sdk::dtype_name(in_value_.dtype));
    if (in_value_.rank != out_value_.rank || in_value_.rank > kMaxRank) {
      refuse("rank %d to rank %d", in_value_.rank, out_value_.rank);
    }
    if (in_value_.block > 1 || out_value_.block > 1) refuse("operands in blocks");
    if (!is_dense(out_value_)) refuse("the output has gaps");
    const miniinfer_dtype wanted = is_arg() ? miniinfer_dtype{MINIINFER_INT64} : in_value_.dtype;
    if (out_value_.dtype != wanted) {
      refuse("from %s to %s", sdk::dtype_name(in_value_.dtype), sdk::dtype_name(out_value_.dtype));
    }
    if (has_out(region_, 1)) {
      if (attrs_.kind != MINIINFER_REDUCE_MAX || region_.out(1).dtype != MINIINFER_INT64 ||
          !is_dense(region_.out(1))) {
        refuse("positions of kind %d in %s", attrs_.kind, sdk::dtype_name(region_.out(1).dtype));
      }
    }
    if (elements(in_value_) >= kSmall || elements(out_value_) >= kSmall) {
      refuse("2^31 elements or more");
    }
  }

  void check_axis(int axis) const {
    const std::int64_t numbers[] = {attrs_.window[axis], attrs_.stride[axis], attrs_.dilation[axis],
                                    attrs_.pad_begin[axis], attrs_.pad_end[axis]};
    for (const std::int64_t number : numbers) {
      if (number < 0 || number > kMostPadding) refuse("axis %d has a window out of range", axis);
    }
    if (attrs_.stride[axis] < 1 || attrs_.dilation[axis] < 1) {
      refuse("axis %d has stride %lld and dilation %lld", axis,
             static_cast<long long>(attrs_.stride[axis]),
             static_cast<long long>(attrs_.dilation[axis]));
    }
    // The last window begins and ends within 31 bits.
    const std::int64_t out = out_value_.dims[axis];
    if (out > 0 && ((out - 1) * attrs_.stride[axis] > kMostPadding ||
                    attrs_.window[axis] * attrs_.dilation[axis] > kMostPadding)) {
      refuse("axis %d has windows too far apart", axis);
    }
  }

  bool is_kept(int axis) const {
    return attrs_.window[axis] == 1 && attrs_.stride[axis] == 1 && attrs_.pad_begin[axis] == 0 &&
           in_value_.dims[axis] == out_value_.dims[axis];
  }
  bool is_whole(int axis) const {
    return attrs_.window[axis] == in_value_.dims[axis] && out_value_.dims[axis] == 1 &&
           attrs_.pad_begin[axis] == 0 && attrs_.dilation[axis] == 1;
  }

  // Where an element is in the input's own order: row-major, or column-major from axis 2 on.
  void find_flat_strides() {
    const int straight = attrs_.index_column_major != 0 ? std::min(in_.rank, 2) : in_.rank;
    std::int64_t step = 1;
    for (int axis = straight; axis < in_.rank; ++axis) {
      flat_[axis] = step;
      step *= in_.dims[axis];
    }
    for (int axis = straight - 1; axis >= 0; --axis) {
      flat_[axis] = step;
      step *= in_.dims[axis];
    }
  }

  static ReduceWalk walk_of(const Axes<2>& axes) {
    ReduceWalk walk;
    walk.rank = axes.rank;
    for (int axis = 0; axis < axes.rank; ++axis) {
      if (axes.dims[axis] > 0) {
        walk.divisors[axis] = make_fast_divisor(static_cast<unsigned>(axes.dims[axis]));
      }
      walk.steps[axis] = axes.strides[0][axis];
      walk.flat[axis] = axes.strides[1][axis];
    }
    return walk;
  }

  void plan_whole() {
    Axes<2> kept;
    Axes<2> reduced;
    for (int axis = 0; axis < in_.rank; ++axis) {
      const std::int64_t steps[] = {in_.strides[axis], flat_[axis]};
      (is_kept(axis) ? kept : reduced).push(in_.dims[axis], steps);
    }
    kept.merge();
    reduced.merge();
    ReduceWhole& whole = plan_.whole;
    whole.kept = walk_of(kept);
    whole.reduced = walk_of(reduced);
    whole.length = static_cast<std::uint32_t>(reduced.count());
    const bool outputs_side_by_side =
        kept.rank > 0 && kept.strides[0][kept.rank - 1] == 1 && kept.dims[kept.rank - 1] >= 16;
    const bool columns = whole.length <= 32 || outputs_side_by_side;
    plan_.shape = columns ? ReducePlan::Shape::Columns : ReducePlan::Shape::Rows;
    choose_parts(columns);
  }

  // Enough parts that every multiprocessor is busy, none so short that it is not worth while.
  void choose_parts(bool columns) {
    ReduceWhole& whole = plan_.whole;
    const std::int64_t outputs = std::max<std::int64_t>(whole.result.outputs, 1);
    const std::int64_t length = whole.length;
    const std::int64_t workers = columns ? (outputs + 31) / 32 : outputs;
    const std::int64_t wanted = std::int64_t{multiprocessors_} * (columns ? 8 : 32);
    const std::int64_t shortest = columns ? 256 : 2048;
    const std::int64_t parts =
        std::clamp<std::int64_t>(std::min(wanted / workers, length / shortest), 1, 1024);
    const std::int64_t part = (length + parts - 1) / parts;
    whole.part = static_cast<std::uint32_t>(part);
    whole.parts = static_cast<std::uint32_t>(part == 0 ? 1 : (length + part - 1) / part);
  }

  void plan_windows() {
    ReduceWindow& window = plan_.window;
    window.count_pad = attrs_.count_pad;
    std::int64_t outputs[kMaxRank];
    std::vector<std::int32_t> windows;
    for (int axis = 0; axis < in_.rank; ++axis) {
      ReduceWindowAxis next;
      next.in = static_cast<std::int32_t>(in_.dims[axis]);
      next.window = static_cast<std::int32_t>(attrs_.window[axis]);
      next.stride = static_cast<std::int32_t>(attrs_.stride[axis]);
      next.dilation = static_cast<std::int32_t>(attrs_.dilation[axis]);
      next.pad_begin = static_cast<std::int32_t>(attrs_.pad_begin[axis]);
      next.pad_end = static_cast<std::int32_t>(attrs_.pad_end[axis]);
      next.step = in_.strides[axis];
      next.flat = flat_[axis];
      const bool kept = is_kept(axis);
      if (kept) next.dilation = 1, next.pad_end = 0;
      if (kept && in_.dims[axis] == 1) continue;
      const int last = window.rank - 1;
      const bool after_kept = last >= 0 && (windows.empty() || windows.back() != last);
      if (kept && after_kept && window.axes[last].step == next.step * next.in &&
          window.axes[last].flat == next.flat * next.in) {
        next.in *= window.axes[last].in;
        outputs[last] *= out_value_.dims[axis];
        window.axes[last] = next;
        continue;
      }
      if (!kept) windows.push_back(window.rank);
      outputs[window.rank] = out_value_.dims[axis];
      window.axes[window.rank++] = next;
    }
    window.few_windows = windows.size() <= 2 ? 1 : 0;
    const std::size_t room = window.few_windows != 0 ? 2 : kMaxRank;
    std::fill(std::begin(window.window_axis), std::end(window.window_axis), -1);
    std::copy(windows.begin(), windows.end(), window.window_axis + room - windows.size());
    for (int axis = 0; axis < window.rank; ++axis) {
      if (outputs[axis] > 0) {
        window.outputs[axis] = make_fast_divisor(static_cast<unsigned>(outputs[axis]));
      }
    }
  }

  const sdk::Region& region_;
  miniinfer_reduce_attrs attrs_;
  const miniinfer_value& in_value_;
  const miniinfer_value& out_value_;
  int multiprocessors_;
  Operand in_;
  std::int64_t flat_[kMaxRank] = {};
  ReducePlan plan_;
};

}  // namespace

ReducePlan plan_reduce(const sdk::Region& region, int multiprocessors) {
  if (region.node_count() != 1) refuse("%u nodes", region.node_count());
  return Planner(region, multiprocessors).run();
}

}  // namespace miniinfer::cuda
