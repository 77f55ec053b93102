#include "miniinfer/abi/op/contract.h"

#include <doctest/doctest.h>

#include <vector>

#include "miniinfer/sdk/reference/program.hpp"
#include "tests/cpu/random_data.hpp"
#include "tests/cpu/relu_node.hpp"
#include "tests/cpu/thread_host.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace reference = miniinfer::sdk::reference;

namespace {

struct Case {
  Dims batch_a, batch_b;
  std::int64_t m, n, k;
  bool ta, tb, constant;
};

Dims with(Dims batch, std::int64_t rows, std::int64_t columns, bool transpose) {
  batch.push_back(transpose ? columns : rows);
  batch.push_back(transpose ? rows : columns);
  return batch;
}

Dims joined(const Case& c) {
  Dims batch = c.batch_a;
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i] = std::max(batch[i], c.batch_b[i]);
  return batch;
}

// Element (row, column) of the matrix of one batch, wherever broadcasting finds it.
template <class S>
std::size_t at(const Dims& own, const Dims& all, std::size_t batch, std::int64_t rows,
               std::int64_t columns, std::int64_t row, std::int64_t column, bool transpose) {
  std::size_t index = 0, step = 1;
  for (std::size_t i = all.size(); i-- > 0;) {
    const auto coordinate = batch % static_cast<std::size_t>(all[i]);
    batch /= static_cast<std::size_t>(all[i]);
    if (own[i] != 1) index += coordinate * step;
    step *= static_cast<std::size_t>(own[i]);
  }
  const std::int64_t inner = transpose ? column * rows + row : row * columns + column;
  return index * static_cast<std::size_t>(rows * columns) + static_cast<std::size_t>(inner);
}

void check(Random& random, const Case& c, int dtype, ReluNode::Kind kind) {
  CAPTURE(c.m);
  CAPTURE(c.n);
  CAPTURE(c.k);
  CAPTURE(c.ta);
  CAPTURE(c.tb);
  CAPTURE(c.constant);
  CAPTURE(dtype);
  CAPTURE(kind);
  CAPTURE(c.batch_a.size());
  const Dims all = joined(c);
  const Dims da = with(c.batch_a, c.m, c.k, c.ta), db = with(c.batch_b, c.k, c.n, c.tb);
  const Dims dc = with(all, c.m, c.n, false);
  RegionBuilder builder;
  miniinfer_contract_attrs attrs{};
  attrs.transpose_a = c.ta;
  attrs.transpose_b = c.tb;
  ReluNode relu(kind);
  const auto a = builder.input(dtype, da), b = builder.input(dtype, db);
  if (c.constant) builder[b].flags = MINIINFER_VALUE_CONSTANT;
  const auto y =
      dtype == MINIINFER_FLOAT32 ? relu.produced(builder, dc) : builder.output(dtype, dc);
  builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {y});
  relu.follow(builder, y, dc);
  auto va = random_elements(random, dtype, count_of(da), false);
  auto vb = random_elements(random, dtype, count_of(db), false);
  auto vr = random_elements(random, MINIINFER_FLOAT32, count_of(dc), false);
  std::vector<std::byte*> inputs = {va.data(), vb.data()};
  if (kind == ReluNode::Residual) inputs.push_back(vr.data());
  const Outputs got = run_family(cpu::kContract, builder, inputs);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);

  std::vector<std::byte> want(got.data[0].size());
  reference::with_type(dtype, [&](auto type) {
    using S = typename decltype(type)::Stored;
    const std::size_t batches = count_of(all);
    for (std::size_t i = 0; i < batches; ++i) {
      for (std::int64_t r = 0; r < c.m; ++r) {
        for (std::int64_t q = 0; q < c.n; ++q) {
          double sum = 0;
          std::uint64_t wrapped = 0;
          for (std::int64_t k = 0; k < c.k; ++k) {
            const auto x = reference::load<S>(
                va.data() + at<S>(c.batch_a, all, i, c.m, c.k, r, k, c.ta) * sizeof(S));
            const auto w = reference::load<S>(
                vb.data() + at<S>(c.batch_b, all, i, c.k, c.n, k, q, c.tb) * sizeof(S));
            sum += static_cast<double>(x) * static_cast<double>(w);
            if constexpr (!reference::kIsFloat<S>) {
              wrapped += static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(w);
            }
          }
          const std::size_t to =
              (i * static_cast<std::size_t>(c.m * c.n) + static_cast<std::size_t>(r * c.n + q)) *
              sizeof(S);
          S stored;
          if constexpr (reference::kIsFloat<S>) {
            float residual;
            std::memcpy(&residual, vr.data() + to / sizeof(S) * 4, 4);
            if (dtype == MINIINFER_FLOAT32) sum = relu.expected(sum, residual);
            stored = reference::Number<S>::store(static_cast<reference::Compute<S>>(sum));
          } else {
            stored = static_cast<S>(wrapped);
          }
          std::memcpy(want.data() + to, &stored, sizeof stored);
        }
      }
    }
  });
  const bool narrow = dtype == MINIINFER_FLOAT16 || dtype == MINIINFER_BFLOAT16;
  CHECK(differences(dtype, got.data[0], want, narrow ? 1e-2 : 2e-6,
                    narrow ? 1e-2 : 1e-5 * static_cast<double>(c.k + 1)) == 0);
}

const Case kCases[] = {
    {{}, {}, 1, 10, 64, false, false, true},
    {{}, {}, 1, 33, 7, false, true, false},
    {{}, {}, 5, 31, 3, true, false, false},
    {{}, {}, 13, 65, 401, false, true, true},
    {{}, {}, 250, 70, 33, true, true, true},
    {{}, {}, 130, 300, 90, false, false, false},
    {{}, {}, 3, 4, 0, false, false, false},
    {{}, {}, 0, 4, 3, false, false, true},
    {{3}, {1}, 4, 9, 17, false, false, true},
    {{1}, {3}, 4, 9, 17, false, true, false},
    {{2, 3}, {2, 3}, 19, 40, 24, false, true, false},
    {{2, 1}, {1, 3}, 14, 35, 8, true, false, false},
    {{4}, {1}, 6, 50, 20, true, false, true},
};

}  // namespace

TEST_CASE("Contract multiplies matrices of every kind of shape, with any number of threads") {
  Random random(1);
  for (std::uint32_t threads : {1u, 2u, 3u}) {
    const ThreadHost host(threads);
    for (const Case& c : kCases) {
      for (ReluNode::Kind kind : {ReluNode::None, ReluNode::Clamp, ReluNode::Residual}) {
        check(random, c, MINIINFER_FLOAT32, kind);
      }
    }
  }
}

TEST_CASE("Contract serves every number type, and integers wrap") {
  Random random(2);
  const ThreadHost host(2);
  for (int dtype : kAllTypes) {
    if (dtype == MINIINFER_BOOL) continue;
    for (const Case& c : kCases) check(random, c, dtype, ReluNode::None);
  }
}

namespace {

// Strides of a tensor whose axis i is the i-th outermost of memory's order `order`.
Dims lying(const Dims& dims, const std::vector<std::size_t>& order) {
  Dims strides(dims.size());
  std::int64_t step = 1;
  for (std::size_t i = order.size(); i-- > 0; step *= dims[order[i]]) strides[order[i]] = step;
  return strides;
}

// A product whose operands lie in these orders; what support said, and whether it was right.
miniinfer_code check_lying(int dtype, const std::vector<std::size_t>& a_order,
                           const std::vector<std::size_t>& b_order,
                           const std::vector<std::size_t>& c_order, std::int64_t m, std::int64_t n,
                           bool shared = false, bool constant = false) {
  const std::int64_t b_batch = shared ? 1 : 2, b_heads = shared ? 1 : 3;
  const Dims da = {2, 3, m, 21}, db = {b_batch, b_heads, 21, n}, dc = {2, 3, m, n};
  RegionBuilder builder;
  miniinfer_contract_attrs attrs{};
  Random random(static_cast<unsigned>(m * 100 + n));
  const auto a = builder.input(dtype, da, lying(da, a_order));
  const auto b = builder.input(dtype, db, lying(db, b_order));
  if (constant) builder[b].flags = MINIINFER_VALUE_CONSTANT;
  builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {builder.output(dtype, dc, lying(dc, c_order))});
  auto va = random_elements(random, dtype, count_of(da), false);
  auto vb = random_elements(random, dtype, count_of(db), false);
  const Outputs got = run_family(cpu::kContract, builder, {va.data(), vb.data()});
  if (got.code != MINIINFER_OK) return got.code;
  std::vector<std::byte> want(got.data[0].size());
  reference::run_region(builder.region(), std::vector{va.data(), vb.data(), want.data()});
  const bool narrow = dtype == MINIINFER_FLOAT16 || dtype == MINIINFER_BFLOAT16;
  CHECK(differences(dtype, got.data[0], want, narrow ? 1e-2 : 1e-5, narrow ? 1e-2 : 1e-4) == 0);
  return got.code;
}

}  // namespace

TEST_CASE("Contract reads and writes operands through the order their axes lie in") {
  using Order = std::vector<std::size_t>;
  const Order plain = {0, 1, 2, 3}, heads_inside = {0, 2, 1, 3}, turned = {0, 2, 3, 1};
  for (const std::uint32_t threads : {1u, 3u}) {
    const ThreadHost host(threads);
    for (const int dtype :
         {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_FLOAT64, MINIINFER_INT32}) {
      CAPTURE(dtype);
      for (const std::int64_t m : {1, 5, 40}) {
        for (const std::int64_t n : {1, 8, 45, 80}) {
          for (const bool shared : {false, true}) {
            const auto code = [&](const Order& a, const Order& b, const Order& c) {
              return check_lying(dtype, a, b, c, m, n, shared);
            };
            CHECK(code(heads_inside, heads_inside, plain) == MINIINFER_OK);
            CHECK(code(plain, {0, 3, 1, 2}, plain) == MINIINFER_OK);
            CHECK(code(turned, plain, heads_inside) == MINIINFER_OK);
            CHECK(code({3, 2, 1, 0}, {2, 0, 1, 3}, {2, 1, 0, 3}) == MINIINFER_OK);
          }
        }
      }
      CHECK(check_lying(dtype, plain, plain, {0, 1, 3, 2}, 5, 8) == MINIINFER_UNSUPPORTED);
      CHECK(check_lying(dtype, plain, {3, 0, 1, 2}, plain, 5, 8, true, true) ==
            MINIINFER_UNSUPPORTED);
      CHECK(check_lying(dtype, heads_inside, plain, plain, 5, 8, true, true) == MINIINFER_OK);
    }
  }
}

TEST_CASE("Contract refuses types that differ, with a reason") {
  RegionBuilder builder;
  miniinfer_contract_attrs attrs{};
  const auto a = builder.input(MINIINFER_FLOAT32, {2, 2}),
             b = builder.input(MINIINFER_INT8, {2, 2});
  builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {builder.output(MINIINFER_FLOAT32, {2, 2})});
  const Outputs got = run_family(cpu::kContract, builder, {});
  CHECK(got.code == MINIINFER_UNSUPPORTED);
  CHECK(got.reason.find("contract") == 0);
}
