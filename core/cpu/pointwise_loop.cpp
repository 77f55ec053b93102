#include "core/cpu/pointwise_loop.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "core/cpu/pointwise_program.hpp"

namespace miniinfer::cpu {
namespace {

template <class T>
void spread_as(std::byte* out, const std::byte* one, std::int64_t n) {
  T value;
  std::memcpy(&value, one, sizeof value);
  T* to = reinterpret_cast<T*>(out);
  for (std::int64_t i = 0; i < n; ++i) to[i] = value;
}

template <class T>
void collect_as(std::byte* out, const std::byte* from, std::int64_t stride, std::int64_t n) {
  T* to = reinterpret_cast<T*>(out);
  for (std::int64_t i = 0; i < n; ++i) std::memcpy(to + i, from + i * stride, sizeof(T));
}

void spread(std::byte* out, const std::byte* one, std::int64_t n, int bytes) {
  switch (bytes) {
    case 1:
      std::memset(out, static_cast<int>(*one), static_cast<std::size_t>(n));
      break;
    case 2:
      spread_as<std::uint16_t>(out, one, n);
      break;
    case 4:
      spread_as<std::uint32_t>(out, one, n);
      break;
    default:
      spread_as<std::uint64_t>(out, one, n);
  }
}

// n elements that lie `stride` bytes apart.
void collect(std::byte* out, const std::byte* from, std::int64_t stride, std::int64_t n,
             int bytes) {
  if (stride == 0) return spread(out, from, n, bytes);
  if (stride == bytes) {
    std::memcpy(out, from, static_cast<std::size_t>(n * bytes));
    return;
  }
  switch (bytes) {
    case 1:
      return collect_as<std::uint8_t>(out, from, stride, n);
    case 2:
      return collect_as<std::uint16_t>(out, from, stride, n);
    case 4:
      return collect_as<std::uint32_t>(out, from, stride, n);
    default:
      return collect_as<std::uint64_t>(out, from, stride, n);
  }
}

using Input = PointwiseProgram::Input;

// Where an element of the output meets an input: bytes from the base, and the index along each
// axis.
struct Spot {
  std::int64_t offset = 0;
  std::array<std::int64_t, MINIINFER_MAX_RANK> index;
};

Spot find(const Input& in, std::int64_t element) {
  Spot spot;
  for (int axis = in.rank - 1; axis > 0; --axis) {
    const std::int64_t rest = element / in.dims[axis];
    spot.index[axis] = element - rest * in.dims[axis];
    spot.offset += spot.index[axis] * in.strides[axis];
    element = rest;
  }
  spot.index[0] = element;
  spot.offset += element * in.strides[0];
  return spot;
}

// Elements [begin, begin + n) of an input, as the output counts them.
void collect_tile(const Input& in, const std::byte* base, std::int64_t begin, std::int64_t n,
                  std::byte* out) {
  Spot spot = find(in, begin);
  const int inner = in.rank - 1;
  for (;;) {
    const std::int64_t count = std::min(n, in.dims[inner] - spot.index[inner]);
    collect(out, base + spot.offset, in.strides[inner], count, in.bytes);
    n -= count;
    if (n == 0) return;
    out += count * in.bytes;
    spot.offset -= spot.index[inner] * in.strides[inner];
    spot.index[inner] = 0;
    for (int axis = inner - 1; axis >= 0; --axis) {
      spot.offset += in.strides[axis];
      if (++spot.index[axis] < in.dims[axis]) break;
      spot.offset -= in.dims[axis] * in.strides[axis];
      spot.index[axis] = 0;
    }
  }
}

}  // namespace

struct PointwiseLoop::Impl {
  PointwiseProgram program;
  std::vector<std::uint32_t> rows;  // inputs of mode Row
};

PointwiseLoop::PointwiseLoop(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PointwiseLoop::~PointwiseLoop() = default;

std::unique_ptr<PointwiseLoop> PointwiseLoop::create(const RegionView& region, std::uint32_t node,
                                                     char* reason) {
  auto impl = std::make_unique<Impl>();
  std::string why;
  if (!compile(region, node, &impl->program, &why)) {
    std::snprintf(reason, sizeof(miniinfer_choice::reason), "pointwise: %s", why.c_str());
    return nullptr;
  }
  for (std::uint32_t i = 0; i < impl->program.inputs.size(); ++i) {
    if (impl->program.inputs[i].mode == Input::Row) impl->rows.push_back(i);
  }
  return std::unique_ptr<PointwiseLoop>(new PointwiseLoop(std::move(impl)));
}

std::int64_t PointwiseLoop::elements() const noexcept { return impl_->program.elements; }

std::size_t PointwiseLoop::scratch_bytes() const noexcept {
  return (impl_->program.slots * impl_->program.slot_bytes + 63) / 64 * 64;
}

double PointwiseLoop::element_ns() const noexcept {
  double bytes = 0;
  for (const Input& in : impl_->program.inputs) bytes += in.mode == Input::Single ? 0 : in.bytes;
  for (const std::uint8_t b : impl_->program.output_bytes) bytes += b;
  return std::max(impl_->program.element_ns, bytes * 0.03);
}

std::uint32_t PointwiseLoop::input_count() const noexcept {
  return static_cast<std::uint32_t>(impl_->program.inputs.size());
}

std::uint32_t PointwiseLoop::output_count() const noexcept {
  return static_cast<std::uint32_t>(impl_->program.output_bytes.size());
}

bool PointwiseLoop::is_clamp(float* low, float* high) const noexcept {
  *low = impl_->program.low;
  *high = impl_->program.high;
  return impl_->program.is_clamp;
}

void PointwiseLoop::run(std::int64_t begin, std::int64_t count, const std::byte* const* inputs,
                        std::byte* const* outputs, std::byte* scratch,
                        const miniinfer_run* run) const noexcept {
  if (count <= 0) return;
  const PointwiseProgram& p = impl_->program;
  const auto in_count = static_cast<std::uint32_t>(p.inputs.size());
  const auto out_count = static_cast<std::uint32_t>(p.output_bytes.size());
  std::byte* place[PointwiseProgram::kMaxPlaces];

  for (std::uint32_t i = 0; i < p.slots; ++i) {
    place[p.slot_place(i)] = scratch + i * p.slot_bytes;
  }
  const std::int64_t longest = std::min(count, p.tile);
  for (std::uint32_t i = 0; i < p.constants.size(); ++i) {
    const PointwiseProgram::Constant& constant = p.constants[i];
    auto* bits =
        reinterpret_cast<std::byte*>(const_cast<std::uint64_t*>(&constant.bits));  // only read
    place[p.constant_place(i)] = bits;
    if (constant.tile >= 0) spread(place[constant.tile], bits, longest, constant.bytes);
  }
  for (std::uint32_t i = 0; i < in_count; ++i) {
    const Input& in = p.inputs[i];
    place[i] = const_cast<std::byte*>(inputs[i]);
    if (in.mode == Input::Single && in.tile >= 0) {
      spread(place[in.tile], place[i], longest, in.bytes);
    }
  }

  std::int64_t faults = 0;
  for (std::int64_t end = begin + count; begin < end;) {
    std::int64_t n = std::min(end - begin, p.tile);
    if (p.row != 0) n = std::min(n, p.row - begin % p.row);
    for (std::uint32_t i = 0; i < in_count; ++i) {
      const Input& in = p.inputs[i];
      if (in.mode == Input::Direct) {
        place[i] = const_cast<std::byte*>(inputs[i]) + begin * in.bytes;
      }
    }
    for (std::uint32_t o = 0; o < out_count; ++o) {
      place[in_count + o] = outputs[o] + begin * p.output_bytes[o];
    }
    for (const std::uint32_t i : impl_->rows) {
      const Input& in = p.inputs[i];
      if (p.row != 0) {  // the tile lies in one row of the input
        place[i] = const_cast<std::byte*>(inputs[i]) + find(in, begin).offset;
      }
      if (in.tile >= 0) collect_tile(in, inputs[i], begin, n, place[in.tile]);
    }
    for (const PointwiseProgram::Step& step : p.steps) {
      faults += step.loop(place[step.out], place[step.a], place[step.b], place[step.c], n);
    }
    begin += n;
  }
  if (faults != 0 && run != nullptr) report_fault(*run, MINIINFER_FAULT_DIVIDE, 0, 0);
}

}  // namespace miniinfer::cpu
