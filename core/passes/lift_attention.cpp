// Attention in kernel operators becomes attention/1:
//
//   y = contract(softmax(contract(q, k') [* number] [+ mask]), v)
//
// where k' is k with its last axes the other way round: by a copy, or by the product's flag. The
// number may stand before the product too, on one side or on both, as exporters write it so that
// float16 does not overflow. A mask may be added, or chosen by a condition; whatever of the program
// between product and softmax does not depend on the scores becomes a program of its own.
//
// Runs when pointwise operators are fused: that program is one node, or none.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/base/float16.hpp"
#include "core/ops/kernel_attrs.hpp"
#include "core/ops/rules.hpp"
#include "core/passes/attention_scores.hpp"
#include "core/passes/pass.hpp"
#include "miniinfer/abi/op/attention.h"
#include "miniinfer/abi/op/contract.h"
#include "miniinfer/abi/op/copy.h"
#include "miniinfer/abi/op/norm.h"

namespace miniinfer {
namespace {

struct Attention {
  std::vector<NodeId> nodes;  // all that it stands for; the last gives y
  ValueId q = kNoValue, k = kNoValue, v = kNoValue;
  bool k_is_transposed = false;  // [.., depth, keys]
  std::int64_t batch = 0, heads = 0, groups = 0, queries = 0, keys = 0, depth = 0, width = 0;
  double scale = 1;
  bool nan_to_zero = false;
  std::optional<ScoreProgram> scores;
};

const miniinfer_contract_attrs& contract_of(const Node& node) {
  return *static_cast<const miniinfer_contract_attrs*>(node.kernel->abi());
}

bool is_attention_type(DataType dtype) {
  return dtype == DataType::Float32 || dtype == DataType::Float16 || dtype == DataType::BFloat16;
}

class Matcher {
 public:
  explicit Matcher(const Graph& graph) : graph_(graph), uses_(graph.uses()) {}

  // The attention whose last product is this node.
  std::optional<Attention> match(NodeId id) const {
    const Node& product = graph_.node(id);
    if (product.op != MINIINFER_CONTRACT || contract_of(product).transpose_a != 0 ||
        contract_of(product).transpose_b != 0) {
      return {};
    }
    Attention a;
    a.nodes = {id};
    const DataType dtype = graph_.value(product.outputs[0]).dtype;
    if (!is_attention_type(dtype)) return {};

    ValueId p = take_views(product.inputs[0], a);
    const NodeId after = maker(p, MINIINFER_POINTWISE);
    if (after != kNoNode) {  // of the probabilities: NaN to zero, or a cast
      const std::optional<bool> zeroes = read_probabilities(graph_.node(after));
      if (!zeroes || !take(p, a)) return {};
      a.nan_to_zero = *zeroes;
      p = take_views(graph_.node(after).inputs[0], a);
    }
    const NodeId softmax = maker(p, MINIINFER_SOFTMAX);
    if (softmax == kNoNode || !take(p, a)) return {};
    const auto& attrs =
        *static_cast<const miniinfer_softmax_attrs*>(graph_.node(softmax).kernel->abi());
    const Shape& rows = shape(p);
    const auto axis = static_cast<std::size_t>(attrs.axis);
    a.keys = rows[axis];
    if (attrs.logarithm != 0 || product_of(rows, axis + 1) != 1) return {};

    ValueId s = take_views(graph_.node(softmax).inputs[0], a);
    const NodeId between = maker(s, MINIINFER_POINTWISE);
    ValueId masked = kNoValue;
    if (between != kNoNode) {
      masked = s;
      if (!take(s, a)) return {};
      bool found = false;
      for (const ValueId input : graph_.node(between).inputs) {
        Attention with = a;
        const ValueId raw = take_views(input, with);
        if (maker(raw, MINIINFER_CONTRACT) == kNoNode || !take(raw, with)) continue;
        with.scores = read_scores(graph_.node(between), input, dtype);
        if (!with.scores) continue;
        a = std::move(with);
        s = raw;
        found = true;
        break;
      }
      if (!found) return {};
      a.scale = a.scores->scale;
    } else if (maker(s, MINIINFER_CONTRACT) == kNoNode || !take(s, a)) {
      return {};
    }
    const Node& scores = graph_.node(graph_.value(s).producer);
    if (contract_of(scores).transpose_a != 0 || graph_.value(s).dtype != dtype) return {};
    a.q = scores.inputs[0];
    a.k = scores.inputs[1];
    a.v = product.inputs[1];
    a.k_is_transposed = contract_of(scores).transpose_b == 0;
    return read_shapes(a, s, masked, product) ? std::optional(std::move(a)) : std::nullopt;
  }

 private:
  const Shape& shape(ValueId id) const { return *graph_.value(id).shape; }
  static std::int64_t product_of(const Shape& sizes, std::size_t from) {
    return product(sizes, from, sizes.size());
  }

  NodeId maker(ValueId id, std::string_view op) const {
    const NodeId producer = graph_.value(id).producer;
    return producer != kNoNode && graph_.node(producer).op == op ? producer : kNoNode;
  }

  // The node that makes `id` is the attention's, if nobody else reads it.
  bool take(ValueId id, Attention& a) const {
    const NodeId reader = uses_[id].empty() ? kNoNode : uses_[id][0];
    const bool alone = std::ranges::all_of(uses_[id], [&](NodeId use) { return use == reader; });
    if (!alone || graph_.is_output(id) || graph_.value(id).producer == kNoNode) return false;
    if (graph_.node(graph_.value(id).producer).outputs.size() != 1) return false;
    a.nodes.push_back(graph_.value(id).producer);
    return true;
  }

  // What is looked at through views that nobody else looks through.
  ValueId take_views(ValueId id, Attention& a) const {
    while (maker(id, "view") != kNoNode && take(id, a)) {
      id = graph_.node(graph_.value(id).producer).inputs[0];
    }
    return id;
  }

  // [batch, heads] are the scores' axes where a program works on them, else those of q behind its
  // view; all are heads of one batch where neither says. All sizes follow.
  bool read_shapes(Attention& a, ValueId s, ValueId masked, const Node& last) const {
    const Shape& scores = shape(s);
    const Shape& q = shape(a.q);
    const Shape& k = shape(a.k);
    const Shape& v = shape(a.v);
    const std::size_t rank = q.size();
    if (rank < 2 || rank > 4 || v.size() != rank) return false;
    a.queries = q[rank - 2];
    a.depth = q[rank - 1];
    a.width = v[rank - 1];
    if (scores[rank - 1] != a.keys || v[rank - 2] != a.keys) return false;
    const std::int64_t pairs = product(scores, 0, rank - 2);
    if (product(q, 0, rank - 2) != pairs) return false;
    const Shape& y = shape(last.outputs[0]);
    if (product(y, 0, y.size()) != pairs * a.queries * a.width) return false;

    Shape split = masked != kNoValue ? shape(masked) : unviewed(a.q);
    if (split.size() != 4 || split[2] != a.queries) split = rank == 4 ? q : Shape{1, pairs};
    a.batch = split[0];
    a.heads = split[1];
    if (a.batch * a.heads != pairs) return false;
    if (masked != kNoValue && !spans(shape(masked), {a.batch, a.heads, a.queries, a.keys})) {
      return false;
    }
    const std::int64_t k_pairs = product(k, 0, rank - 2), v_pairs = product(v, 0, rank - 2);
    if (k_pairs != v_pairs || k_pairs % a.batch != 0) return false;
    // Fewer than there are heads: one for all of them, each batch its own.
    a.groups = k_pairs / a.batch;
    const bool shared = rank == 4 && k[0] == a.batch && v[0] == a.batch && a.groups == 1;
    return (a.groups == a.heads || shared) &&
           std::min({a.batch, a.heads, a.queries, a.keys, a.depth, a.width}) > 0;
  }

  // Whether a program's shape is that of the scores but for leading axes of size 1.
  static bool spans(const Shape& made, const Shape& scores) {
    Shape padded = made;
    if (padded.size() > 4) return false;
    padded.insert(padded.begin(), 4 - padded.size(), 1);
    return padded == scores;
  }

  Shape unviewed(ValueId id) const {
    while (maker(id, "view") != kNoNode) id = graph_.node(graph_.value(id).producer).inputs[0];
    return shape(id);
  }

  const Graph& graph_;
  const std::vector<std::vector<NodeId>> uses_;
};

class Replacement {
 public:
  Replacement(Graph& graph, Attention attention)
      : graph_(graph), a_(std::move(attention)), uses_(graph.uses()) {}

  void run() {
    const NodeId last = a_.nodes.front();
    std::sort(a_.nodes.begin(), a_.nodes.end());
    for (const NodeId id : a_.nodes) {
      const std::vector<NodeId>& sources = graph_.node(id).origin.sources;
      origin_.sources.insert(origin_.sources.end(), sources.begin(), sources.end());
    }
    const ValueId y = graph_.node(last).outputs[0];
    for (const NodeId id : a_.nodes) graph_.remove_node(id);

    const ValueId q = unscaled(a_.q);
    std::vector<ValueId> inputs = {view(q, {a_.batch, a_.heads, a_.queries, a_.depth}), keys(),
                                   view(a_.v, {a_.batch, a_.groups, a_.keys, a_.width})};
    miniinfer_attention_attrs attrs{};
    attrs.scale = static_cast<float>(a_.scale);
    if (a_.nan_to_zero) attrs.flags |= MINIINFER_ATTENTION_NAN_TO_ZERO;
    if (a_.scores && a_.scores->mask) {
      const ValueId mask = add_mask(*a_.scores);
      if (is_causal(mask)) {
        attrs.flags |= MINIINFER_ATTENTION_CAUSAL;
        attrs.past = 0;
      } else {
        inputs.push_back(mask);
      }
    }
    const Value like = graph_.value(y);
    const Shape shape = {a_.batch, a_.heads, a_.queries, a_.width};
    if (*like.shape == shape) {
      add(MINIINFER_ATTENTION, make_attrs(attrs), std::move(inputs), y);
    } else {
      const ValueId made = graph_.add_value(like.name, like.dtype, shape);
      add(MINIINFER_ATTENTION, make_attrs(attrs), std::move(inputs), made);
      add("view", nullptr, {made}, y);
    }
  }

 private:
  void add(const char* op, KernelAttrsPtr kernel, std::vector<ValueId> inputs, ValueId output) {
    Node node;
    node.op = op;
    node.kernel = std::move(kernel);
    node.inputs = std::move(inputs);
    node.outputs = {output};
    node.origin = origin_;
    graph_.add_node(std::move(node));
  }

  ValueId view(ValueId id, const Shape& shape) {
    while (const Node* maker = made_by(id, "view")) id = maker->inputs[0];
    if (*graph_.value(id).shape == shape) return id;
    if (graph_.value(id).constant) {
      auto constant = std::make_shared<Constant>(*graph_.value(id).constant);
      constant->keep = graph_.value(id).constant;
      constant->type.shape = shape;
      return graph_.add_constant(std::move(constant));
    }
    const ValueId made = graph_.add_value({}, graph_.value(id).dtype, shape);
    add("view", nullptr, {id}, made);
    return made;
  }

  const Node* made_by(ValueId id, std::string_view op) const {
    const NodeId producer = graph_.value(id).producer;
    return producer != kNoNode && graph_.node(producer).op == op ? &graph_.node(producer) : nullptr;
  }

  // An operand's elements in their order, without the numbers they were multiplied by, which become
  // part of the scale.
  ValueId unscaled(ValueId id) {
    for (;;) {
      const NodeId producer = graph_.value(id).producer;
      if (producer == kNoNode) return id;
      const Node& node = graph_.node(producer);
      if (node.op == MINIINFER_POINTWISE) {
        const std::optional<double> factor = read_factor(node);
        const Value& from = graph_.value(node.inputs[0]);
        if (!factor || from.dtype != graph_.value(id).dtype ||
            from.shape != graph_.value(id).shape) {
          return id;
        }
        a_.scale *= *factor;
      } else if (node.op != "view") {
        return id;
      }
      take(producer);
      id = node.inputs[0];
    }
  }

  // A node that nothing but the attention needed is among those it stands for.
  void take(NodeId id) {
    const ValueId made = graph_.node(id).outputs[0];
    const auto gone = [&](NodeId reader) {
      return std::ranges::find(a_.nodes, reader) != a_.nodes.end();
    };
    if (graph_.is_output(made) || !std::ranges::all_of(uses_[made], gone)) return;
    a_.nodes.push_back(id);
    const std::vector<NodeId>& sources = graph_.node(id).origin.sources;
    origin_.sources.insert(origin_.sources.end(), sources.begin(), sources.end());
  }

  // k as [batch, groups, keys, depth].
  ValueId keys() {
    const Shape wanted = {a_.batch, a_.groups, a_.keys, a_.depth};
    const ValueId k = unscaled(a_.k);
    if (!a_.k_is_transposed) return view(k, wanted);
    std::vector<miniinfer_copy_region> regions(1);
    ValueId source = k;
    const Node* copy = made_by(k, MINIINFER_COPY);
    std::optional<miniinfer_copy_region> turned;
    if (copy != nullptr && copy->inputs.size() == 1) {
      const auto& moved = static_cast<const CopyRegions&>(*copy->kernel);
      if (!moved.fills() && moved.regions().size() == 1) {
        turned = turn(moved.regions()[0], a_.depth, a_.keys);
        if (turned) {
          const ValueId given = copy->inputs[0];
          const Shape axes = *graph_.value(given).shape;  // by which a layout sees what is turned
          take(graph_.value(k).producer);
          source = view(unscaled(given), axes);
        }
      }
    }
    if (!turned) {
      miniinfer_copy_region all{};
      all.head = MINIINFER_HEAD(miniinfer_copy_region);
      all.rank = 1;
      all.dims[0] = a_.batch * a_.groups * a_.depth * a_.keys;
      all.src_strides[0] = all.dst_strides[0] = 1;
      turned = turn(all, a_.depth, a_.keys);
    }
    if (moves_nothing(*turned, source, wanted)) return view(source, wanted);
    const ValueId made = graph_.add_value({}, graph_.value(k).dtype, wanted);
    regions[0] = *turned;
    add(MINIINFER_COPY, std::make_shared<CopyRegions>(std::move(regions)), {source}, made);
    return made;
  }

  // The region that writes [.., keys, depth] where the one given writes [.., depth, keys]. Nothing
  // where one of its axes runs across the border of theirs other than in whole turns, or there are
  // too many.
  static std::optional<miniinfer_copy_region> turn(const miniinfer_copy_region& from,
                                                   std::int64_t depth, std::int64_t keys) {
    miniinfer_copy_region to{};
    to.head = from.head;
    to.input = from.input;
    to.src_offset = from.src_offset;
    if (from.dst_offset != 0) return {};
    const auto push = [&](std::int64_t dim, std::int64_t src, std::int64_t dst) {
      if (to.rank == MINIINFER_MAX_RANK) return false;
      const auto at = static_cast<std::size_t>(to.rank++);
      to.dims[at] = dim;
      to.src_strides[at] = src;
      to.dst_strides[at] = dst;
      return true;
    };
    for (std::int32_t axis = 0; axis < from.rank; ++axis) {
      std::int64_t dim = from.dims[axis], src = from.src_strides[axis];
      std::int64_t dst = from.dst_strides[axis];
      if (dim == 1) continue;
      // From the innermost part on: within keys, within depth, beyond.
      struct Part {
        std::int64_t dim, src, dst;
      };
      std::vector<Part> parts;
      for (const std::int64_t border : {keys, depth * keys}) {
        if (dst >= border || dim == 1) continue;
        const std::int64_t end = dst * dim;
        if (end <= border) break;
        if (border % dst != 0 || end % border != 0) return {};
        const std::int64_t inner = border / dst;
        parts.push_back({inner, src, dst});
        dim /= inner;
        src *= inner;
        dst = border;
      }
      if (dim > 1) parts.push_back({dim, src, dst});
      for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
        const std::int64_t turned = part->dst >= depth * keys ? part->dst
                                    : part->dst >= keys       ? part->dst / keys
                                                              : part->dst * depth;
        if (!push(part->dim, part->src, turned)) return {};
      }
    }
    order_by_destination(to);
    return to;
  }

  static void order_by_destination(miniinfer_copy_region& region) {
    const auto rank = static_cast<std::size_t>(region.rank);
    for (std::size_t i = 1; i < rank; ++i) {
      for (std::size_t j = i; j > 0 && region.dst_strides[j - 1] < region.dst_strides[j]; --j) {
        std::swap(region.dims[j - 1], region.dims[j]);
        std::swap(region.src_strides[j - 1], region.src_strides[j]);
        std::swap(region.dst_strides[j - 1], region.dst_strides[j]);
      }
    }
  }

  bool moves_nothing(const miniinfer_copy_region& region, ValueId source,
                     const Shape& wanted) const {
    const Shape& given = *graph_.value(source).shape;
    if (region.src_offset != 0 ||
        product(given, 0, given.size()) != product(wanted, 0, wanted.size())) {
      return false;
    }
    return std::equal(region.src_strides, region.src_strides + region.rank, region.dst_strides);
  }

  // What is added to the scores, as a value of four axes.
  ValueId add_mask(const ScoreProgram& scores) {
    Shape shape = {1, 1, 1, 1};
    std::vector<Shape> aligned;
    for (const ValueId input : scores.mask_inputs) {
      Shape own = *graph_.value(input).shape;
      own.insert(own.begin(), 4 - own.size(), 1);
      for (std::size_t axis = 0; axis < 4; ++axis) shape[axis] = std::max(shape[axis], own[axis]);
      aligned.push_back(own);
    }
    std::vector<ValueId> inputs;
    for (std::size_t i = 0; i < aligned.size(); ++i) {
      inputs.push_back(view(scores.mask_inputs[i], aligned[i]));
    }
    if (scores.mask_is_input) return inputs[0];
    const ValueId made = graph_.add_value({}, graph_.value(a_.q).dtype, shape);
    add(MINIINFER_POINTWISE, scores.mask, std::move(inputs), made);
    return made;
  }

  // A constant that lets query i meet keys up to i: what is left out is so low that nothing of it
  // can remain beside a score.
  bool is_causal(ValueId mask) const {
    const ConstantPtr& constant = graph_.value(mask).constant;
    if (!constant || a_.queries != a_.keys || a_.queries < 2) return false;
    const Shape& shape = constant->type.shape;
    if (shape != Shape{1, 1, a_.queries, a_.keys}) return false;
    const std::vector<double> values = constant->as_doubles();
    const double low = constant->type.dtype == DataType::Float16 ? -60000 : -1e30;
    for (std::int64_t i = 0; i < a_.queries; ++i) {
      for (std::int64_t j = 0; j < a_.keys; ++j) {
        const double value = values[static_cast<std::size_t>(i * a_.keys + j)];
        if (j <= i ? value != 0 : !(value <= low)) return false;
      }
    }
    return true;
  }

  Graph& graph_;
  Attention a_;
  const std::vector<std::vector<NodeId>> uses_;  // before the first change
  Origin origin_;
};

}  // namespace

Result<int> lift_attention(Graph& graph, PassContext&) {
  std::vector<Attention> found;
  {
    const Matcher matcher(graph);
    for (NodeId id = 0; id < graph.node_count(); ++id) {
      if (graph.node(id).removed) continue;
      if (std::optional<Attention> attention = matcher.match(id)) {
        found.push_back(std::move(*attention));
      }
    }
  }
  for (Attention& attention : found) Replacement(graph, std::move(attention)).run();
  if (found.empty()) return 0;
  if (Status status = graph.sort(); !status.ok()) return status;
  return static_cast<int>(found.size());
}

}  // namespace miniinfer
