#include <algorithm>
#include <cctype>
#include <map>
#include <string>

#include "core/ops/families.hpp"
#include "core/ops/lowering.hpp"
#include "core/ops/lowering_contract.hpp"
#include "core/ops/lowering_reduce.hpp"

namespace miniinfer {
namespace {

// Einsum: each operand is permuted and given axes of size 1 until all have the axes of all labels;
// products are taken pairwise, then what the output lacks is summed.
struct Subscripts {
  std::vector<std::string> operands;  // one letter an axis; those of an ellipsis are '0', '1', ..
  std::string output;
};

Result<Subscripts> parse_subscripts(std::string text, const std::vector<std::size_t>& ranks) {
  std::erase(text, ' ');
  Subscripts out;
  const std::size_t arrow = text.find("->");
  const std::string left = text.substr(0, arrow);
  std::vector<std::string> terms;
  for (std::size_t begin = 0; begin <= left.size();) {
    const std::size_t end = std::min(left.find(',', begin), left.size());
    terms.push_back(left.substr(begin, end - begin));
    begin = end + 1;
  }
  if (terms.size() != ranks.size()) {
    return invalid("%zu subscripts for %zu operands", terms.size(), ranks.size());
  }
  std::size_t dots = 0;  // axes an ellipsis stands for, at most
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const std::size_t ellipsis = terms[i].find("...");
    const std::size_t letters = terms[i].size() - (ellipsis == std::string::npos ? 0 : 3);
    if (letters > ranks[i] || (ellipsis == std::string::npos && letters != ranks[i])) {
      return invalid("subscripts %s for an operand of rank %zu", terms[i].c_str(), ranks[i]);
    }
    if (ellipsis != std::string::npos) dots = std::max(dots, ranks[i] - letters);
  }
  const auto expand = [&](std::string term, std::size_t count) -> Result<std::string> {
    if (const std::size_t at = term.find("..."); at != std::string::npos) {
      std::string digits;
      for (std::size_t d = dots - count; d < dots; ++d) digits += static_cast<char>('0' + d);
      term.replace(at, 3, digits);
    }
    for (const char c : term) {
      if (!std::isalnum(static_cast<unsigned char>(c))) return invalid("subscript '%c'", c);
    }
    return term;
  };
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const std::size_t letters =
        terms[i].size() - (terms[i].find("...") == std::string::npos ? 0 : 3);
    Result<std::string> term = expand(terms[i], ranks[i] - letters);
    if (!term) return term.status();
    out.operands.push_back(std::move(*term));
  }
  if (arrow != std::string::npos) {
    Result<std::string> term = expand(text.substr(arrow + 2), dots);
    if (!term) return term.status();
    out.output = std::move(*term);
  } else {
    // The letters that come once, in alphabetical order, after the ellipsis.
    std::map<char, int> counts;
    for (const std::string& term : out.operands) {
      for (const char c : term) ++counts[c];
    }
    for (const auto& [letter, count] : counts) {
      if (count == 1 || std::isdigit(static_cast<unsigned char>(letter)) != 0) out.output += letter;
    }
  }
  return out;
}

Result<std::map<char, std::int64_t>> label_sizes(const Subscripts& subscripts,
                                                 const std::vector<Shape>& shapes) {
  std::map<char, std::int64_t> sizes;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    for (std::size_t axis = 0; axis < shapes[i].size(); ++axis) {
      const char label = subscripts.operands[i][axis];
      const auto [found, added] = sizes.try_emplace(label, shapes[i][axis]);
      if (added || found->second == shapes[i][axis] || shapes[i][axis] == 1) continue;
      if (found->second != 1) {
        return invalid("subscript %c is %lld and %lld", label,
                       static_cast<long long>(found->second),
                       static_cast<long long>(shapes[i][axis]));
      }
      found->second = shapes[i][axis];
    }
  }
  for (const char label : subscripts.output) {
    if (sizes.count(label) == 0) return invalid("output subscript %c is in no operand", label);
  }
  return sizes;
}

Status infer_einsum(InferContext& context) {
  Result<DataType> dtype = common_type(context, 0, context.input_count());
  if (!dtype) return dtype.status();
  std::vector<Shape> shapes;
  std::vector<std::size_t> ranks;
  for (std::size_t i = 0; i < context.input_count(); ++i) {
    if (!is_concrete(context.shape(i))) return context.set(0, *dtype, std::nullopt);
    shapes.push_back(*context.shape(i));
    ranks.push_back(shapes.back().size());
  }
  Result<Subscripts> subscripts =
      parse_subscripts(std::string(context.attributes().get_string("equation", "")), ranks);
  if (!subscripts) return subscripts.status();
  Result<std::map<char, std::int64_t>> sizes = label_sizes(*subscripts, shapes);
  if (!sizes) return sizes.status();
  Shape out;
  for (const char label : subscripts->output) out.push_back(sizes->at(label));
  return context.set(0, *dtype, std::move(out));
}

// An operand with each label once, by taking the diagonal of labels that come twice.
ValueId take_diagonals(LowerContext& context, ValueId x, std::string& labels) {
  const Shape shape = context.shape_of(x);
  const Shape strides = row_major_strides(shape);
  std::string once;
  CopyPiece piece;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const std::size_t at = once.find(labels[axis]);
    if (at != std::string::npos) {
      piece.src_strides[at] += strides[axis];
      continue;
    }
    once += labels[axis];
    piece.dims.push_back(shape[axis]);
    piece.src_strides.push_back(strides[axis]);
  }
  if (once.size() == labels.size()) return x;
  labels = once;
  piece.dst_strides = row_major_strides(piece.dims);
  const Shape out = piece.dims;
  return emit_copy(context, {x}, {piece}, context.dtype_of(x), out);
}

// Brings the operand's axes into the order of `order`, with size 1 for labels it lacks.
ValueId arrange(LowerContext& context, ValueId x, const std::string& labels,
                const std::string& order) {
  std::vector<std::int64_t> perm;
  for (const char label : order) {
    const std::size_t at = labels.find(label);
    if (at != std::string::npos) perm.push_back(static_cast<std::int64_t>(at));
  }
  const ValueId turned = emit_transpose(context, x, perm);
  const Shape sizes = context.shape_of(turned);
  Shape shape;
  std::size_t next = 0;
  for (const char label : order) {
    shape.push_back(labels.find(label) == std::string::npos ? 1 : sizes[next++]);
  }
  return context.view(turned, shape);
}

ValueId sum_labels(LowerContext& context, ValueId x, std::string& labels, const std::string& keep) {
  std::vector<std::int64_t> axes;
  std::string kept;
  Shape shape;
  const Shape sizes = context.shape_of(x);
  for (std::size_t axis = 0; axis < labels.size(); ++axis) {
    if (keep.find(labels[axis]) == std::string::npos) {
      axes.push_back(static_cast<std::int64_t>(axis));
    } else {
      kept += labels[axis];
      shape.push_back(sizes[axis]);
    }
  }
  labels = kept;
  return context.view(emit_reduce(context, MINIINFER_REDUCE_SUM, x, axes), shape);
}

// Product of two operands, summed over the labels that `keep` lacks: a batched matrix product.
ValueId multiply(LowerContext& context, ValueId a, std::string la, ValueId b, std::string lb,
                 const std::string& keep, std::string& labels) {
  const auto has = [](const std::string& set, char c) { return set.find(c) != std::string::npos; };
  a = sum_labels(context, a, la, lb + keep);
  b = sum_labels(context, b, lb, la + keep);
  const Shape sa = context.shape_of(a);
  const Shape sb = context.shape_of(b);
  std::string batch;
  std::string rows;
  std::string columns;
  std::string inner;
  Shape out;
  for (std::size_t i = 0; i < la.size(); ++i) {
    const std::size_t j = lb.find(la[i]);
    if (j == std::string::npos) {
      rows += la[i];
    } else if (has(keep, la[i])) {
      batch += la[i];
    } else {
      inner += la[i];
    }
  }
  for (const char c : lb) {
    if (!has(la, c)) columns += c;
  }
  const auto size = [&](const std::string& set) {
    std::int64_t total = 1;
    for (const char c : set) {
      const std::int64_t left = has(la, c) ? sa[la.find(c)] : 1;
      const std::int64_t right = has(lb, c) ? sb[lb.find(c)] : 1;
      total *= left == 1 ? right : left;
    }
    return total;
  };
  // Sizes of 1 that meet larger ones are spread out first.
  const auto spread = [&](ValueId x, const std::string& own, const std::string& order) {
    x = arrange(context, x, own, order);
    Shape wanted;
    for (const char c : order) wanted.push_back(size(std::string(1, c)));
    return emit_expand(context, x, wanted);
  };
  const ValueId left =
      context.view(spread(a, la, batch + rows + inner), {size(batch), size(rows), size(inner)});
  const ValueId right = context.view(spread(b, lb, batch + inner + columns),
                                     {size(batch), size(inner), size(columns)});
  labels = batch + rows + columns;
  for (const char c : labels) out.push_back(size(std::string(1, c)));
  return context.view(emit_contract(context, left, right, false, false), out);
}

Status lower_einsum(LowerContext& context) {
  std::vector<std::size_t> ranks;
  for (std::size_t i = 0; i < context.input_count(); ++i) ranks.push_back(context.shape(i).size());
  Result<Subscripts> parsed =
      parse_subscripts(std::string(context.attributes().get_string("equation", "")), ranks);
  if (!parsed) return parsed.status();
  std::vector<ValueId> values;
  std::vector<std::string>& labels = parsed->operands;
  for (std::size_t i = 0; i < context.input_count(); ++i) {
    values.push_back(take_diagonals(context, context.in(i), labels[i]));
  }
  ValueId result = values[0];
  std::string have = labels[0];
  for (std::size_t i = 1; i < values.size(); ++i) {
    std::string keep = parsed->output;
    for (std::size_t later = i + 1; later < values.size(); ++later) keep += labels[later];
    std::string made;
    result = multiply(context, result, have, values[i], labels[i], keep, made);
    have = made;
  }
  result = sum_labels(context, result, have, parsed->output);
  context.set_output(0, arrange(context, result, have, parsed->output));
  return {};
}

const Operator kTable[] = {
    {.name = "Einsum",
     .since = 12,
     .min_inputs = 1,
     .max_inputs = -1,
     .attributes = {{"equation", AttributeSpec::String, true}},
     .infer = infer_einsum,
     .lower = lower_einsum},
};

}  // namespace

const OperatorTable kEinsumOperators = kTable;

}  // namespace miniinfer
