#include "core/cpu/pointwise_loop.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "miniinfer/abi/op/pointwise.h"
#include "miniinfer/sdk/reference/program.hpp"
#include "tests/cpu/random_data.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace reference = miniinfer::sdk::reference;

namespace {

// A program as vectors, with the attributes that point to them.
struct Program {
  std::vector<int> in_types;
  std::vector<std::uint64_t> constants;
  std::vector<std::uint16_t> constant_types;
  std::vector<miniinfer_instruction> code;
  std::vector<std::uint16_t> out;
  std::vector<int> register_types;
  miniinfer_pointwise_attrs attrs{};

  std::uint16_t input(int dtype) {
    in_types.push_back(dtype);
    return add(dtype);
  }
  std::uint16_t constant(int dtype, std::uint64_t bits) {
    constants.push_back(bits);
    constant_types.push_back(static_cast<std::uint16_t>(dtype));
    return add(dtype);
  }
  std::uint16_t emit(int op, int dtype, std::uint16_t a, std::uint16_t b = 0, std::uint16_t c = 0) {
    code.push_back({static_cast<std::uint16_t>(op), static_cast<std::uint16_t>(dtype), a, b, c, 0});
    const bool to_bool = (op >= MINIINFER_PW_IS_NAN && op <= MINIINFER_PW_IS_NEGATIVE_INF) ||
                         (op >= MINIINFER_PW_EQUAL && op <= MINIINFER_PW_LESS_EQUAL);
    return add(to_bool ? int{MINIINFER_BOOL} : dtype);
  }
  miniinfer_pointwise_attrs* finish(std::vector<std::uint16_t> outputs) {
    out = std::move(outputs);
    attrs.in_count = static_cast<std::uint32_t>(in_types.size());
    attrs.constant_count = static_cast<std::uint32_t>(constants.size());
    attrs.code_count = static_cast<std::uint32_t>(code.size());
    attrs.out_count = static_cast<std::uint32_t>(out.size());
    attrs.constants = constants.data();
    attrs.constant_dtypes = constant_types.data();
    attrs.code = code.data();
    attrs.out = out.data();
    return &attrs;
  }

 private:
  std::uint16_t add(int dtype) {
    register_types.push_back(dtype);
    return static_cast<std::uint16_t>(register_types.size() - 1);
  }
};

std::uint64_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

struct Case {
  RegionBuilder builder;
  std::vector<std::vector<std::byte>> data;
  std::vector<std::byte*> inputs() {
    std::vector<std::byte*> bases;
    for (auto& d : data) bases.push_back(d.data());
    return bases;
  }
};

// The kernel's outputs and fault against the reference's.
void compare(Case& c, double relative, const char* what) {
  const Outputs got = run_family(cpu::kPointwise, c.builder, c.inputs());
  INFO(what << ": " << got.reason);
  REQUIRE(got.code == MINIINFER_OK);
  std::vector<std::vector<std::byte>> want;
  auto args = c.inputs();
  for (const auto& out : got.data) want.emplace_back(out.size());
  for (auto& out : want) args.push_back(out.data());
  miniinfer_fault fault{};
  const miniinfer_region& region = c.builder.region();
  reference::run_region(region, args, &fault);
  CHECK(got.fault.code == fault.code);
  for (std::size_t o = 0; o < want.size(); ++o) {
    const int dtype = region.values[region.out[o]]->dtype;
    CHECK(differences(dtype, got.data[o], want[o], relative) == 0);
  }
}

// A shape that broadcasts to `dims`.
Dims narrowed(Random& random, const Dims& dims) {
  Dims result = dims;
  const std::int64_t how = pick(random, 0, 5);
  for (auto& d : result) {
    if (how == 1 || (how >= 2 && pick(random, 0, 1) == 0)) d = 1;
  }
  return how == 0 ? dims : result;
}

Dims random_dims(Random& random) {
  Dims dims;
  const std::int64_t rank = pick(random, 0, 5);
  std::int64_t budget = 6000;
  for (std::int64_t i = 0; i < rank; ++i) {
    const std::int64_t sizes[] = {1, 2, 3, 5, 7, 16, 33, 64, 257, 300, 1024, 1100};
    std::int64_t d = sizes[pick(random, 0, 11)];
    if (d > budget) d = 1;
    budget /= d;
    dims.push_back(d);
  }
  return dims;
}

}  // namespace

TEST_CASE("random programs on random shapes of every type give what the reference gives") {
  Random random(7);
  const int binary[] = {MINIINFER_PW_ADD, MINIINFER_PW_SUB, MINIINFER_PW_MUL, MINIINFER_PW_MIN,
                        MINIINFER_PW_MAX, MINIINFER_PW_DIV, MINIINFER_PW_MOD};
  const int unary[] = {MINIINFER_PW_COPY, MINIINFER_PW_NEG,  MINIINFER_PW_ABS,
                       MINIINFER_PW_SIGN, MINIINFER_PW_CEIL, MINIINFER_PW_RECIPROCAL};
  for (int round = 0; round < 400; ++round) {
    const int dtype = kAllTypes[pick(random, 0, 12)];
    const bool is_bool = dtype == MINIINFER_BOOL;
    Program p;
    const std::int64_t in_count = pick(random, 1, 4);
    for (std::int64_t i = 0; i < in_count; ++i) p.input(dtype);
    const std::vector<std::byte> raw = random_elements(random, dtype, 2, false);
    const std::size_t bytes = raw.size() / 2;
    for (std::size_t i = 0; i < 2; ++i) {
      std::uint64_t value = 0;
      std::memcpy(&value, raw.data() + i * bytes, bytes);
      p.constant(dtype, value);
    }
    std::vector<std::uint16_t> of_type;
    for (std::uint16_t r = 0; r < p.register_types.size(); ++r) of_type.push_back(r);
    const auto any = [&] { return of_type[random() % of_type.size()]; };
    const std::int64_t length = pick(random, 0, 12);
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t what = pick(random, 0, 5);
      if (is_bool) {
        const int ops[] = {MINIINFER_PW_AND, MINIINFER_PW_OR, MINIINFER_PW_XOR, MINIINFER_PW_EQUAL};
        of_type.push_back(what == 0 ? p.emit(MINIINFER_PW_NOT, dtype, any())
                                    : p.emit(ops[pick(random, 0, 3)], dtype, any(), any()));
      } else if (what == 0) {
        of_type.push_back(p.emit(unary[pick(random, 0, 5)], dtype, any()));
      } else if (what == 1) {
        const std::uint16_t mask = p.emit(MINIINFER_PW_LESS, dtype, any(), any());
        of_type.push_back(p.emit(MINIINFER_PW_SELECT, dtype, mask, any(), any()));
      } else if (what == 2) {
        const int middle = kAllTypes[pick(random, 0, 12)];
        const std::uint16_t cast = p.emit(MINIINFER_PW_CAST, middle, any());
        of_type.push_back(p.emit(MINIINFER_PW_CAST, dtype, cast));
      } else {
        of_type.push_back(p.emit(binary[pick(random, 0, 6)], dtype, any(), any()));
      }
    }
    std::vector<std::uint16_t> outs = {of_type.back()};
    while (pick(random, 0, 3) == 0 && outs.size() < 4) outs.push_back(any());
    const Dims dims = random_dims(random);
    Case c;
    std::vector<std::uint32_t> in;
    for (std::int64_t i = 0; i < in_count; ++i) {
      const Dims narrow = narrowed(random, dims);
      in.push_back(c.builder.input(dtype, narrow));
      c.data.push_back(random_elements(random, dtype, count_of(narrow)));
    }
    std::vector<std::uint32_t> out;
    for (std::size_t o = 0; o < outs.size(); ++o) out.push_back(c.builder.output(dtype, dims));
    c.builder.node(MINIINFER_POINTWISE, p.finish(outs), in, out);
    INFO("round " << round << " type " << dtype);
    compare(c, 0, "random");
  }
}

TEST_CASE("an input's strides may be any") {
  Random random(3);
  for (const Dims& dims : {Dims{40, 300}, Dims{7, 9, 11}, Dims{600, 2}}) {
    Dims strides(dims.size());
    std::int64_t step = 1;
    for (std::size_t axis = 0; axis < dims.size(); ++axis) {
      strides[axis] = step;  // column-major
      step *= dims[axis];
    }
    Program p;
    const auto a = p.input(MINIINFER_FLOAT32);
    const auto b = p.input(MINIINFER_FLOAT32);
    Case c;
    const auto x = c.builder.input(MINIINFER_FLOAT32, dims, strides);
    const auto y = c.builder.input(MINIINFER_FLOAT32, dims);
    const auto z = c.builder.output(MINIINFER_FLOAT32, dims);
    c.data.push_back(random_elements(random, MINIINFER_FLOAT32, count_of(dims)));
    c.data.push_back(random_elements(random, MINIINFER_FLOAT32, count_of(dims)));
    c.builder.node(MINIINFER_POINTWISE,
                   p.finish({p.emit(MINIINFER_PW_SUB, MINIINFER_FLOAT32, a, b)}), {x, y}, {z});
    compare(c, 0, "strides");
  }
}

TEST_CASE("functions of float16 and bfloat16 round once to their type") {
  Random random(11);
  for (const int dtype : {MINIINFER_FLOAT16, MINIINFER_BFLOAT16}) {
    for (const int op :
         {MINIINFER_PW_EXP, MINIINFER_PW_TANH, MINIINFER_PW_SIGMOID, MINIINFER_PW_SQRT}) {
      Program p;
      const auto a = p.input(dtype);
      Case c;
      const auto x = c.builder.input(dtype, {3, 401});
      const auto y = c.builder.output(dtype, {3, 401});
      c.data.push_back(random_elements(random, dtype, 1203));
      c.builder.node(MINIINFER_POINTWISE, p.finish({p.emit(op, dtype, a)}), {x}, {y});
      // One unit in the last place: float32 may lie on the other side of a tie.
      compare(c, dtype == MINIINFER_FLOAT16 ? 0x1p-10 : 0x1p-7, "half function");
    }
  }
}

TEST_CASE("a result may be written over an input of its shape") {
  Random random(5);
  Program p;
  const auto a = p.input(MINIINFER_FLOAT32);
  const auto b = p.input(MINIINFER_FLOAT32);
  const auto s = p.emit(MINIINFER_PW_ADD, MINIINFER_FLOAT32, a, b);
  const auto m = p.emit(MINIINFER_PW_MUL, MINIINFER_FLOAT32, s, a);
  RegionBuilder builder;
  const auto x = builder.input(MINIINFER_FLOAT32, {5000});
  const auto y = builder.input(MINIINFER_FLOAT32, {5000});
  const auto u = builder.output(MINIINFER_FLOAT32, {5000});
  const auto v = builder.output(MINIINFER_FLOAT32, {5000});
  builder.node(MINIINFER_POINTWISE, p.finish({s, m}), {x, y}, {u, v});
  const cpu::RegionView view(builder.region());
  char reason[192];
  const auto loop = cpu::PointwiseLoop::create(view, 0, reason);
  REQUIRE(loop != nullptr);
  std::vector<float> p0(5000), p1(5000);
  for (std::size_t i = 0; i < 5000; ++i) {
    p0[i] = static_cast<float>(i % 91);
    p1[i] = static_cast<float>(i % 57) - 9;
  }
  std::vector<float> want_s(5000), want_m(5000);
  for (std::size_t i = 0; i < 5000; ++i) {
    want_s[i] = p0[i] + p1[i];
    want_m[i] = want_s[i] * p0[i];
  }
  const std::byte* inputs[] = {bytes(p0), bytes(p1)};
  std::byte* outputs[] = {bytes(p0), bytes(p1)};
  std::vector<std::byte> scratch(loop->scratch_bytes() + 64);
  loop->run(0, 1999, inputs, outputs, scratch.data(), nullptr);
  loop->run(1999, 3001, inputs, outputs, scratch.data(), nullptr);
  CHECK(p0 == want_s);
  CHECK(p1 == want_m);
}

TEST_CASE("relu, clips, and those of a sum are seen as clamps, other programs are not") {
  const auto clamp_of = [](Program& p, std::uint16_t out, float* low, float* high) {
    RegionBuilder builder;
    std::vector<std::uint32_t> in;
    for (const int type : p.in_types) in.push_back(builder.input(type, {8}));
    const auto y = builder.output(MINIINFER_FLOAT32, {8});
    builder.node(MINIINFER_POINTWISE, p.finish({out}), in, {y});
    char reason[192];
    const auto loop = cpu::PointwiseLoop::create(cpu::RegionView(builder.region()), 0, reason);
    REQUIRE(loop != nullptr);
    return loop->is_clamp(low, high);
  };
  float low = 9;
  float high = 9;
  {
    Program p;
    const auto x = p.input(MINIINFER_FLOAT32);
    const auto zero = p.constant(MINIINFER_FLOAT32, bits(0.0f));
    CHECK(clamp_of(p, p.emit(MINIINFER_PW_MAX, MINIINFER_FLOAT32, zero, x), &low, &high));
    CHECK(low == 0);
    CHECK(std::isinf(high));
  }
  {
    Program p;
    const auto x = p.input(MINIINFER_FLOAT32);
    const auto zero = p.constant(MINIINFER_FLOAT32, bits(0.0f));
    const auto six = p.constant(MINIINFER_FLOAT32, bits(6.0f));
    const auto r = p.emit(MINIINFER_PW_MAX, MINIINFER_FLOAT32, x, zero);
    CHECK(clamp_of(p, p.emit(MINIINFER_PW_MIN, MINIINFER_FLOAT32, r, six), &low, &high));
    CHECK(low == 0);
    CHECK(high == 6);
  }
  {
    Program p;
    const auto x = p.input(MINIINFER_FLOAT32);
    const auto zero = p.constant(MINIINFER_FLOAT32, bits(0.0f));
    CHECK_FALSE(clamp_of(p, p.emit(MINIINFER_PW_ADD, MINIINFER_FLOAT32, x, zero), &low, &high));
  }
  for (const auto op : {MINIINFER_PW_ADD, MINIINFER_PW_MUL}) {
    Program p;
    const auto x = p.input(MINIINFER_FLOAT32);
    const auto y = p.input(MINIINFER_FLOAT32);
    const auto one = p.constant(MINIINFER_FLOAT32, bits(1.0f));
    const auto sum = p.emit(op, MINIINFER_FLOAT32, y, x);
    const bool is_clamp =
        clamp_of(p, p.emit(MINIINFER_PW_MAX, MINIINFER_FLOAT32, sum, one), &low, &high);
    CHECK(is_clamp == (op == MINIINFER_PW_ADD));
    if (is_clamp) CHECK(low == 1);
  }
}

TEST_CASE("what cannot be run is refused with a reason") {
  Program p;
  const auto a = p.input(MINIINFER_FLOAT32);
  Case c;
  const auto x = c.builder.input(MINIINFER_FLOAT32, {4});
  const auto y = c.builder.output(MINIINFER_FLOAT32, {4});
  c.data.resize(1, std::vector<std::byte>(16));
  c.builder.node(MINIINFER_POINTWISE,
                 p.finish({p.emit(MINIINFER_PW_SHIFT_LEFT, MINIINFER_FLOAT32, a, a)}), {x}, {y});
  const Outputs out = run_family(cpu::kPointwise, c.builder, c.inputs());
  CHECK(out.code == MINIINFER_UNSUPPORTED);
  CHECK(out.reason == "pointwise: opcode 55 of type 1 is not served");
}
