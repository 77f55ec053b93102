// non_max_suppression/1.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/cpu/parallel.hpp"
#include "core/cpu/rows.hpp"
#include "miniinfer/abi/op/select.h"

namespace miniinfer::cpu {
namespace {

struct Candidate {
  float score;
  std::int64_t box;
};

struct Corners {
  float x0, y0, x1, y1;
  float area() const { return (x1 - x0) * (y1 - y0); }
};

Corners corners(const float* box, bool center_point) {
  if (center_point) {
    return {box[0] - box[2] / 2, box[1] - box[3] / 2, box[0] + box[2] / 2, box[1] + box[3] / 2};
  }
  // Either pair of diagonal corners may be given.
  return {std::min(box[1], box[3]), std::min(box[0], box[2]), std::max(box[1], box[3]),
          std::max(box[0], box[2])};
}

bool overlap(const Corners& a, const Corners& b, float threshold) {
  const float width = std::min(a.x1, b.x1) - std::max(a.x0, b.x0);
  const float height = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  if (!(width > 0) || !(height > 0)) return false;
  const float both = width * height;
  const float area_a = a.area(), area_b = b.area();
  const float all = area_a + area_b - both;
  if (!(area_a > 0) || !(area_b > 0) || !(all > 0)) return false;
  return both / all > threshold;
}

class NonMaxSuppression final : public Kernel {
 public:
  explicit NonMaxSuppression(const RegionView& region)
      : attrs_(region.attrs<miniinfer_non_max_suppression_attrs>()),
        batches_(region.in(1).dims[0]),
        classes_(region.in(1).dims[1]),
        boxes_count_(region.in(1).dims[2]),
        room_(region.out(0).dims[0]),
        boxes_(region.arg_in(0)),
        scores_(region.arg_in(1)),
        out_(region.arg_out(0)),
        count_(region.arg_out(1)) {}

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const auto* boxes = reinterpret_cast<const float*>(address(run.args[boxes_]));
    const auto* scores = reinterpret_cast<const float*>(address(run.args[scores_]));
    auto* out = reinterpret_cast<std::int64_t*>(address(run.args[out_]));
    auto* candidates = reinterpret_cast<Candidate*>(address(run.workspace));
    std::int64_t written = 0;
    for (std::int64_t batch = 0; batch < batches_; ++batch) {
      for (std::int64_t c = 0; c < classes_; ++c) {
        written =
            select(boxes + batch * boxes_count_ * 4, scores + (batch * classes_ + c) * boxes_count_,
                   candidates, batch, c, out, written);
      }
    }
    if (count_ >= 0) *reinterpret_cast<std::int64_t*>(address(run.args[count_])) = written;
    return MINIINFER_OK;
  }

 private:
  std::int64_t select(const float* boxes, const float* scores, Candidate* candidates,
                      std::int64_t batch, std::int64_t c, std::int64_t* out,
                      std::int64_t written) const noexcept {
    std::int64_t n = 0;
    for (std::int64_t i = 0; i < boxes_count_; ++i) {
      // Without a threshold even a score of -infinity may be chosen; NaN never is.
      const bool passes = std::isinf(attrs_.score_threshold) && attrs_.score_threshold < 0
                              ? scores[i] == scores[i]
                              : scores[i] > attrs_.score_threshold;
      if (passes) candidates[n++] = {scores[i], i};
    }
    std::sort(candidates, candidates + n, [](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : a.box < b.box;
    });
    const std::int64_t first = written;
    for (std::int64_t i = 0; i < n; ++i) {
      if (written - first >= attrs_.max_per_class || written >= room_) break;
      const Corners box = corners(boxes + candidates[i].box * 4, attrs_.center_point != 0);
      bool keep = true;
      for (std::int64_t j = first; j < written && keep; ++j) {
        keep = !overlap(box, corners(boxes + out[j * 3 + 2] * 4, attrs_.center_point != 0),
                        attrs_.iou_threshold);
      }
      if (!keep) continue;
      out[written * 3] = batch;
      out[written * 3 + 1] = c;
      out[written * 3 + 2] = candidates[i].box;
      ++written;
    }
    return written;
  }

  miniinfer_non_max_suppression_attrs attrs_;
  std::int64_t batches_, classes_, boxes_count_, room_;
  int boxes_, scores_, out_, count_;
};

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  const miniinfer_value& boxes = region.in(0);
  const miniinfer_value& scores = region.in(1);
  if (region.node_count() != 1 || boxes.dtype != MINIINFER_FLOAT32 ||
      scores.dtype != MINIINFER_FLOAT32 || boxes.rank != 3 || scores.rank != 3 ||
      !is_row_major(boxes) || !is_row_major(scores) || region.out(0).dtype != MINIINFER_INT64) {
    std::snprintf(
        choice.reason, sizeof choice.reason,
        "non_max_suppression: element types %d and %d, ranks %d and %d: float32 of rank 3 "
        "is served",
        boxes.dtype, scores.dtype, boxes.rank, scores.rank);
    return MINIINFER_UNSUPPORTED;
  }
  choice.workspace_bytes = align64(static_cast<std::uint64_t>(scores.dims[2]) * sizeof(Candidate));
  choice.cost_ns = 200 + 50 * static_cast<std::uint64_t>(element_count(scores));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

}  // namespace

const Family kNonMaxSuppression = {MINIINFER_NON_MAX_SUPPRESSION,
                                   sizeof(miniinfer_non_max_suppression_attrs), support,
                                   [](const RegionView& region) -> std::unique_ptr<Kernel> {
                                     return std::make_unique<NonMaxSuppression>(region);
                                   }};

}  // namespace miniinfer::cpu
