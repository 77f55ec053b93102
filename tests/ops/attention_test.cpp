#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "miniinfer/abi/op/attention.h"
#include "tests/ops/op_model.hpp"

using namespace miniinfer;        // NOLINT
using namespace miniinfer::test;  // NOLINT

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Case {
  std::int64_t batch, heads, groups, queries, past, added, depth, width;
  bool flat = false, causal = false;
  double softcap = 0;
  Shape mask = {};  // none where it is empty
  bool mask_is_bool = false;
  std::vector<std::int64_t> nonpad = {};
  std::int64_t keys() const { return past + added; }
};

struct Operands {
  std::vector<float> q, k, v, mask, past_k, past_v;
};

std::vector<float> numbers(std::int64_t count, double seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(std::sin(seed + 1.7 * static_cast<double>(i)));
  }
  return values;
}

Operands operands_of(const Case& c) {
  const std::int64_t pairs = c.batch * c.groups;
  Operands o{
      numbers(c.batch * c.heads * c.queries * c.depth, 1),
      numbers(pairs * c.added * c.depth, 2),
      numbers(pairs * c.added * c.width, 3),
      numbers(std::accumulate(c.mask.begin(), c.mask.end(), std::int64_t{1}, std::multiplies<>()),
              4),
      numbers(pairs * c.past * c.depth, 5),
      numbers(pairs * c.past * c.width, 6)};
  // Of a boolean mask a third is false; of the first query everything.
  for (std::size_t i = 0; c.mask_is_bool && i < o.mask.size(); ++i) {
    o.mask[i] = i % 3 != 0 && static_cast<std::int64_t>(i) >= c.mask.back() ? 1 : 0;
  }
  return o;
}

// By the definition, one query after the other, in double.
class Reference {
 public:
  Reference(const Case& c, const Operands& o) : c_(c), o_(o) {
    for (std::int64_t b = 0; b < c.batch; ++b) {
      for (std::int64_t h = 0; h < c.heads; ++h) {
        for (std::int64_t i = 0; i < c.queries; ++i) attend(b, h, i);
      }
    }
    if (!c.flat) return;
    const Values by_heads = y;
    for (std::int64_t b = 0; b < c.batch; ++b) {
      for (std::int64_t h = 0; h < c.heads; ++h) {
        for (std::int64_t i = 0; i < c.queries; ++i) {
          for (std::int64_t w = 0; w < c.width; ++w) {
            y[at(((b * c.queries + i) * c.heads + h) * c.width + w)] =
                by_heads[at(((b * c.heads + h) * c.queries + i) * c.width + w)];
          }
        }
      }
    }
  }

  Values y, modes[4];

 private:
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

  // Number d of row i of head h, as one of the operator's inputs has it.
  double given(const std::vector<float>& data, std::int64_t heads, std::int64_t rows,
               std::int64_t columns, bool flat, std::int64_t b, std::int64_t h, std::int64_t i,
               std::int64_t d) const {
    return flat ? data[at(((b * rows + i) * heads + h) * columns + d)]
                : data[at(((b * heads + h) * rows + i) * columns + d)];
  }
  double past_or(const std::vector<float>& past, const std::vector<float>& added,
                 std::int64_t columns, std::int64_t b, std::int64_t g, std::int64_t j,
                 std::int64_t d) const {
    return j < c_.past ? given(past, c_.groups, c_.past, columns, false, b, g, j, d)
                       : given(added, c_.groups, c_.added, columns, c_.flat, b, g, j - c_.past, d);
  }

  double bias(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
    const std::int64_t offset = c_.nonpad.empty() ? c_.past : c_.nonpad[at(b)] - c_.queries;
    if (c_.causal && j > i + offset) return -kInfinity;
    if (!c_.nonpad.empty() && j >= c_.nonpad[at(b)]) return -kInfinity;
    if (c_.mask.empty()) return 0;
    if (j >= c_.mask.back()) return -kInfinity;
    const std::int64_t place[] = {b, h, i, j};
    std::int64_t index = 0;
    for (std::size_t axis = 0; axis < c_.mask.size(); ++axis) {
      const std::int64_t size = c_.mask[axis];
      index = index * size + (size == 1 ? 0 : place[axis + 4 - c_.mask.size()]);
    }
    if (!c_.mask_is_bool) return o_.mask[at(index)];
    return o_.mask[at(index)] != 0 ? 0 : -kInfinity;
  }

  void attend(std::int64_t b, std::int64_t h, std::int64_t i) {
    const std::int64_t g = h / (c_.heads / c_.groups);
    Values scores, row(at(c_.width), 0.0);
    double most = -kInfinity, sum = 0;
    for (std::int64_t j = 0; j < c_.keys(); ++j) {
      double score = 0;
      for (std::int64_t d = 0; d < c_.depth; ++d) {
        score += given(o_.q, c_.heads, c_.queries, c_.depth, c_.flat, b, h, i, d) *
                 past_or(o_.past_k, o_.k, c_.depth, b, g, j, d);
      }
      score /= std::sqrt(static_cast<double>(c_.depth));
      modes[0].push_back(score);
      if (c_.softcap != 0) score = c_.softcap * std::tanh(score / c_.softcap);
      modes[1].push_back(score);
      score += bias(b, h, i, j);
      modes[2].push_back(score);
      scores.push_back(score);
      most = std::max(most, score);
    }
    for (double& score : scores) sum += score = most == -kInfinity ? 0 : std::exp(score - most);
    for (std::int64_t j = 0; j < c_.keys(); ++j) {
      const double p = sum == 0 ? 0 : scores[at(j)] / sum;
      modes[3].push_back(p);
      for (std::int64_t w = 0; w < c_.width; ++w) {
        row[at(w)] += p * past_or(o_.past_v, o_.v, c_.width, b, g, j, w);
      }
    }
    y.insert(y.end(), row.begin(), row.end());
  }

  const Case& c_;
  const Operands& o_;
};

// The node of a case; four outputs, of which `scores` says whether the last is wanted.
std::vector<ValueId> attention(OpModel& m, const Case& c, const Operands& o, int mode = -1) {
  const auto split = [&](std::int64_t heads, std::int64_t rows, std::int64_t columns) {
    return c.flat ? Shape{c.batch, rows, heads * columns} : Shape{c.batch, heads, rows, columns};
  };
  std::vector<ValueId> inputs = {m.input(floats(o.q, split(c.heads, c.queries, c.depth))),
                                 m.input(floats(o.k, split(c.groups, c.added, c.depth))),
                                 m.input(floats(o.v, split(c.groups, c.added, c.width)))};
  inputs.resize(7, kNoValue);
  if (!c.mask.empty()) {
    inputs[3] = c.mask_is_bool ? m.input(tensor<bool>({o.mask.begin(), o.mask.end()}, c.mask))
                               : m.input(floats(o.mask, c.mask));
  }
  if (c.past > 0) {
    inputs[4] = m.input(floats(o.past_k, {c.batch, c.groups, c.past, c.depth}));
    inputs[5] = m.input(floats(o.past_v, {c.batch, c.groups, c.past, c.width}));
  }
  if (!c.nonpad.empty()) inputs[6] = m.input(ints(c.nonpad));
  Attributes with;
  if (c.flat) {
    with.set("q_num_heads", c.heads);
    with.set("kv_num_heads", c.groups);
  }
  if (c.causal) with.set("is_causal", std::int64_t{1});
  if (c.softcap != 0) with.set("softcap", static_cast<float>(c.softcap));
  if (mode >= 0) with.set("qk_matmul_output_mode", std::int64_t{mode});
  return m.nodes("Attention", inputs, mode >= 0 ? 4 : 3, with);
}

const std::vector<Case> kCases = {
    {2, 3, 3, 4, 0, 6, 8, 5},
    {2, 4, 2, 3, 0, 5, 6, 7, true},
    {1, 4, 1, 3, 5, 3, 4, 4, false, true},
    {2, 2, 2, 3, 2, 3, 4, 6, true, true, 0.5, {3, 5}},
    {2, 2, 1, 3, 0, 5, 4, 4, false, false, 0, {2, 1, 3, 5}, true},
    {1, 2, 2, 4, 0, 4, 4, 4, false, true, 0, {2, 4, 4}, true},
    {2, 2, 2, 3, 0, 6, 4, 4, false, false, 0, {1, 2, 3, 4}, false, {4, 2}},
    {2, 2, 2, 3, 0, 6, 4, 4, false, true, 2, {}, false, {6, 2}},
};

void check_close(const Values& got, const Values& wanted) {
  REQUIRE_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    if (std::isinf(wanted[i])) {
      CHECK_EQ(got[i], wanted[i]);
    } else {
      CHECK(got[i] == doctest::Approx(wanted[i]).epsilon(1e-4).scale(1));
    }
  }
}

bool is_one_kernel(OpModel& m, const std::vector<ValueId>& outputs) {
  const Result<Graph> kernels = m.lowered(outputs);
  REQUIRE_MESSAGE(kernels.ok(), kernels.status().to_string());
  return std::ranges::any_of(kernels->nodes(), [](const Node& node) {
    return !node.removed && node.op == MINIINFER_ATTENTION;
  });
}

}  // namespace

TEST_CASE("Attention is what its definition says, as one kernel and in parts") {
  for (const Case& c : kCases) {
    CAPTURE(&c - kCases.data());
    const Operands o = operands_of(c);
    const Reference wanted(c, o);
    {
      OpModel m;
      const auto outputs = attention(m, c, o);
      check_close(m.run(outputs)[0]->as_doubles(), wanted.y);
      CHECK_EQ(is_one_kernel(m, outputs), c.softcap == 0);
    }
    for (int mode = 0; mode < 4; ++mode) {
      CAPTURE(mode);
      OpModel m;
      const auto outputs = attention(m, c, o, mode);
      const auto results = m.run(outputs);
      check_close(results[0]->as_doubles(), wanted.y);
      check_close(results[3]->as_doubles(), wanted.modes[mode]);
      CHECK_FALSE(is_one_kernel(m, outputs));
    }
  }
}

TEST_CASE("Attention gives what is past and what is new as one") {
  const Case c{1, 1, 1, 1, 2, 1, 2, 1};
  OpModel m;
  const Operands o{{1, 1}, {5, 6}, {7}, {}, {1, 2, 3, 4}, {8, 9}};
  const auto results = m.run(attention(m, c, o));
  check_near(results[1]->as_doubles(), {1, 2, 3, 4, 5, 6});
  check_near(results[2]->as_doubles(), {8, 9, 7});
}

TEST_CASE("a query that meets no key has zeros, and one that meets a NaN has NaN") {
  const Case c{1, 1, 1, 2, 0, 2, 2, 1, false, false, 0, {2, 2}, true};
  Operands o{{1, 1, 1, 1}, {1, 2, 3, 4}, {5, 6}, {0, 0, 1, 1}, {}, {}};
  OpModel m;
  check_near(m.run(attention(m, c, o))[0]->as_doubles(),
             {0, 5 + 1 / (1 + std::exp(-4 / std::sqrt(2)))});
  o.k[0] = std::numeric_limits<float>::quiet_NaN();
  OpModel with_nan;
  const Values y = with_nan.run(attention(with_nan, c, o))[0]->as_doubles();
  CHECK_EQ(y[0], 0);
  CHECK(std::isnan(y[1]));
}

TEST_CASE("Attention refuses operands that do not fit") {
  const auto status = [](Case c, auto&& change) {
    Operands o = operands_of(c);
    OpModel m;
    change(c, o);
    return std::string(m.lowered(attention(m, c, o)).status().message());
  };
  const auto nothing = [](Case&, Operands&) {};
  CHECK(status({1, 3, 2, 1, 0, 2, 4, 4}, nothing).find("do not fit") != std::string::npos);
  CHECK(status({1, 2, 2, 1, 0, 2, 4, 4, false, false, 0, {3, 1, 2}}, nothing)
            .find("a mask's sizes") != std::string::npos);
  CHECK(status({2, 2, 2, 1, 0, 2, 4, 4, false, false, 0, {}, false, {1}}, nothing)
            .find("nonpad_kv_seqlen") != std::string::npos);
}

TEST_CASE("RotaryEmbedding turns pairs that are apart, or neighbours, by their position's angle") {
  const double a = 0.3, b = 1.1;
  const std::vector<float> cosines = {1, 1, static_cast<float>(std::cos(a)),
                                      static_cast<float>(std::cos(b))};
  const std::vector<float> sines = {0, 0, static_cast<float>(std::sin(a)),
                                    static_cast<float>(std::sin(b))};
  const auto turn = [](double x, double y, double angle) {
    return std::pair(x * std::cos(angle) - y * std::sin(angle),
                     x * std::sin(angle) + y * std::cos(angle));
  };
  // One head of a sequence of two, the second at position 1; the fifth number stays.
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  for (const bool interleaved : {false, true}) {
    CAPTURE(interleaved);
    OpModel m;
    const ValueId in = m.input(floats(x, {1, 1, 2, 5}));
    const ValueId positions = m.input(tensor<std::int64_t>({0, 1}, {1, 2}));
    const auto with = attributes(
        {{"interleaved", std::int64_t{interleaved}}, {"rotary_embedding_dim", std::int64_t{4}}});
    const ValueId y = m.node(
        "RotaryEmbedding",
        {in, m.input(floats(cosines, {2, 2})), m.input(floats(sines, {2, 2})), positions}, with);
    const auto [p, q] = turn(6, interleaved ? 7 : 8, a);
    const auto [r, s] = turn(interleaved ? 8 : 7, 9, b);
    check_near(m.run(y), interleaved ? Values{1, 2, 3, 4, 5, p, q, r, s, 10}
                                     : Values{1, 2, 3, 4, 5, p, r, q, s, 10});
  }
  // Tables for each place, heads in the last axis: both heads are turned alike.
  OpModel m;
  const ValueId in = m.input(floats({1, 2, 1, 2}, {1, 1, 4}));
  const ValueId y =
      m.node("RotaryEmbedding",
             {in, m.input(floats({cosines[2]}, {1, 1, 1})), m.input(floats({sines[2]}, {1, 1, 1}))},
             attributes({{"num_heads", std::int64_t{2}}}));
  const auto [p, q] = turn(1, 2, a);
  check_near(m.run(y), {p, q, p, q});
}
