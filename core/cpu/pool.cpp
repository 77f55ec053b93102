#include "core/cpu/pool.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "core/cpu/cpu_features.hpp"
#include "core/cpu/parallel.hpp"
#include "core/cpu/reduce_shape.hpp"

namespace miniinfer::cpu {

const PoolTable& pool() noexcept {
  static const PoolTable& table = []() -> const PoolTable& {
    const CpuFeatures& f = cpu_features();
    if (f.avx512) return pool_avx512();
    if (f.avx2 && f.fma && f.f16c) return pool_avx2();
    return pool_baseline();
  }();
  return table;
}

namespace {

constexpr std::int64_t kMaxRows = 64;     // of a window; longer float sums are taken in parts
constexpr std::int64_t kMaxPitch = 8192;  // floats of a folded row
constexpr std::int64_t kBlockFloats = 4096;

PoolFold fold_of(std::int32_t kind) {
  switch (kind) {
    case MINIINFER_REDUCE_MAX:
      return kPoolMax;
    case MINIINFER_REDUCE_MIN:
      return kPoolMin;
    default:
      return kPoolSum;
  }
}

// Planes that are kept, then windows over up to three axes; missing ones come first, with size 1.
struct PoolShape {
  PoolShape(const miniinfer_reduce_attrs& attrs, const miniinfer_value& in,
            const miniinfer_value& out) {
    const ReduceShape shape = make_reduce_shape(attrs, in, out);
    std::size_t next = 0;
    const auto end = static_cast<std::size_t>(shape.outer) + 1;
    plane = axis[0] = axis[1] = {ReduceAxis::Kept, 1, 1, 1, 1, 1, 0, 0, 0};
    if (end > 1 && shape.axes[0].role == ReduceAxis::Kept) plane = shape.axes[next++];
    axis[2] = shape.inner();
    is_served = end - next <= 3 && axis[2].role == ReduceAxis::Window && axis[2].pad_begin >= 0;
    if (!is_served) return;
    int slot = 1;
    for (std::size_t i = end - 1; i-- > next;) axis[slot--] = shape.axes[i];
    const ReduceAxis& x = axis[2];
    // What whole vectors of outputs read; the input lies inside.
    const std::int64_t vectors = (x.out + pool().lanes - 1) / pool().lanes;
    is_served = axis[0].window <= kMaxRows && axis[1].window <= kMaxRows &&
                axis[0].window * axis[1].window <= kMaxRows && x.window < kMaxPitch &&
                x.stride < kMaxPitch && x.dilation < kMaxPitch && x.in < kMaxPitch &&
                x.pad_begin < kMaxPitch && x.out < kMaxPitch;
    if (!is_served) return;
    pitch = std::max(x.pad_begin + x.in,
                     vectors * pool().lanes * x.stride + (x.window - 1) * x.dilation) +
            pool().lanes;
    is_served = pitch <= kMaxPitch;
    rows =
        std::clamp<std::int64_t>(kBlockFloats / pitch, 1, std::max<std::int64_t>(1, axis[1].out));
  }
  std::uint64_t scratch_bytes() const {
    return align64(static_cast<std::uint64_t>(rows * pitch) * 4);
  }

  ReduceAxis plane;
  ReduceAxis axis[3];
  bool is_served;
  std::int64_t pitch = 0;
  std::int64_t rows = 0;  // folded before their columns are
};

class Pool final : public Kernel {
 public:
  Pool(const RegionView& region, const PoolShape& shape)
      : attrs_(region.attrs<miniinfer_reduce_attrs>()),
        shape_(shape),
        table_(pool()),
        fold_(fold_of(attrs_.kind)),
        workers_(worker_count()),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    identity_ = fold_ == kPoolMax ? -kInfinity : fold_ == kPoolMin ? kInfinity : 0.0f;
    const bool count_pad = attrs_.count_pad != 0;
    for (int i = 0; i < 2; ++i) {
      for (std::int64_t o = 0; o < shape_.axis[i].out; ++o) {
        places_[i].push_back({shape_.axis[i].inside(o), shape_.axis[i].counted(o, count_pad)});
      }
    }
    if (attrs_.kind != MINIINFER_REDUCE_MEAN) return;
    const ReduceAxis& x = shape_.axis[2];
    counts_.assign(static_cast<std::size_t>(x.out + table_.lanes), 1.0f);
    for (std::int64_t o = 0; o < x.out; ++o) {
      counts_[static_cast<std::size_t>(o)] = static_cast<float>(x.counted(o, count_pad));
    }
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const auto* in = reinterpret_cast<const float*>(address(run.args[in_]));
    auto* out = reinterpret_cast<float*>(address(run.args[out_]));
    std::byte* scratch = address(run.workspace);
    const auto& [z, y, x] = shape_.axis;
    const std::int64_t blocks = (y.out + shape_.rows - 1) / shape_.rows;
    const double row = 20 + 0.03 * static_cast<double>(x.in * z.window * y.window) +
                       0.06 * static_cast<double>(x.out * x.window);
    parallel(shape_.plane.out * z.out * blocks, row * static_cast<double>(shape_.rows), workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               auto* mine = reinterpret_cast<float*>(scratch + worker * shape_.scratch_bytes());
               // What lies before and behind the input stays as it is here.
               std::fill_n(mine, shape_.rows * shape_.pitch, identity_);
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t plane = i / blocks / shape_.axis[0].out;
                 const std::int64_t first = i % blocks * shape_.rows;
                 block(in + plane * shape_.plane.step, out, i / blocks, first, mine);
               }
             });
    return MINIINFER_OK;
  }

 private:
  struct Place {
    ReduceAxis::Range inside;
    std::int64_t counted;
  };

  // Rows [first, first + rows) of outputs, where `layer` counts planes and outputs of axis 0.
  void block(const float* in, float* out, std::int64_t layer, std::int64_t first,
             float* scratch) const noexcept {
    const auto& [z, y, x] = shape_.axis;
    const std::int64_t oz = layer % z.out, count = std::min(shape_.rows, y.out - first);
    const Place& deep = places_[0][static_cast<std::size_t>(oz)];
    const float* rows[kMaxRows];
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t oy = first + i;
      const Place& place = places_[1][static_cast<std::size_t>(oy)];
      std::int64_t n = 0;
      for (std::int64_t kz = deep.inside.begin; kz < deep.inside.end; ++kz) {
        const float* from = in + (oz * z.stride - z.pad_begin + kz * z.dilation) * z.step;
        for (std::int64_t ky = place.inside.begin; ky < place.inside.end; ++ky) {
          rows[n++] = from + (oy * y.stride - y.pad_begin + ky * y.dilation) * y.step;
        }
      }
      float* to = scratch + i * shape_.pitch + x.pad_begin;
      if (n > 0) {
        table_.rows[fold_](to, rows, n, x.in);
      } else {
        std::fill_n(to, x.in, identity_);
      }
    }
    PoolColumns columns{nullptr,   scratch,  x.out,
                        x.window,  x.stride, x.dilation,
                        identity_, 1.0f,     counts_.empty() ? nullptr : counts_.data()};
    columns.out = out + (layer * y.out + first) * x.out;
    for (std::int64_t i = 0; i < count; ++i) {
      columns.rows = static_cast<float>(deep.counted *
                                        places_[1][static_cast<std::size_t>(first + i)].counted);
      table_.columns[fold_](columns);
      columns.in += shape_.pitch;
      columns.out += x.out;
    }
  }

  miniinfer_reduce_attrs attrs_;
  PoolShape shape_;
  const PoolTable& table_;
  PoolFold fold_;
  std::uint32_t workers_;
  int in_, out_;
  float identity_;
  std::vector<Place> places_[2];  // of the outputs of axes 0 and 1
  std::vector<float> counts_;     // of the outputs of axis 2; empty unless a mean is asked for
};

bool serves(const RegionView& region) {
  const std::int32_t kind = region.attrs<miniinfer_reduce_attrs>().kind;
  return region.in(0).dtype == MINIINFER_FLOAT32 &&
         (kind == MINIINFER_REDUCE_MAX || kind == MINIINFER_REDUCE_MIN ||
          kind == MINIINFER_REDUCE_SUM || kind == MINIINFER_REDUCE_MEAN);
}

PoolShape shape_of(const RegionView& region) {
  return {region.attrs<miniinfer_reduce_attrs>(), region.in(0), region.out(0)};
}

}  // namespace

std::uint64_t pool_scratch_bytes(const RegionView& region) {
  if (!serves(region)) return 0;
  const PoolShape shape = shape_of(region);
  return shape.is_served ? shape.scratch_bytes() : 0;
}

std::unique_ptr<Kernel> make_pool(const RegionView& region) {
  return std::make_unique<Pool>(region, shape_of(region));
}

}  // namespace miniinfer::cpu
