#include "plugins/cuda/kernels/pointwise.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "miniinfer/sdk/reference/program.hpp"
#include "tests/cuda/emulated_device.hpp"
#include "tests/cuda/pointwise_program.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cuda = miniinfer::cuda;
namespace reference = miniinfer::sdk::reference;

namespace {

struct Case {
  RegionBuilder builder;
  std::vector<std::vector<std::byte>> data;

  void input(Random& random, int dtype, const Dims& dims, bool odd_values = true) {
    ids.push_back(builder.input(dtype, dims));
    data.push_back(random_elements(random, dtype, count_of(dims), odd_values));
  }
  void finish(Program& program, const Dims& dims) {
    std::vector<std::uint32_t> outputs;
    for (const std::uint16_t r : program.out)
      outputs.push_back(builder.output(program.types[r], dims));
    builder.node(MINIINFER_POINTWISE, &program.attrs, ids, outputs);
  }

  std::vector<std::uint32_t> ids;
};

void compare(Case& c, double relative, const char* what, std::size_t shift = 0) {
  const Outputs got = run_emulated(cuda::kPointwise, c.builder, c.data, shift);
  INFO(what << ": " << got.reason);
  REQUIRE(got.code == MINIINFER_OK);
  std::vector<std::byte*> args;
  for (auto& d : c.data) args.push_back(d.data());
  std::vector<std::vector<std::byte>> want;
  for (const auto& out : got.data) want.emplace_back(out.size());
  for (auto& out : want) args.push_back(out.data());
  miniinfer_fault fault{};
  const miniinfer_region& region = c.builder.region();
  reference::run_region(region, args, &fault);
  CHECK(got.fault.code == fault.code);
  if (fault.code != 0) CHECK(got.fault.step == 7);
  for (std::size_t o = 0; o < want.size(); ++o) {
    CHECK(differences(region.values[region.out[o]]->dtype, got.data[o], want[o], relative) == 0);
  }
}

double tolerance(int dtype) {
  switch (dtype) {
    case MINIINFER_FLOAT16:
      return 0x1p-10;
    case MINIINFER_BFLOAT16:
      return 0x1p-7;
    case MINIINFER_FLOAT64:
      return 1e-15;
    default:
      return 5e-7;
  }
}

}  // namespace

TEST_CASE("interpreted programs in all types and shapes give the reference's bits") {
  Random random(1);
  for (int round = 0; round < 400; ++round) {
    Program program = random_program(random);
    const Dims dims = random_dims(random, round % 10 == 0 ? 20000 : 600);
    Case c;
    for (const int dtype : program.in_types) c.input(random, dtype, narrowed(random, dims));
    c.finish(program, dims);
    compare(c, 0, text(dims).c_str());
  }
}

TEST_CASE("every instruction in every type gives the reference's bits, at the type's borders too") {
  Random random(7);
  for (const int dtype : kAllTypes) {
    std::vector<int> ops(std::begin(kExact), std::end(kExact));
    if (!is_float_type(dtype)) {
      ops.insert(ops.end(), std::begin(kForIntegers), std::end(kForIntegers));
    }
    for (const int op : ops) {
      if (op == MINIINFER_PW_CAST) continue;
      Program program;
      std::uint16_t operands[3];
      for (int i = 0; i < 3; ++i) {
        operands[i] =
            program.input(op == MINIINFER_PW_SELECT && i == 0 ? int{MINIINFER_BOOL} : dtype);
      }
      program.emit(op, dtype, operands[0], operands[1], operands[2]);
      program.finish({3});
      Case c;
      for (const int type : program.in_types) {
        c.input(random, type, {300});
        reference::with_type(type, [&](auto tag) {
          using S = typename decltype(tag)::Stored;
          using Limits = std::numeric_limits<reference::Compute<S>>;
          if constexpr (reference::kIsFloat<S>) return;
          for (std::size_t i = 0; i < 200; ++i) {  // shifts and powers that leave something
            std::int64_t value = pick(random, -9, 9);
            if (type == MINIINFER_BOOL) value &= 1;
            if (type != MINIINFER_BOOL && pick(random, 0, 7) == 0)
              value = static_cast<std::int64_t>(Limits::min());
            if (type != MINIINFER_BOOL && pick(random, 0, 7) == 0)
              value = static_cast<std::int64_t>(Limits::max());
            reference::store<S>(c.data.back().data() + i * sizeof(S), value);
          }
        });
      }
      c.finish(program, {300});
      compare(c, 0, (std::to_string(op) + " in " + std::to_string(dtype)).c_str());
    }
  }
}

TEST_CASE("functions on the GPU are as near as their type allows") {
  Random random(2);
  for (const int dtype :
       {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_BFLOAT16, MINIINFER_FLOAT64}) {
    for (const int op : kFunctions) {
      Program program;
      program.emit(op, dtype, program.input(dtype));
      program.finish({1});
      Case c;
      c.input(random, dtype, {3, 333});
      c.finish(program, {3, 333});
      compare(c, tolerance(dtype), std::to_string(op).c_str());
    }
    Program program;
    const auto a = program.input(dtype);
    program.emit(MINIINFER_PW_POW, dtype, a, program.input(dtype));
    program.finish({2});
    Case c;
    c.input(random, dtype, {500});
    c.input(random, dtype, {500});
    c.finish(program, {500});
    compare(c, tolerance(dtype), "pow");
  }
}

TEST_CASE("casts between any two types round once, saturate and wrap as the contract says") {
  Random random(3);
  const double hard[] = {0.0,     -0.0,       1e-45,      -3e-8,   2147483647.5, -2147483648.5,
                         65519.9, 65520,      1e30,       -1e300,  9.3e18,       -9.3e18,
                         1.9e19,  0x1.0018p0, 0x1.0008p0, 127.999, 255.5,        -128.9};
  for (const int from : kAllTypes) {
    for (const int to : kAllTypes) {
      Program program;
      program.emit(MINIINFER_PW_CAST, to, program.input(from));
      program.finish({1});
      Case c;
      c.input(random, from, {512});
      std::size_t size = miniinfer::sdk::element_bytes(from);
      reference::with_type(from, [&](auto type) {
        using S = typename decltype(type)::Stored;
        std::size_t i = 0;
        for (; i < std::size(hard); ++i) {
          if constexpr (reference::kIsFloat<S>) {
            reference::store<S>(c.data[0].data() + i * size,
                                static_cast<reference::Compute<S>>(hard[i]));
          }
        }
        for (; i < 400; ++i) {  // any bits
          S value;
          const std::uint64_t bits = random();
          std::memcpy(&value, &bits, sizeof value);
          if constexpr (std::is_same_v<S, reference::Bool>) continue;
          std::memcpy(c.data[0].data() + i * size, &value, sizeof value);
        }
      });
      c.finish(program, {512});
      compare(c, 0, (std::to_string(from) + " to " + std::to_string(to)).c_str());
    }
  }
}

TEST_CASE("operands with gaps, turned axes and any alignment are read and written in place") {
  Random random(4);
  for (const std::size_t shift : {0, 8}) {
    Program program;
    const auto a = program.input(MINIINFER_FLOAT32);
    program.emit(MINIINFER_PW_SUB, MINIINFER_FLOAT32, a, program.input(MINIINFER_FLOAT32));
    program.finish({2});
    Case c;
    c.ids = {c.builder.input(MINIINFER_FLOAT32, {6, 8}, {1, 6}),
             c.builder.input(MINIINFER_FLOAT32, {6, 8}, {24, 2})};
    c.data = {random_elements(random, MINIINFER_FLOAT32, 48),
              random_elements(random, MINIINFER_FLOAT32, 160)};
    c.finish(program, {6, 8});
    compare(c, 0, "strides", shift);
  }
}

TEST_CASE("what is no pointwise program is refused with a reason") {
  Program program;
  program.emit(MINIINFER_PW_EXP, MINIINFER_INT32, program.input(MINIINFER_INT32));
  program.finish({1});
  Case c;
  Random random(5);
  c.input(random, MINIINFER_INT32, {4});
  c.finish(program, {4});
  const Outputs got = run_emulated(cuda::kPointwise, c.builder, c.data);
  CHECK(got.code == MINIINFER_UNSUPPORTED);
  CHECK(got.reason == "pointwise: opcode 8 in int32 is not defined");
}

TEST_CASE("no elements are no launch") {
  Program program;
  program.emit(MINIINFER_PW_NEG, MINIINFER_FLOAT32, program.input(MINIINFER_FLOAT32));
  program.finish({1});
  Case c;
  Random random(6);
  c.input(random, MINIINFER_FLOAT32, {0, 5});
  c.finish(program, {0, 5});
  compare(c, 0, "empty");
}
