// attention/1. A task takes a block of the queries of one head and goes over the keys in blocks. Of
// a panel of queries the scores of one block of keys are made, raised and multiplied with the
// values while they are in the nearest cache; the whole matrix of scores never exists. Where there
// are several blocks of keys, the largest score and the sum so far are kept for each query (Milakov
// and Gimelshein, "Online normalizer calculation for softmax", 2018), and what was added up before
// is scaled to a new largest score (Dao et al., "FlashAttention", 2022).

#include "miniinfer/abi/op/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/cpu/gemm_driver.hpp"
#include "core/cpu/parallel.hpp"
#include "core/cpu/primitives.hpp"
#include "core/cpu/rows.hpp"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer::cpu {
namespace {

constexpr std::int64_t kWholeKeys = 512;  // up to here one block: a panel's scores are 24 KiB
constexpr std::int64_t kKeyBlock = 256;
constexpr std::int64_t kQueryBlock = 240;
// With no more keys a panel of queries meets so few that packing it costs more than it gives: it is
// read where it is, and the scores are scaled (12 heads of 64: 27.6 us packed and 22.5 so with 16
// keys, 188 and 177 with 64; 2,530 and 2,500 with 256, and with 384 it is no better).
constexpr std::int64_t kFewKeys = 256;
constexpr double kFlopsPerNs = 40;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct AttentionShape {
  explicit AttentionShape(const RegionView& region) {
    const miniinfer_value& q = region.in(0);
    const miniinfer_value& k = region.in(1);
    batch = q.dims[0];
    heads = q.dims[1];
    group_heads = heads / k.dims[1];
    queries = q.dims[2];
    keys = k.dims[2];
    depth = q.dims[3];
    width = region.in(2).dims[3];
    key_block = keys <= kWholeKeys ? keys : kKeyBlock;
    query_block = std::min(queries, kQueryBlock);
  }
  std::int64_t query_blocks() const { return (queries + query_block - 1) / query_block; }
  std::int64_t tasks() const { return batch * heads * query_blocks(); }
  // Blocks of fewer queries, until every worker has some; a block packs its keys anew.
  void share(std::uint32_t workers, std::int64_t panel) {
    while (tasks() < 2 * static_cast<std::int64_t>(workers) && query_block > 2 * panel) {
      query_block = (query_block / 2 + panel - 1) / panel * panel;
    }
  }

  std::int64_t batch, heads, group_heads, queries, keys, depth, width;
  std::int64_t key_block, query_block;
};

// Where a task keeps what, in bytes.
struct AttentionSpace {
  AttentionSpace(const AttentionShape& s, const GemmTable& t, bool narrow) {
    std::uint64_t at = 0;
    const auto take = [&](std::int64_t floats) {
      const std::uint64_t begin = at;
      at += align64(static_cast<std::uint64_t>(floats) * 4);
      return begin;
    };
    const auto whole = [](std::int64_t n, std::int64_t of) { return (n + of - 1) / of * of; };
    q = take(whole(s.query_block, t.mr) * s.depth);
    k = take(whole(s.key_block, t.nr) * s.depth);
    v = take(whole(s.width, t.nr) * s.key_block);
    scores = take(t.mr * s.key_block);
    y = take(s.query_block * s.width);
    top = take(s.query_block);
    sum = take(s.query_block);
    mask = take(s.key_block);
    const std::int64_t rows = std::max(s.query_block, s.key_block);
    wide = narrow ? take(rows * std::max(s.depth, s.width)) : 0;
    bytes = at;
  }
  std::uint64_t q, k, v, scores, y, top, sum, mask, wide, bytes;
};

// A [batch, heads, rows, columns] in memory; strides in elements, 0 along axes of size 1.
struct Strided {
  int arg = -1;
  std::array<std::int64_t, 4> strides{};
};

bool wants_mask(const RegionView& region) {
  return region.node().in_count > 3 && !is_absent(region.in(3));
}

class AttentionKernel final : public Kernel {
 public:
  explicit AttentionKernel(const RegionView& region)
      : gemm_(gemm()),
        table_(primitives()),
        workers_(worker_count()),
        shape_(make_shape(region)),
        dtype_(region.in(0).dtype),
        bytes_(static_cast<std::int64_t>(element_bytes(dtype_))),
        narrow_(dtype_ != MINIINFER_FLOAT32),
        values_in_place_(shape_.width % gemm_.nr == 0),
        queries_in_place_(!narrow_ && shape_.keys <= kFewKeys),
        space_(shape_, gemm_, narrow_),
        attrs_(region.attrs<miniinfer_attention_attrs>()),
        q_(strided(region.in(0), region.arg_in(0))),
        k_(strided(region.in(1), region.arg_in(1))),
        v_(strided(region.in(2), region.arg_in(2))),
        y_(strided(region.out(0), region.arg_out(0))) {
    if (wants_mask(region)) mask_ = strided(region.in(3), region.arg_in(3));
  }

  static AttentionShape make_shape(const RegionView& region) {
    AttentionShape shape(region);
    shape.share(worker_count(), gemm().mr);
    return shape;
  }
  static std::uint64_t workspace_bytes(const RegionView& region) {
    const bool narrow = region.in(0).dtype != MINIINFER_FLOAT32;
    return AttentionSpace(make_shape(region), gemm(), narrow).bytes * worker_count();
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const double cost = 2.0 * static_cast<double>(shape_.query_block * shape_.keys) *
                            static_cast<double>(shape_.depth + shape_.width) / kFlopsPerNs +
                        100;
    parallel(shape_.tasks(), cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               Task task(*this, run, address(run.workspace) + worker * space_.bytes);
               for (std::int64_t i = begin; i < end; ++i) task.run(i);
             });
    return MINIINFER_OK;
  }

 private:
  static Strided strided(const miniinfer_value& value, int arg) {
    Strided operand;
    operand.arg = arg;
    for (std::size_t axis = 0; axis < 4; ++axis) {
      operand.strides[axis] = value.dims[axis] == 1 ? 0 : value.strides[axis];
    }
    return operand;
  }

  // A worker's memory, and the task it is at.
  class Task {
   public:
    Task(const AttentionKernel& kernel, const miniinfer_run& run, std::byte* scratch)
        : kernel_(kernel), run_(run), scratch_(scratch) {}

    void run(std::int64_t number) {
      const AttentionShape& s = kernel_.shape_;
      const std::int64_t pair = number / s.query_blocks();
      batch_ = pair / s.heads;
      head_ = pair % s.heads;
      first_ = number % s.query_blocks() * s.query_block;
      rows_ = std::min(s.query_block, s.queries - first_);
      pack_queries();
      const std::int64_t end = keys_of(first_ + rows_ - 1);
      for (std::int64_t row = 0; row < rows_; ++row) {
        top()[row] = -kInfinity;
        sum()[row] = 0;
      }
      if (end <= 0) std::fill(y(), y() + rows_ * s.width, 0.0f);
      const std::int64_t panel = kernel_.gemm_.mr;
      for (std::int64_t key = 0; key < end; key += s.key_block) {
        const std::int64_t keys = std::min(s.key_block, end - key);
        pack_keys(key, keys);
        for (std::int64_t row = 0; row < rows_; row += panel) {
          run_panel(row, std::min(panel, rows_ - row), key, keys);
        }
      }
      for (std::int64_t row = 0; row < rows_; ++row) store_row(row);
    }

   private:
    float* at(std::uint64_t offset) const { return reinterpret_cast<float*>(scratch_ + offset); }
    float* top() const { return at(kernel_.space_.top); }
    float* sum() const { return at(kernel_.space_.sum); }
    float* y() const { return at(kernel_.space_.y); }

    // How many keys a query meets.
    std::int64_t keys_of(std::int64_t query) const {
      const std::int64_t keys = kernel_.shape_.keys;
      if ((kernel_.attrs_.flags & MINIINFER_ATTENTION_CAUSAL) == 0) return keys;
      return std::clamp<std::int64_t>(query + 1 + std::clamp(kernel_.attrs_.past, -query - 1, keys),
                                      0, keys);
    }

    std::byte* place(const Strided& operand, std::int64_t head, std::int64_t row) const {
      const std::int64_t offset =
          batch_ * operand.strides[0] + head * operand.strides[1] + row * operand.strides[2];
      return address(run_.args[operand.arg]) + offset * kernel_.bytes_;
    }

    // Rows in float32; *stride becomes what lies between them.
    const float* widen(const Strided& operand, std::int64_t head, std::int64_t row,
                       std::int64_t rows, std::int64_t columns, std::int64_t* stride) const {
      const std::byte* from = place(operand, head, row);
      *stride = operand.strides[2];
      if (!kernel_.narrow_) return reinterpret_cast<const float*>(from);
      float* to = at(kernel_.space_.wide);
      for (std::int64_t i = 0; i < rows; ++i) {
        kernel_.table_.cast[kernel_.dtype_][MINIINFER_FLOAT32](
            to + i * columns, from + i * *stride * kernel_.bytes_, nullptr, nullptr, columns);
      }
      *stride = columns;
      return to;
    }

    // The scale goes into the queries, which are fewer than scores.
    void pack_queries() {
      const GemmTable& t = kernel_.gemm_;
      const GemmPlan plan{rows_, 0, kernel_.shape_.depth};
      std::int64_t stride;
      const float* from = widen(kernel_.q_, head_, first_, rows_, plan.k, &stride);
      queries_ = from;
      queries_step_ = stride;
      if (kernel_.queries_in_place_) return;
      float* to = at(kernel_.space_.q);
      queries_ = to;
      pack_rows(t, plan, to, from, stride, 1, 0, plan.row_panels(t));
      kernel_.table_.scalar[MINIINFER_PW_MUL][1](
          to, to, &kernel_.attrs_.scale, nullptr,
          static_cast<std::int64_t>(plan.packed_a_floats(t)));
    }

    void pack_keys(std::int64_t first, std::int64_t keys) {
      const GemmTable& t = kernel_.gemm_;
      const AttentionShape& s = kernel_.shape_;
      const std::int64_t group = head_ / s.group_heads;
      std::int64_t stride;
      const GemmPlan k_plan{0, keys, s.depth};
      const float* k = widen(kernel_.k_, group, first, keys, s.depth, &stride);
      pack_columns(t, k_plan, at(kernel_.space_.k), k, stride, 1, 0, k_plan.column_panels(t));
      const GemmPlan v_plan{0, s.width, keys};
      const float* v = widen(kernel_.v_, group, first, keys, s.width, &stride);
      values_ = v;
      values_step_ = stride;
      if (kernel_.values_in_place_) return;
      pack_columns(t, v_plan, at(kernel_.space_.v), v, 1, stride, 0, v_plan.column_panels(t));
      values_ = at(kernel_.space_.v);
    }

    void run_panel(std::int64_t row, std::int64_t rows, std::int64_t key, std::int64_t keys) const {
      const GemmTable& t = kernel_.gemm_;
      const AttentionShape& s = kernel_.shape_;
      float* scores = at(kernel_.space_.scores);
      GemmOperands x{};
      const GemmPlan score_plan{rows, keys, s.depth};
      x.a_packed = !kernel_.queries_in_place_;
      x.a = queries_ + row * (x.a_packed ? s.depth : queries_step_);
      x.a_row = queries_step_;
      x.a_step = 1;
      x.b = at(kernel_.space_.k);
      x.b_packed = true;
      x.c = scores;
      x.c_row = s.key_block;
      multiply(t, score_plan, x, 0, 1, 0, score_plan.column_panels(t));
      if (kernel_.queries_in_place_) {
        kernel_.table_.scalar[MINIINFER_PW_MUL][1](scores, scores, &kernel_.attrs_.scale, nullptr,
                                                   (rows - 1) * s.key_block + keys);
      }

      for (std::int64_t i = 0; i < rows; ++i) {
        raise_row(scores + i * s.key_block, row + i, key, keys);
      }
      const GemmPlan value_plan{rows, s.width, keys};
      x.a = scores;
      x.a_packed = false;
      x.a_row = s.key_block;
      x.a_step = 1;
      x.b = values_;
      x.b_packed = !kernel_.values_in_place_;
      x.b_step = values_step_;
      x.c = y() + row * s.width;
      x.c_row = s.width;
      x.accumulate = key > 0;
      multiply(t, value_plan, x, 0, 1, 0, value_plan.column_panels(t));
    }

    // Scores become powers; what the row was before is brought to the new largest score.
    void raise_row(float* scores, std::int64_t row, std::int64_t key, std::int64_t keys) const {
      const PrimitiveTable& table = kernel_.table_;
      const std::int64_t meets = std::clamp<std::int64_t>(keys_of(first_ + row) - key, 0, keys);
      std::fill(scores + meets, scores + keys, 0.0f);
      if (meets == 0) return;
      if (kernel_.mask_.arg >= 0) {
        const float* mask = mask_row(first_ + row, key, meets);
        table.op[MINIINFER_PW_ADD][MINIINFER_FLOAT32](scores, scores, mask, nullptr, meets);
      }
      float& top = this->top()[row];
      float most = scores[0];
      table.row[kRowMax][MINIINFER_FLOAT32](&most, scores, meets);
      if (top > most) most = top;
      const float base = most == -kInfinity ? 0 : most;
      const float total = table.exp_sum_f32(scores, scores, base, meets);
      float& sum = this->sum()[row];
      if (key == 0) {
        sum = total;
      } else {
        const float factor = std::exp(top - base);
        float* y_row = y() + row * kernel_.shape_.width;
        table.scalar[MINIINFER_PW_MUL][1](y_row, y_row, &factor, nullptr, kernel_.shape_.width);
        sum = sum * factor + total;
      }
      top = most;
    }

    const float* mask_row(std::int64_t query, std::int64_t key, std::int64_t keys) const {
      const Strided& mask = kernel_.mask_;
      const std::int64_t step = mask.strides[3];
      const std::byte* from = place(mask, head_, query) + key * step * kernel_.bytes_;
      if (!kernel_.narrow_ && step == 1) return reinterpret_cast<const float*>(from);
      float* to = at(kernel_.space_.mask);
      const Primitive cast = kernel_.table_.cast[kernel_.dtype_][MINIINFER_FLOAT32];
      if (step == 1) {
        cast(to, from, nullptr, nullptr, keys);
      } else {
        for (std::int64_t i = 0; i < keys; ++i) {
          cast(to + i, from + i * step * kernel_.bytes_, nullptr, nullptr, 1);
        }
      }
      return to;
    }

    void store_row(std::int64_t row) const {
      const std::int64_t n = kernel_.shape_.width;
      float* from = y() + row * n;
      const float sum = this->sum()[row];
      std::byte* to = place(kernel_.y_, head_, first_ + row);
      if (!(sum > 0)) {  // no key counts, or one is NaN
        const bool zero = (kernel_.attrs_.flags & MINIINFER_ATTENTION_NAN_TO_ZERO) != 0;
        std::fill(from, from + n, zero ? 0 : std::numeric_limits<float>::quiet_NaN());
      }
      const float factor = sum > 0 ? 1 / sum : 1;
      if (!kernel_.narrow_) {
        kernel_.table_.scalar[MINIINFER_PW_MUL][1](to, from, &factor, nullptr, n);
        return;
      }
      kernel_.table_.scalar[MINIINFER_PW_MUL][1](from, from, &factor, nullptr, n);
      kernel_.table_.cast[MINIINFER_FLOAT32][kernel_.dtype_](to, from, nullptr, nullptr, n);
    }

    const AttentionKernel& kernel_;
    const miniinfer_run& run_;
    std::byte* scratch_;
    std::int64_t batch_ = 0, head_ = 0, first_ = 0, rows_ = 0;
    const float* queries_ = nullptr;  // of the block, packed or in rows
    std::int64_t queries_step_ = 0;
    const float* values_ = nullptr;  // of the block of keys, packed or in rows
    std::int64_t values_step_ = 0;
  };

  const GemmTable& gemm_;
  const PrimitiveTable& table_;
  std::uint32_t workers_;
  AttentionShape shape_;
  int dtype_;
  std::int64_t bytes_;
  bool narrow_;
  bool values_in_place_;  // whole vectors may be read from a row
  bool queries_in_place_;
  AttentionSpace space_;
  miniinfer_attention_attrs attrs_;
  Strided q_, k_, v_, y_, mask_;
};

bool shapes_fit(const RegionView& region) {
  const miniinfer_value* operands[] = {&region.in(0), &region.in(1), &region.in(2), &region.out(0)};
  for (const miniinfer_value* value : operands) {
    if (value->rank != 4 || value->block > 1 || value->dtype != operands[0]->dtype ||
        element_count(*value) == 0 || (value->dims[3] != 1 && value->strides[3] != 1)) {
      return false;
    }
  }
  const auto [q, k, v, y] =
      std::array{dims(*operands[0]), dims(*operands[1]), dims(*operands[2]), dims(*operands[3])};
  bool fit = k[0] == q[0] && v[0] == q[0] && y[0] == q[0] && q[1] % k[1] == 0 && v[1] == k[1] &&
             y[1] == q[1] && v[2] == k[2] && y[2] == q[2] && k[3] == q[3] && y[3] == v[3];
  if (!wants_mask(region)) return fit;
  const miniinfer_value& mask = region.in(3);
  const std::int64_t scores[] = {q[0], q[1], q[2], k[2]};
  fit = fit && mask.rank == 4 && mask.block <= 1 && mask.dtype == operands[0]->dtype;
  for (int axis = 0; axis < 4 && fit; ++axis) {
    fit = mask.dims[axis] == 1 || mask.dims[axis] == scores[axis];
  }
  return fit;
}

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  const int dtype = region.in(0).dtype;
  if (region.node_count() != 1 || !is_real_float(dtype) || dtype == MINIINFER_FLOAT64 ||
      !shapes_fit(region)) {
    return refuse_region(choice,
                         "attention: %u nodes, element type %d: one node, a float type of at most "
                         "32 bits, fitting shapes and contiguous last axes are served",
                         region.node_count(), dtype);
  }
  const AttentionShape shape(region);
  const double flops = 2.0 * static_cast<double>(shape.batch * shape.heads * shape.queries) *
                       static_cast<double>(shape.keys) *
                       static_cast<double>(shape.depth + shape.width);
  choice.workspace_bytes = AttentionKernel::workspace_bytes(region);
  choice.cost_ns = static_cast<std::uint64_t>(100 + flops / (kFlopsPerNs * worker_count()));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) {
  return std::make_unique<AttentionKernel>(region);
}

}  // namespace

const Family kAttention = {MINIINFER_ATTENTION, sizeof(miniinfer_attention_attrs), support, create};

}  // namespace miniinfer::cpu
