#include "plugins/cuda/kernels/copy_plan.hpp"

#include <algorithm>

namespace miniinfer::cuda {
namespace {

constexpr std::int64_t kLongSide = 8;  // both sides of what is worth a tile

struct Axis {
  std::int64_t size;
  std::int64_t src;  // bytes
  std::int64_t dst;
};

struct Shape {
  std::int64_t src;  // bytes
  std::int64_t dst;
  std::vector<Axis> axes;  // never empty

  std::int64_t count() const {
    std::int64_t n = 1;
    for (const Axis& axis : axes) n *= axis.size;
    return n;
  }
};

// False where there is nothing to move.
bool read_shape(const miniinfer_copy_region& region, std::int64_t bytes, Shape& shape) {
  shape.src = region.src_offset * bytes;
  shape.dst = region.dst_offset * bytes;
  std::vector<Axis> axes;
  for (std::int32_t i = 0; i < region.rank; ++i) {
    if (region.dims[i] == 0) return false;
    if (region.dims[i] == 1) continue;
    Axis axis{region.dims[i], region.src_strides[i] * bytes, region.dst_strides[i] * bytes};
    if (axis.dst < 0) {  // walk the target upwards
      shape.src += (axis.size - 1) * axis.src;
      shape.dst += (axis.size - 1) * axis.dst;
      axis.src = -axis.src;
      axis.dst = -axis.dst;
    }
    axes.push_back(axis);
  }
  std::sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.dst > b.dst; });
  for (const Axis& axis : axes) {
    if (!shape.axes.empty() && shape.axes.back().src == axis.src * axis.size &&
        shape.axes.back().dst == axis.dst * axis.size) {
      shape.axes.back() = {shape.axes.back().size * axis.size, axis.src, axis.dst};
    } else {
      shape.axes.push_back(axis);
    }
  }
  if (shape.axes.empty()) shape.axes.push_back({1, bytes, bytes});
  return true;
}

// The largest unit, up to `most`, that runs, offsets and steps are made of.
std::int64_t unit_of(const Shape& shape, std::int64_t bytes, std::int64_t most) {
  const Axis& inner = shape.axes.back();
  if (inner.src != bytes || inner.dst != bytes) return bytes;
  std::int64_t unit = std::max(most, bytes);
  const auto shrink = [&](std::int64_t distance) {
    while (distance % unit != 0) unit /= 2;
  };
  shrink(inner.size * bytes);
  shrink(shape.src);
  shrink(shape.dst);
  for (std::size_t i = 0; i + 1 < shape.axes.size(); ++i) {
    shrink(shape.axes[i].src);
    shrink(shape.axes[i].dst);
  }
  return unit;
}

CopyMove move_of(const std::vector<Axis>& axes, std::int64_t unit) {
  CopyMove move;
  move.rank = static_cast<std::int32_t>(axes.size());
  std::int64_t units = 1;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    units *= axes[i].size;
    move.divisors[i] = make_fast_divisor(static_cast<unsigned>(axes[i].size));
    move.src_strides[i] = axes[i].src / unit;
    move.dst_strides[i] = axes[i].dst / unit;
  }
  move.units = static_cast<std::uint32_t>(units);
  return move;
}

void plan_shape(Shape shape, std::uint32_t input, std::int64_t bytes, std::int64_t most,
                std::vector<PlannedCopy>& out) {
  if (shape.count() >= kSmall) {  // in two, along the longest axis
    const auto longest =
        std::max_element(shape.axes.begin(), shape.axes.end(),
                         [](const Axis& a, const Axis& b) { return a.size < b.size; });
    // A multiple of 16 elements, so that the second part is no worse aligned.
    const std::int64_t half = longest->size >= 64 ? longest->size / 32 * 16 : longest->size / 2;
    Shape second = shape;
    const auto at = static_cast<std::size_t>(longest - shape.axes.begin());
    second.axes[at].size -= half;
    second.src += half * longest->src;
    second.dst += half * longest->dst;
    longest->size = half;
    plan_shape(std::move(shape), input, bytes, most, out);
    plan_shape(std::move(second), input, bytes, most, out);
    return;
  }
  PlannedCopy plan;
  plan.input = input;
  plan.src = shape.src;
  plan.dst = shape.dst;
  std::int64_t unit = unit_of(shape, bytes, most);
  Axis& inner = shape.axes.back();
  if (unit > bytes) {
    inner = {inner.size * bytes / unit, unit, unit};
  } else if (inner.dst == bytes && inner.src != bytes && inner.size >= kLongSide && bytes <= 8) {
    const auto along = std::find_if(shape.axes.begin(), shape.axes.end() - 1, [&](const Axis& a) {
      return a.src == bytes && a.size >= kLongSide;
    });
    if (along != shape.axes.end() - 1) {
      plan.transposed = true;
      plan.turned.rows = static_cast<std::uint32_t>(inner.size);
      plan.turned.columns = static_cast<std::uint32_t>(along->size);
      plan.turned.src_step = inner.src / bytes;
      plan.turned.dst_step = along->dst / bytes;
      shape.axes.pop_back();
      shape.axes.erase(along);
    }
  }
  plan.unit = static_cast<int>(unit);
  plan.move = move_of(shape.axes, unit);
  out.push_back(plan);
}

}  // namespace

std::vector<PlannedCopy> plan_copy(const miniinfer_copy_region& region, std::int64_t element_bytes,
                                   std::int64_t most) {
  std::vector<PlannedCopy> plans;
  Shape shape;
  if (read_shape(region, element_bytes, shape)) {
    plan_shape(std::move(shape), region.input, element_bytes, most, plans);
  }
  return plans;
}

bool stays_inside(const miniinfer_copy_region& region, std::int64_t offset,
                  const std::int64_t* strides, std::int64_t count) {
  std::int64_t first = offset;
  std::int64_t last = offset;
  for (std::int32_t i = 0; i < region.rank; ++i) {
    if (region.dims[i] == 0) return true;
    std::int64_t reach;
    if (region.dims[i] < 0 || __builtin_mul_overflow(region.dims[i] - 1, strides[i], &reach) ||
        __builtin_add_overflow(reach < 0 ? first : last, reach, reach < 0 ? &first : &last)) {
      return false;
    }
  }
  return first >= 0 && last < count;
}

}  // namespace miniinfer::cuda
