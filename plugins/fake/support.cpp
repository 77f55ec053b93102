#include "miniinfer/abi/op/conv.h"
#include "plugins/fake/device.hpp"
#include "plugins/fake/kernel.hpp"
#include "plugins/fake/limits.hpp"

namespace miniinfer::fake {
namespace {

// A lone pointwise program may write over any input that lies as the output does.
std::uint64_t in_place_pairs(const sdk::Region& region) {
  if (region.node_count() != 1 || region.op() != MINIINFER_POINTWISE) return 0;
  std::uint64_t pairs = 0;
  for (std::size_t o = 0; o < region.outputs().size(); ++o) {
    const miniinfer_value& out = region.value(region.outputs()[o]);
    for (std::size_t i = 0; i < region.inputs().size(); ++i) {
      const miniinfer_value& in = region.value(region.inputs()[i]);
      if (in.dtype == out.dtype && sdk::is_contiguous(in) && sdk::is_contiguous(out) &&
          sdk::element_count(sdk::dims(in)) == sdk::element_count(sdk::dims(out))) {
        pairs |= sdk::in_place_bit(static_cast<std::uint32_t>(o), static_cast<std::uint32_t>(i));
      }
    }
  }
  return pairs;
}

std::int64_t elements(const miniinfer_value& value) {
  return sdk::is_absent(value) ? 0 : sdk::element_count(sdk::dims(value));
}

// A nanosecond for each element that is read or written, and two more for those of a convolution
// that is not given channels last: the border of a lone one costs as much as it would save.
std::uint64_t cost_ns(const sdk::Region& region) {
  std::int64_t cost = 1;
  for (const auto values : {region.inputs(), region.outputs()}) {
    for (const std::uint32_t value : values) cost += elements(region.value(value));
  }
  if (region.op() == MINIINFER_CONV) {
    const miniinfer_value& x = region.in(0);
    const miniinfer_value& y = region.out(0);
    const auto is_last = [](const miniinfer_value& v) {
      return v.dims[1] == 1 || v.strides[1] == 1;
    };
    if (!is_last(x) || !is_last(y)) cost += 2 * (elements(x) + elements(y));
  }
  return static_cast<std::uint64_t>(cost);
}

}  // namespace

sdk::OpSet Device::ops() const {
  sdk::OpSet set;
  for (const sdk::reference::Family& family : sdk::reference::kFamilies) {
    set.ops.push_back({family.op, family.attr_size});
  }
  set.add<miniinfer_conv_attrs>(MINIINFER_CONV).add_all_opcodes();
  set.max_nodes = kMaxNodes;
  set.max_instructions = kMaxInstructions;
  set.pointwise_dtypes = sdk::kNumericTypes;
  return set;
}

void Device::support(const sdk::Region& region, sdk::Choices& choices) {
  if (lost()) enter("support");
  if (region.op() == refused_) {
    choices.refuse("%s refuses %s by option", id(), refused_.c_str());
    return;
  }
  try {
    const auto program = Kernel::compile(*this, region);
    miniinfer_choice* choice = choices.add();
    if (choice == nullptr) return;
    if (prefers_channels_last()) choice->cost_ns = cost_ns(region);
    choice->workspace_bytes = program->scratch_bytes();
    choice->in_place = in_place_pairs(region);
    choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
  } catch (const sdk::Error& error) {
    choices.refuse("%s", error.what());
  }
}

std::unique_ptr<sdk::Kernel> Device::make_kernel(const sdk::Region& region,
                                                 const miniinfer_choice& choice) {
  enter("create");
  return std::make_unique<Kernel>(*this, region, choice.in_place);
}

}  // namespace miniinfer::fake
