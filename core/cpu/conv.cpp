// conv/1. float32 is a matrix product: weights [out channels, taps * in channels] times columns of
// the input, which are packed a block at a time and never exist as a whole. A depthwise convolution
// goes row by row instead.

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "core/cpu/conv_shape.hpp"
#include "core/cpu/epilogue.hpp"
#include "core/cpu/gemm_driver.hpp"
#include "core/cpu/parallel.hpp"
#include "core/cpu/primitives.hpp"

namespace miniinfer::cpu {
namespace {

constexpr double kFlopsPerNs = 60;
constexpr std::int64_t kMaxTilePanels = 8;
constexpr std::int64_t kMaxTileColumns = kMaxTilePanels * kMaxPanelColumns;

// How the product of one group and image is cut.
struct ConvTiles {
  ConvTiles(const ConvShape& s, const GemmTable& t, std::uint32_t workers) {
    k = s.taps * s.in_channels;
    const std::int64_t blocks = std::max<std::int64_t>(1, (k + kDepth - 1) / kDepth);
    depth = (k + blocks - 1) / blocks;
    row_panels = (s.out_channels + t.mr - 1) / t.mr;
    column_panels = (s.out_plane + t.nr - 1) / t.nr;
    rows = row_panels;
    columns = even(column_panels, kMaxTilePanels);
    const std::int64_t images = s.batch * s.group;
    const auto tiles = [&] {
      return images * count(row_panels, rows) * count(column_panels, columns);
    };
    if (workers <= 1 || s.flops() / kFlopsPerNs < 2 * kPieceNs) return;
    // Fewer columns repeat nothing but a little overhead; fewer rows repeat the packing of columns.
    while (tiles() < 3 * workers && columns > 2) --columns;
    while (tiles() < 3 * workers && rows > 4) rows = (rows + 1) / 2;
  }
  static constexpr std::int64_t kDepth = GemmPlan::kDepth;
  static std::int64_t count(std::int64_t n, std::int64_t each) {
    return each == 0 ? 0 : (n + each - 1) / each;
  }
  // The largest size up to `most` that cuts n into parts of about the same size.
  static std::int64_t even(std::int64_t n, std::int64_t most) {
    const std::int64_t parts = std::max<std::int64_t>(1, (n + most - 1) / most);
    return (n + parts - 1) / parts;
  }
  std::uint64_t scratch_bytes(const GemmTable& t) const {
    return align64(static_cast<std::uint64_t>(columns * t.nr * depth) * 4);
  }
  std::int64_t k, depth, row_panels, column_panels, rows, columns;
};

std::uint64_t packed_weights(const ConvShape& s, const ConvTiles& tiles, const GemmTable& t) {
  return align64(static_cast<std::uint64_t>(s.group * tiles.row_panels * t.mr * tiles.k) * 4);
}

bool is_constant(const miniinfer_value& v) { return (v.flags & MINIINFER_VALUE_CONSTANT) != 0; }

class ConvGemm final : public Kernel {
 public:
  explicit ConvGemm(const RegionView& region)
      : table_(gemm()),
        workers_(worker_count()),
        shape_(region, false),
        tiles_(shape_, table_, workers_),
        epilogue_(region, !has_bias(region)),
        x_(region.arg_in(0)),
        w_(region.arg_in(1)),
        bias_(has_bias(region) ? region.arg_in(2) : epilogue_.bias()),
        constant_(is_constant(region.in(1))) {
    has_runs_ = has_runs(shape_, table_);
    is_direct_ = shape_.taps == 1 && shape_.stride == ConvShape::Axes{1, 1, 1} &&
                 shape_.pad == ConvShape::Axes{0, 0, 0} && shape_.in == shape_.out;
  }

  static std::uint64_t workspace(const RegionView& region, std::uint32_t workers) {
    const ConvShape shape(region, false);
    const ConvTiles tiles(shape, gemm(), workers);
    return (is_constant(region.in(1)) ? 0 : packed_weights(shape, tiles, gemm())) +
           workers * tiles.scratch_bytes(gemm());
  }

  miniinfer_code packed(std::uint32_t operand, miniinfer_packed& out) const noexcept override {
    out.bytes = 0;
    if (static_cast<int>(operand) != w_ || !constant_) return MINIINFER_OK;
    out.bytes = std::max<std::uint64_t>(64, packed_weights(shape_, tiles_, table_));
    out.alignment = 64;
    std::snprintf(out.key, sizeof out.key, "cpu.conv.rows%d.g%lld", table_.mr,
                  static_cast<long long>(shape_.group));
    return MINIINFER_OK;
  }

  miniinfer_code pack(std::uint32_t, const std::byte* src, std::byte* dst) const noexcept override {
    const std::int64_t panels = shape_.group * tiles_.row_panels;
    pack_weights(reinterpret_cast<float*>(dst), reinterpret_cast<const float*>(src), 0, panels);
    return MINIINFER_OK;
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    std::byte* workspace = address(run.workspace);
    Job job{run, {}, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
    job.x = reinterpret_cast<const float*>(address(run.args[x_]));
    job.weights = reinterpret_cast<const float*>(address(run.args[w_]));
    job.bias = bias_ < 0 ? nullptr : reinterpret_cast<const float*>(address(run.args[bias_]));
    job.y = reinterpret_cast<float*>(address(run.args[epilogue_.target()]));
    if (epilogue_.has_loop()) epilogue_.bind(run, &job.operands);
    if (!constant_) {
      auto* to = reinterpret_cast<float*>(workspace);
      parallel(shape_.group * tiles_.row_panels, 0.5 * static_cast<double>(tiles_.k * table_.mr),
               workers_,
               [&, from = job.weights](std::int64_t begin, std::int64_t end, std::uint32_t) {
                 pack_weights(to, from, begin, end);
               });
      job.weights = to;
      workspace += packed_weights(shape_, tiles_, table_);
    }
    job.columns = workspace;
    job.epilogue_scratch = workspace + workers_ * tiles_.scratch_bytes(table_);
    const std::int64_t row_tiles = ConvTiles::count(tiles_.row_panels, tiles_.rows);
    const std::int64_t column_tiles = ConvTiles::count(tiles_.column_panels, tiles_.columns);
    const double cost = 2.0 * static_cast<double>(tiles_.k * tiles_.rows * table_.mr) *
                            static_cast<double>(tiles_.columns * table_.nr) / kFlopsPerNs +
                        100;
    parallel(shape_.batch * shape_.group * row_tiles * column_tiles, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t row = i % row_tiles * tiles_.rows;
                 const std::int64_t column = i / row_tiles % column_tiles * tiles_.columns;
                 run_tile(job, i / row_tiles / column_tiles, row, column, worker);
               }
             });
    return MINIINFER_OK;
  }

 private:
  struct Job {
    const miniinfer_run& run;
    Epilogue::Operands operands;
    const float* x;
    const float* weights;
    const float* bias;
    float* y;
    std::byte* columns;
    std::byte* epilogue_scratch;
  };
  using Coordinates = std::int32_t[MINIINFER_MAX_SPATIAL][kMaxTileColumns];

  // Taps outside, channels inside: a tap's place in the input is then found once for all channels.
  void pack_weights(float* to, const float* w, std::int64_t begin, std::int64_t end) const {
    const ConvShape& s = shape_;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t group = i / tiles_.row_panels;
      const std::int64_t row = i % tiles_.row_panels * table_.mr;
      const std::int64_t left = s.out_channels - row;
      const float* from = w + (group * s.out_channels + row) * tiles_.k;
      for (std::int64_t t = 0; t < s.taps; ++t) {
        table_.pack(to + (i * tiles_.k + t * s.in_channels) * table_.mr, from + t, tiles_.k, s.taps,
                    s.in_channels,
                    static_cast<std::int32_t>(std::min<std::int64_t>(left, table_.mr)), table_.mr);
      }
    }
  }

  // The input coordinates of tap 0 of output positions from `column` on; what is past the end lies
  // outside every input.
  void coordinates(std::int64_t column, std::int64_t count, Coordinates& out) const {
    const ConvShape& s = shape_;
    std::int64_t at[3] = {column / (s.out[1] * s.out[2]), column / s.out[2] % s.out[1],
                          column % s.out[2]};
    for (std::int64_t j = 0; j < count; ++j) {
      if (column + j >= s.out_plane) {
        for (auto& axis : out) axis[j] = -(1 << 30);
        continue;
      }
      for (int axis = 0; axis < 3; ++axis) {
        out[axis][j] = static_cast<std::int32_t>(at[axis] * s.stride[axis] - s.pad[axis]);
      }
      for (int axis = 2; axis >= 0; --axis) {
        if (++at[axis] < s.out[axis]) break;
        at[axis] = 0;
      }
    }
  }

  // Packs steps [k0, k0 + depth) of the panel whose columns have these coordinates.
  void pack_panel(float* to, const float* x, std::int64_t k0, std::int64_t depth,
                  const std::int32_t* const* coordinates) const {
    const ConvShape& s = shape_;
    const std::int32_t extent[3] = {static_cast<std::int32_t>(s.in[0]),
                                    static_cast<std::int32_t>(s.in[1]),
                                    static_cast<std::int32_t>(s.in[2])};
    alignas(64) std::int32_t offset[kMaxPanelColumns];
    for (std::int64_t k = k0; k < k0 + depth;) {
      const std::int64_t t = k / s.in_channels, c = k % s.in_channels;
      const std::int64_t count = std::min(s.in_channels - c, k0 + depth - k);
      const ConvShape::Axes tap = s.tap(t);
      std::int32_t shift[3];
      for (int i = 0; i < 3; ++i) shift[i] = static_cast<std::int32_t>(tap[i] * s.dilation[i]);
      table_.offsets(offset, coordinates, shift, extent);
      table_.pack_offsets(to, x + c * s.in_plane, s.in_plane, count, offset);
      to += count * table_.nr;
      k += count;
    }
  }

  // A row of outputs is a run, or several are where the next row of inputs follows in memory.
  static bool has_runs(const ConvShape& s, const GemmTable& t) {
    const auto is_small = [](std::int64_t n) { return n <= kMaxWindow; };
    return s.stride[2] == 1 && std::all_of(s.window.begin(), s.window.end(), is_small) &&
           s.out_plane > 0 && (t.nr - 2) / s.out[2] + 2 <= kMaxRuns;
  }

  void make_panel(std::int64_t column, ConvPanel& panel) const {
    const ConvShape& s = shape_;
    panel.channels = s.in_channels;
    panel.channel_stride = s.in_plane;
    const std::int64_t step[3] = {s.in[1] * s.in[2], s.in[2], 1};
    for (int axis = 0; axis < 3; ++axis) {
      panel.window[axis] = s.window[axis];
      panel.tap_step[axis] = s.dilation[axis] * step[axis];
      std::fill_n(panel.inside[axis], s.window[axis], 0u);
    }
    panel.runs = 0;
    const auto lanes_below = [](std::int64_t n) { return (std::uint64_t{1} << n) - 1; };
    std::int64_t z = column / (s.out[1] * s.out[2]), y = column / s.out[2] % s.out[1],
                 x = column % s.out[2];
    const std::int64_t count = std::min<std::int64_t>(table_.nr, s.out_plane - column);
    for (std::int64_t lane = 0; lane < count;) {
      const std::int64_t n = std::min(s.out[2] - x, count - lane);
      const std::int64_t first[3] = {z * s.stride[0] - s.pad[0], y * s.stride[1] - s.pad[1],
                                     x - s.pad[2]};
      const std::int64_t base = first[0] * step[0] + first[1] * step[1] + first[2] - lane;
      const auto lanes = static_cast<std::uint32_t>(lanes_below(n) << lane);
      if (panel.runs > 0 && panel.base[panel.runs - 1] == base) {
        panel.lanes[panel.runs - 1] |= lanes;
      } else {
        panel.base[panel.runs] = base;
        panel.lanes[panel.runs++] = lanes;
      }
      for (int axis = 0; axis < 2; ++axis) {
        for (std::int64_t t = 0; t < s.window[axis]; ++t) {
          const std::int64_t at = first[axis] + t * s.dilation[axis];
          if (at >= 0 && at < s.in[axis]) panel.inside[axis][t] |= lanes;
        }
      }
      for (std::int64_t t = 0; t < s.window[2]; ++t) {
        const std::int64_t at = first[2] + t * s.dilation[2];
        const std::int64_t begin = std::clamp<std::int64_t>(-at, 0, n);
        const std::int64_t end = std::clamp<std::int64_t>(s.in[2] - at, begin, n);
        panel.inside[2][t] |=
            static_cast<std::uint32_t>((lanes_below(end) - lanes_below(begin)) << lane);
      }
      lane += n;
      x = 0;
      if (++y < s.out[1]) continue;
      y = 0;
      ++z;
    }
  }

  void run_tile(const Job& job, std::int64_t image, std::int64_t row, std::int64_t column,
                std::uint32_t worker) const noexcept {
    const ConvShape& s = shape_;
    const std::int64_t group = image % s.group;
    const std::int64_t row_end = std::min(tiles_.row_panels, row + tiles_.rows);
    const std::int64_t column_end = std::min(tiles_.column_panels, column + tiles_.columns);
    const std::int64_t first = column * table_.nr;
    const std::int64_t last = std::min(s.out_plane, column_end * table_.nr);
    const float* x = job.x + image * s.in_channels * s.in_plane;
    float* y = job.y + image * s.out_channels * s.out_plane;
    auto* columns = reinterpret_cast<float*>(job.columns + worker * tiles_.scratch_bytes(table_));
    // Packing the input pays where several row panels read it.
    const bool direct = is_direct_ && row_end - row <= 2;
    ConvPanel panels[kMaxTilePanels];
    alignas(64) Coordinates places;
    if (has_runs_) {
      for (std::int64_t q = direct ? last / table_.nr : column; q < column_end; ++q) {
        make_panel(q * table_.nr, panels[q - column]);
      }
    } else if (!(direct && last % table_.nr == 0)) {
      coordinates(first, (column_end - column) * table_.nr, places);
    }
    GemmTile tile;
    tile.a_row = 1;
    tile.a_step = table_.mr;
    tile.c_row = s.out_plane;
    tile.low = epilogue_.low();
    tile.high = epilogue_.high();
    std::int64_t k0 = 0;
    do {
      const std::int64_t depth = std::min(tiles_.depth, tiles_.k - k0);
      for (std::int64_t q = column; q < column_end; ++q) {
        if (direct && (q + 1) * table_.nr <= s.out_plane) continue;
        const std::int64_t at = (q - column) * table_.nr;
        if (has_runs_) {
          table_.pack_runs(columns + at * tiles_.depth, x, panels[q - column], k0, depth);
          continue;
        }
        const std::int32_t* panel[3] = {places[0] + at, places[1] + at, places[2] + at};
        pack_panel(columns + at * tiles_.depth, x, k0, depth, panel);
      }
      tile.k = depth;
      tile.accumulate = k0 > 0;
      tile.clamp = epilogue_.is_clamp() && k0 + depth >= tiles_.k;
      for (std::int64_t p = row; p < row_end; ++p) {
        const std::int64_t m = p * table_.mr;
        tile.rows =
            static_cast<std::int32_t>(std::min<std::int64_t>(table_.mr, s.out_channels - m));
        tile.a = job.weights + ((group * tiles_.row_panels + p) * tiles_.k + k0) * table_.mr;
        tile.bias =
            job.bias != nullptr && k0 == 0 ? job.bias + group * s.out_channels + m : nullptr;
        for (std::int64_t q = column; q < column_end; ++q) {
          const std::int64_t n = q * table_.nr;
          tile.columns =
              static_cast<std::int32_t>(std::min<std::int64_t>(table_.nr, s.out_plane - n));
          if (direct && tile.columns == table_.nr) {
            tile.b = x + k0 * s.in_plane + n;
            tile.b_step = s.in_plane;
          } else {
            tile.b = columns + (n - first) * tiles_.depth;
            tile.b_step = table_.nr;
          }
          tile.c = y + m * s.out_plane + n;
          table_.tile(tile);
        }
      }
      k0 += depth;
    } while (k0 < tiles_.k);
    if (!epilogue_.has_loop()) return;
    std::byte* scratch = job.epilogue_scratch + worker * align64(epilogue_.scratch_bytes());
    const std::int64_t m_end = std::min(s.out_channels, row_end * table_.mr);
    for (std::int64_t m = row * table_.mr; m < m_end; ++m) {
      epilogue_.apply(job.operands, (image * s.out_channels + m) * s.out_plane + first,
                      last - first, scratch, job.run);
    }
  }

  const GemmTable& table_;
  std::uint32_t workers_;
  ConvShape shape_;
  ConvTiles tiles_;
  Epilogue epilogue_;
  int x_, w_, bias_;
  bool constant_;
  bool has_runs_;
  bool is_direct_;  // the input is the matrix of columns
};

// One channel in, one out. A block of input rows is copied into scratch with its padding, columns
// of each remainder by the stride apart, so that every tap of an output row is a contiguous row.
class ConvDepthwise final : public Kernel {
 public:
  static bool serves(const ConvShape& s) {
    return s.in_channels == 1 && s.out_channels == 1 && s.in[0] == 1 && s.out[0] == 1 &&
           s.window[0] == 1 && s.pad[0] == 0 && s.taps <= kMaxTaps && s.stride[2] <= 4 &&
           s.out_plane > 0;
  }

  struct Block {
    explicit Block(const ConvShape& s) {
      phases = s.stride[2];
      pitch = s.out[2] + (s.window[2] - 1) * s.dilation[2] / phases + 1 + kMaxPanelColumns;
      const std::int64_t span = (s.window[1] - 1) * s.dilation[1] + 1;
      constexpr std::int64_t kFloats = 16384;
      const std::int64_t fit = kFloats / (pitch * phases);
      rows = std::clamp<std::int64_t>((fit - span) / s.stride[1] + 1, 1, s.out[1]);
      in_rows = (rows - 1) * s.stride[1] + span;
    }
    std::uint64_t bytes() const {
      return align64(static_cast<std::uint64_t>(in_rows * phases * pitch) * 4);
    }
    std::int64_t phases, pitch, rows, in_rows;
  };

  explicit ConvDepthwise(const RegionView& region)
      : table_(gemm()),
        workers_(worker_count()),
        shape_(region, false),
        block_(shape_),
        epilogue_(region, !has_bias(region)),
        x_(region.arg_in(0)),
        w_(region.arg_in(1)),
        bias_(has_bias(region) ? region.arg_in(2) : epilogue_.bias()) {
    const ConvShape& s = shape_;
    for (std::int64_t t = 0; t < s.taps; ++t) {
      const std::int64_t column = t % s.window[2] * s.dilation[2];
      const std::int64_t line = t / s.window[2] * s.dilation[1];
      tap_[t] =
          (line * block_.phases + column % block_.phases) * block_.pitch + column / block_.phases;
    }
  }

  static std::uint64_t workspace(const RegionView& region, std::uint32_t workers) {
    return workers * Block(ConvShape(region, false)).bytes();
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    std::byte* workspace = address(run.workspace);
    const auto* x = reinterpret_cast<const float*>(address(run.args[x_]));
    const auto* w = reinterpret_cast<const float*>(address(run.args[w_]));
    const auto* bias =
        bias_ < 0 ? nullptr : reinterpret_cast<const float*>(address(run.args[bias_]));
    auto* y = reinterpret_cast<float*>(address(run.args[epilogue_.target()]));
    Epilogue::Operands operands;
    if (epilogue_.has_loop()) epilogue_.bind(run, &operands);
    std::byte* epilogue_scratch = workspace + workers_ * block_.bytes();
    const ConvShape& s = shape_;
    const std::int64_t blocks = (s.out[1] + block_.rows - 1) / block_.rows;
    const double cost = static_cast<double>(block_.rows) *
                            (10 + static_cast<double>(s.out[2] * (s.taps + 4)) * 0.04) +
                        50;
    parallel(s.batch * s.group * blocks, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               auto* scratch = reinterpret_cast<float*>(workspace + worker * block_.bytes());
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t plane = i / blocks, channel = plane % s.group;
                 const std::int64_t row = i % blocks * block_.rows;
                 const std::int64_t rows = std::min(block_.rows, s.out[1] - row);
                 copy_rows(scratch, x + plane * s.in_plane, row, rows);
                 compute(scratch, w + channel * s.taps, bias == nullptr ? 0.0f : bias[channel],
                         y + plane * s.out_plane + row * s.out[2], rows);
                 if (epilogue_.has_loop()) {
                   epilogue_.apply(operands, plane * s.out_plane + row * s.out[2], rows * s.out[2],
                                   epilogue_scratch + worker * align64(epilogue_.scratch_bytes()),
                                   run);
                 }
               }
             });
    return MINIINFER_OK;
  }

 private:
  void copy_rows(float* to, const float* x, std::int64_t row, std::int64_t rows) const noexcept {
    const ConvShape& s = shape_;
    const std::int64_t first = row * s.stride[1] - s.pad[1];
    const std::int64_t count = (rows - 1) * s.stride[1] + (s.window[1] - 1) * s.dilation[1] + 1;
    for (std::int64_t r = 0; r < count; ++r) {
      const std::int64_t in_row = first + r;
      for (std::int64_t phase = 0; phase < block_.phases; ++phase, to += block_.pitch) {
        if (in_row < 0 || in_row >= s.in[1]) {
          std::memset(to, 0, static_cast<std::size_t>(block_.pitch) * 4);
          continue;
        }
        copy_row(to, x + in_row * s.in[2], phase);
      }
    }
  }

  void copy_row(float* to, const float* from, std::int64_t phase) const noexcept {
    const std::int64_t step = block_.phases, width = shape_.in[2];
    const std::int64_t shift = phase - shape_.pad[2];  // element i is column i * step + shift
    const std::int64_t begin = std::min(block_.pitch, shift >= 0 ? 0 : (-shift + step - 1) / step);
    const std::int64_t end =
        std::clamp<std::int64_t>((width - shift + step - 1) / step, begin, block_.pitch);
    std::memset(to, 0, static_cast<std::size_t>(begin) * 4);
    if (step == 1) {
      std::memcpy(to + begin, from + begin + shift, static_cast<std::size_t>(end - begin) * 4);
    } else {
      primitives().gather_strided_32(
          reinterpret_cast<std::uint32_t*>(to + begin),
          reinterpret_cast<const std::uint32_t*>(from) + begin * step + shift, step, end - begin);
    }
    std::memset(to + end, 0, static_cast<std::size_t>(block_.pitch - end) * 4);
  }

  void compute(const float* from, const float* w, float bias, float* y,
               std::int64_t rows) const noexcept {
    const ConvShape& s = shape_;
    const float* tap[kMaxTaps];
    DepthwiseRow row;
    row.n = s.out[2];
    row.tap = tap;
    row.weight = w;
    row.taps = s.taps;
    row.bias = bias;
    row.clamp = epilogue_.is_clamp();
    row.low = epilogue_.low();
    row.high = epilogue_.high();
    const std::int64_t line = s.stride[1] * block_.phases * block_.pitch;
    for (std::int64_t i = 0; i < rows; ++i, from += line) {
      for (std::int64_t t = 0; t < s.taps; ++t) tap[t] = from + tap_[t];
      row.out = y + i * s.out[2];
      table_.depthwise(row);
    }
  }

  const GemmTable& table_;
  std::uint32_t workers_;
  ConvShape shape_;
  Block block_;
  std::array<std::int64_t, kMaxTaps> tap_;  // from the first row a window reads, in floats
  Epilogue epilogue_;
  int x_, w_, bias_;
};

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  if (!conv_is_served(region, false, choice)) return MINIINFER_UNSUPPORTED;
  const std::uint32_t workers = worker_count();
  const ConvShape shape(region, false);
  const bool is_float = region.in(0).dtype == MINIINFER_FLOAT32;
  if (is_float) {
    choice.workspace_bytes = ConvDepthwise::serves(shape)
                                 ? ConvDepthwise::workspace(region, workers)
                                 : ConvGemm::workspace(region, workers);
  }
  if (!Epilogue::support(region, workers, choice)) return MINIINFER_UNSUPPORTED;
  choice.cost_ns =
      static_cast<std::uint64_t>(200 + shape.flops() / ((is_float ? kFlopsPerNs : 1) * workers));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) {
  if (region.in(0).dtype != MINIINFER_FLOAT32) return make_conv_plain(region, false);
  if (ConvDepthwise::serves(ConvShape(region, false))) {
    return std::make_unique<ConvDepthwise>(region);
  }
  return std::make_unique<ConvGemm>(region);
}

}  // namespace

const Family kConv = {MINIINFER_CONV, sizeof(miniinfer_conv_attrs), support, create};

}  // namespace miniinfer::cpu
