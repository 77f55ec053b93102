// conv_transpose/1. float32 is a matrix product, transposed weights [out channels * taps, in
// channels] times the input, whose rows are then added into the output where their tap puts them.

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "core/cpu/conv_shape.hpp"
#include "core/cpu/epilogue.hpp"
#include "core/cpu/gemm_driver.hpp"
#include "core/cpu/parallel.hpp"

namespace miniinfer::cpu {
namespace {

constexpr double kFlopsPerNs = 40;
constexpr std::int64_t kTilePanels = 8;

// A work item owns some output channels of an image and goes over the input in tiles of columns.
struct TransposeTiles {
  TransposeTiles(const ConvShape& s, const GemmTable& t) {
    channels = std::clamp<std::int64_t>((4 * t.mr + s.taps - 1) / s.taps, 1,
                                        std::max<std::int64_t>(1, s.out_channels));
    blocks = (s.out_channels + channels - 1) / channels;
    plan.m = channels * s.taps;
    plan.n = std::min<std::int64_t>(s.in_plane, kTilePanels * t.nr);
    plan.k = s.in_channels;
    columns = align64(plan.packed_b_floats(t) * 4);
    scratch = columns + align64(static_cast<std::uint64_t>(plan.m * plan.n) * 4);
    packed = align64(static_cast<std::uint64_t>(s.group * blocks) * plan.packed_a_floats(t) * 4);
  }
  std::int64_t channels, blocks;
  GemmPlan plan;                           // of one block of channels and one tile of columns
  std::uint64_t columns, scratch, packed;  // bytes
};

class ConvTranspose final : public Kernel {
 public:
  explicit ConvTranspose(const RegionView& region)
      : table_(gemm()),
        workers_(worker_count()),
        shape_(region, true),
        tiles_(shape_, table_),
        epilogue_(region),
        x_(region.arg_in(0)),
        w_(region.arg_in(1)),
        bias_(has_bias(region) ? region.arg_in(2) : -1),
        constant_((region.in(1).flags & MINIINFER_VALUE_CONSTANT) != 0) {}

  static std::uint64_t workspace(const RegionView& region, std::uint32_t workers) {
    const TransposeTiles tiles(ConvShape(region, true), gemm());
    const bool constant = (region.in(1).flags & MINIINFER_VALUE_CONSTANT) != 0;
    return (constant ? 0 : tiles.packed) + workers * tiles.scratch;
  }

  miniinfer_code packed(std::uint32_t operand, miniinfer_packed& out) const noexcept override {
    out.bytes = 0;
    if (static_cast<int>(operand) != w_ || !constant_) return MINIINFER_OK;
    out.bytes = std::max<std::uint64_t>(64, tiles_.packed);
    out.alignment = 64;
    std::snprintf(out.key, sizeof out.key, "cpu.conv_transpose.rows%d.g%lld", table_.mr,
                  static_cast<long long>(shape_.group));
    return MINIINFER_OK;
  }

  miniinfer_code pack(std::uint32_t, const std::byte* src, std::byte* dst) const noexcept override {
    pack_weights(reinterpret_cast<float*>(dst), reinterpret_cast<const float*>(src), 0,
                 shape_.group * tiles_.blocks);
    return MINIINFER_OK;
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const ConvShape& s = shape_;
    std::byte* workspace = address(run.workspace);
    const auto* x = reinterpret_cast<const float*>(address(run.args[x_]));
    const auto* w = reinterpret_cast<const float*>(address(run.args[w_]));
    const auto* bias =
        bias_ < 0 ? nullptr : reinterpret_cast<const float*>(address(run.args[bias_]));
    auto* y = reinterpret_cast<float*>(address(run.args[epilogue_.target()]));
    if (!constant_) {
      auto* to = reinterpret_cast<float*>(workspace);
      parallel(s.group * tiles_.blocks, 0.5 * static_cast<double>(tiles_.plan.m * s.in_channels),
               workers_, [&, w](std::int64_t begin, std::int64_t end, std::uint32_t) {
                 pack_weights(to, w, begin, end);
               });
      w = to;
      workspace += tiles_.packed;
    }
    std::byte* epilogue_scratch = workspace + workers_ * tiles_.scratch;
    Epilogue::Operands operands;
    if (epilogue_.has_loop()) epilogue_.bind(run, &operands);
    const std::int64_t items = s.batch * s.group * tiles_.blocks;
    const double cost = items == 0 ? 0 : s.flops() / kFlopsPerNs / static_cast<double>(items) + 200;
    parallel(
        items, cost, workers_, [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t image = i / tiles_.blocks, block = i % tiles_.blocks;
            const std::int64_t first = block * tiles_.channels;
            const std::int64_t count = std::min(tiles_.channels, s.out_channels - first);
            const std::int64_t group = image % s.group;
            const std::int64_t at = (image * s.out_channels + first) * s.out_plane;
            fill(y + at, bias == nullptr ? nullptr : bias + group * s.out_channels + first, count);
            add_products(x + image * s.in_channels * s.in_plane,
                         w + static_cast<std::uint64_t>(group * tiles_.blocks + block) *
                                 tiles_.plan.packed_a_floats(table_),
                         y + at, count, workspace + worker * tiles_.scratch);
            finish(run, operands, at, count * s.out_plane, y,
                   epilogue_scratch + worker * align64(epilogue_.scratch_bytes()));
          }
        });
    return MINIINFER_OK;
  }

 private:
  void pack_weights(float* to, const float* w, std::int64_t begin, std::int64_t end) const {
    const ConvShape& s = shape_;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t group = i / tiles_.blocks;
      const std::int64_t first = i % tiles_.blocks * tiles_.channels;
      GemmPlan plan = tiles_.plan;
      plan.m = std::min(tiles_.channels, s.out_channels - first) * s.taps;
      pack_rows(table_, plan,
                to + static_cast<std::uint64_t>(i) * tiles_.plan.packed_a_floats(table_),
                w + group * s.in_channels * s.out_channels * s.taps + first * s.taps, 1,
                s.out_channels * s.taps, 0, plan.row_panels(table_));
    }
  }

  void fill(float* y, const float* bias, std::int64_t count) const noexcept {
    for (std::int64_t m = 0; m < count; ++m) {
      std::fill_n(y + m * shape_.out_plane, shape_.out_plane, bias == nullptr ? 0.0f : bias[m]);
    }
  }

  void add_products(const float* x, const float* w, float* y, std::int64_t channels,
                    std::byte* scratch) const noexcept {
    const ConvShape& s = shape_;
    auto* columns = reinterpret_cast<float*>(scratch);
    auto* products = reinterpret_cast<float*>(scratch + tiles_.columns);
    for (std::int64_t n = 0; n < s.in_plane; n += tiles_.plan.n) {
      GemmPlan plan = tiles_.plan;
      plan.m = channels * s.taps;
      plan.n = std::min(plan.n, s.in_plane - n);
      pack_columns(table_, plan, columns, x + n, 1, s.in_plane, 0, plan.column_panels(table_));
      const GemmOperands operands = {w,        true,   0,       0,     columns, true, 0,
                                     products, plan.n, nullptr, false, 0,       0};
      multiply(table_, plan, operands, 0, plan.row_panels(table_), 0, plan.column_panels(table_));
      for (std::int64_t m = 0; m < channels; ++m) {
        for (std::int64_t t = 0; t < s.taps; ++t) {
          add_row(y + m * s.out_plane, products + (m * s.taps + t) * plan.n, n, plan.n, s.tap(t));
        }
      }
    }
  }

  // Adds a tap's products of input positions [begin, begin + count), by rows of the input.
  void add_row(float* y, const float* product, std::int64_t begin, std::int64_t count,
               const ConvShape::Axes& tap) const noexcept {
    const ConvShape& s = shape_;
    ConvShape::Axes shift;
    for (int i = 0; i < 3; ++i) shift[i] = tap[i] * s.dilation[i] - s.pad[i];
    for (std::int64_t done = 0; done < count;) {
      const std::int64_t at = begin + done;
      const std::int64_t column = at % s.in[2];
      const std::int64_t length = std::min(s.in[2] - column, count - done);
      const std::int64_t z = at / (s.in[1] * s.in[2]) * s.stride[0] + shift[0];
      const std::int64_t line = at / s.in[2] % s.in[1] * s.stride[1] + shift[1];
      if (z >= 0 && z < s.out[0] && line >= 0 && line < s.out[1]) {
        // Positions column * stride + shift that lie inside the output row.
        const std::int64_t step = s.stride[2];
        const std::int64_t low = shift[2] >= 0 ? 0 : (-shift[2] + step - 1) / step;
        const std::int64_t room = s.out[2] - shift[2];
        const std::int64_t high = room <= 0 ? 0 : (room + step - 1) / step;
        float* row = y + (z * s.out[1] + line) * s.out[2];
        const std::int64_t from = std::max(column, low), to = std::min(column + length, high);
        const float* p = product + done - column;
        if (step == 1) {
          for (std::int64_t i = from; i < to; ++i) row[i + shift[2]] += p[i];
        } else {
          for (std::int64_t i = from; i < to; ++i) row[i * step + shift[2]] += p[i];
        }
      }
      done += length;
    }
  }

  void finish(const miniinfer_run& run, const Epilogue::Operands& operands, std::int64_t begin,
              std::int64_t count, float* y, std::byte* scratch) const noexcept {
    if (epilogue_.is_clamp()) {
      for (std::int64_t i = begin; i < begin + count; ++i) {
        const float low = y[i] < epilogue_.low() ? epilogue_.low() : y[i];
        y[i] = low > epilogue_.high() ? epilogue_.high() : low;
      }
    }
    if (epilogue_.has_loop()) epilogue_.apply(operands, begin, count, scratch, run);
  }

  const GemmTable& table_;
  std::uint32_t workers_;
  ConvShape shape_;
  TransposeTiles tiles_;
  Epilogue epilogue_;
  int x_, w_, bias_;
  bool constant_;
};

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  if (!conv_is_served(region, true, choice)) return MINIINFER_UNSUPPORTED;
  const std::uint32_t workers = worker_count();
  const bool is_float = region.in(0).dtype == MINIINFER_FLOAT32;
  if (is_float) choice.workspace_bytes = ConvTranspose::workspace(region, workers);
  if (!Epilogue::support(region, workers, choice)) return MINIINFER_UNSUPPORTED;
  choice.cost_ns = static_cast<std::uint64_t>(500 + ConvShape(region, true).flops() /
                                                        ((is_float ? kFlopsPerNs : 1) * workers));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) {
  if (region.in(0).dtype != MINIINFER_FLOAT32) return make_conv_plain(region, true);
  return std::make_unique<ConvTranspose>(region);
}

}  // namespace

const Family kConvTranspose = {MINIINFER_CONV_TRANSPOSE, sizeof(miniinfer_conv_attrs), support,
                               create};

}  // namespace miniinfer::cpu
