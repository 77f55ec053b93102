// Pointwise programs, copies and reductions on a GPU, against their definitions. `--no-skip` also
// prints how fast they are.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "miniinfer/abi/op/copy.h"
#include "miniinfer/abi/op/reduce.h"
#include "miniinfer/sdk/reference/program.hpp"
#include "tests/cuda/gpu_region.hpp"
#include "tests/cuda/pointwise_program.hpp"

using namespace miniinfer::test;  // NOLINT
namespace reference = miniinfer::sdk::reference;

namespace {

GpuDevice& gpu() {
  static GpuDevice& device = *new GpuDevice;
  return device;
}

// A node with its operands.
struct Case {
  RegionBuilder builder;
  std::vector<std::uint32_t> in;
  std::vector<std::uint32_t> out;
  std::vector<std::vector<std::byte>> data;

  void input(Random& random, int dtype, const Dims& dims, bool odd_values = true) {
    in.push_back(builder.input(dtype, dims));
    data.push_back(random_elements(random, dtype, count_of(dims), odd_values));
  }
  void pointwise(Program& program, const Dims& dims) {
    for (const std::uint16_t r : program.out) out.push_back(builder.output(program.types[r], dims));
    builder.node(MINIINFER_POINTWISE, &program.attrs, in, out);
  }

  void check(double relative, double absolute = 0, std::size_t shift = 0) {
    const Outputs got = run_on_gpu(gpu(), builder, data, shift);
    INFO(got.reason);
    REQUIRE_EQ(got.code, MINIINFER_OK);
    std::vector<std::byte*> args;
    for (auto& d : data) args.push_back(d.data());
    std::vector<std::vector<std::byte>> want;
    for (const auto& o : got.data) want.emplace_back(o.size());
    for (auto& o : want) args.push_back(o.data());
    const miniinfer_region& region = builder.region();
    reference::run_region(region, args);
    for (std::size_t o = 0; o < want.size(); ++o) {
      const miniinfer_dtype dtype = region.values[region.out[o]]->dtype;
      CHECK_EQ(differences(dtype, got.data[o], want[o], relative, absolute), 0);
    }
  }
};

// For each way in which programs are run.
template <class F>
void in_both_ways(const F& body) {
  auto& options = GpuPlugin::instance().host.options;
  for (const char* way : {"off", "always"}) {
    CAPTURE(way);
    options["nvrtc"] = way;
    body(std::string(way) == "always");
  }
  options.erase("nvrtc");
}

// 4 units in the last place, and what a type rounds to.
double tolerance(int dtype) {
  return dtype == MINIINFER_FLOAT16    ? 0x1p-10
         : dtype == MINIINFER_BFLOAT16 ? 0x1p-7
         : dtype == MINIINFER_FLOAT64  ? 1e-15
                                       : 5e-7;
}

miniinfer_reduce_attrs whole(int kind) {
  miniinfer_reduce_attrs attrs{};
  attrs.kind = kind;
  for (std::size_t axis = 0; axis < MINIINFER_MAX_RANK; ++axis) {
    attrs.window[axis] = attrs.stride[axis] = attrs.dilation[axis] = 1;
  }
  return attrs;
}

void check_reduce(miniinfer_reduce_attrs attrs, int dtype, const Dims& in, const Dims& out,
                  Random& random, bool positions = false) {
  CAPTURE(attrs.kind);
  CAPTURE(dtype);
  const std::string shape = text(in);
  CAPTURE(shape);
  const bool is_arg = attrs.kind >= MINIINFER_REDUCE_ARGMAX;
  const bool sums = attrs.kind <= MINIINFER_REDUCE_MEAN;
  Case c;
  c.input(random, dtype, in, !sums);
  c.out.push_back(c.builder.output(is_arg ? miniinfer_dtype{MINIINFER_INT64} : dtype, out));
  if (positions) c.out.push_back(c.builder.output(MINIINFER_INT64, out));
  c.builder.node(MINIINFER_REDUCE, &attrs, c.in, c.out);
  double terms = attrs.kind == MINIINFER_REDUCE_MEAN ? 1 : 0;
  if (attrs.kind == MINIINFER_REDUCE_SUM) {
    terms = 1;
    for (std::size_t i = 0; i < in.size(); ++i) terms *= static_cast<double>(attrs.window[i]);
  }
  const double relative = sums ? 4 * tolerance(dtype) : 0;
  c.check(relative, relative * 6.25 * terms);
}

struct Copies {
  std::vector<miniinfer_copy_region> regions;
  std::vector<const miniinfer_copy_region*> pointers;
  miniinfer_copy_attrs attrs{};

  miniinfer_copy_region& add() {
    auto& region = regions.emplace_back();
    region.head = MINIINFER_HEAD(miniinfer_copy_region);
    return region;
  }
  miniinfer_copy_attrs* finish() {
    for (const auto& region : regions) pointers.push_back(&region);
    attrs.region_count = static_cast<std::uint32_t>(pointers.size());
    attrs.regions = pointers.data();
    return &attrs;
  }
  // dims of the source, and the order in which its axes become the target's.
  void permute(const Dims& dims, const std::vector<std::size_t>& order) {
    auto& region = add();
    region.rank = static_cast<std::int32_t>(dims.size());
    std::int64_t step = 1;
    for (std::size_t i = dims.size(); i-- > 0;) {
      const std::size_t axis = order[i];
      region.dims[i] = dims[axis];
      region.dst_strides[i] = step;
      step *= dims[axis];
      region.src_strides[i] = 1;
      for (std::size_t k = axis + 1; k < dims.size(); ++k) region.src_strides[i] *= dims[k];
    }
  }
};

}  // namespace

TEST_CASE("programs in all types and shapes give the reference's bits on the GPU") {
  in_both_ways([](bool compiled) {
    Random random(1);
    for (int round = 0; round < (compiled ? 80 : 400); ++round) {
      Program program = random_program(random);
      program.finish(program.out);
      const Dims dims = random_dims(random, round % 4 == 0 ? 60000 : 600);
      Case c;
      for (const int dtype : program.in_types) c.input(random, dtype, narrowed(random, dims));
      c.pointwise(program, dims);
      CAPTURE(round);
      c.check(0, 0, round % 5 == 0 ? 8 : 0);
    }
  });
}

TEST_CASE("every instruction in every type gives the reference's bits on the GPU") {
  in_both_ways([](bool compiled) {
    Random random(2);
    for (const int dtype : kAllTypes) {
      // Compiled: all in one program, as each costs a compilation.
      std::vector<int> ops(std::begin(kExact), std::end(kExact));
      if (!is_float_type(dtype)) {
        ops.insert(ops.end(), std::begin(kForIntegers), std::end(kForIntegers));
      }
      std::erase(ops, MINIINFER_PW_CAST);
      std::erase(ops, MINIINFER_PW_SELECT);
      for (std::size_t first = 0; first < ops.size(); first += 12) {
        Program program;
        const auto a = program.input(dtype);
        const auto b = program.input(dtype);
        const auto d = program.input(dtype);
        std::vector<std::uint16_t> outputs;
        for (std::size_t i = first; i < std::min(first + 12, ops.size()); ++i) {
          outputs.push_back(program.emit(ops[i], dtype, a, b, d));
        }
        program.finish(outputs);
        Case c;
        for (int i = 0; i < 3; ++i) c.input(random, dtype, {1000});
        c.pointwise(program, {1000});
        CAPTURE(dtype);
        CAPTURE(compiled);
        c.check(0);
      }
    }
  });
}

TEST_CASE("functions on the GPU are within 4 units in the last place") {
  in_both_ways([](bool) {
    Random random(3);
    for (const int dtype :
         {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_BFLOAT16, MINIINFER_FLOAT64}) {
      for (std::size_t first = 0; first < std::size(kFunctions); first += 10) {
        Program program;
        const auto a = program.input(dtype);
        const auto b = program.input(dtype);
        std::vector<std::uint16_t> outputs;
        for (std::size_t i = first; i < std::min(first + 10, std::size(kFunctions)); ++i) {
          outputs.push_back(program.emit(kFunctions[i], dtype, a));
        }
        outputs.push_back(program.emit(MINIINFER_PW_POW, dtype, a, b));
        program.finish(outputs);
        Case c;
        for (int i = 0; i < 2; ++i) c.input(random, dtype, {5000});
        c.pointwise(program, {5000});
        CAPTURE(dtype);
        c.check(tolerance(dtype));
      }
    }
  });
}

TEST_CASE("casts between any two types are exact on the GPU") {
  in_both_ways([](bool) {
    Random random(4);
    for (const int from : kAllTypes) {
      Program program;
      const auto a = program.input(from);
      std::vector<std::uint16_t> outputs;
      for (const int to : kAllTypes) outputs.push_back(program.emit(MINIINFER_PW_CAST, to, a));
      program.finish(outputs);
      Case c;
      c.input(random, from, {4096});
      if (from != MINIINFER_BOOL) {  // any bits
        for (auto& byte : c.data[0]) byte = static_cast<std::byte>(random());
      }
      c.pointwise(program, {4096});
      CAPTURE(from);
      c.check(0);
    }
  });
}

TEST_CASE("axes in any order, size and alignment are copied on the GPU") {
  Random random(5);
  for (int round = 0; round < 150; ++round) {
    const int types[] = {MINIINFER_INT8, MINIINFER_FLOAT16, MINIINFER_FLOAT32, MINIINFER_INT64};
    const int dtype = types[pick(random, 0, 3)];
    const Dims dims = random_dims(random, round % 10 == 0 ? 4'000'000 : 60'000);
    std::vector<std::size_t> order(dims.size());
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random);
    Copies copies;
    copies.permute(dims, order);
    Case c;
    c.input(random, dtype, {static_cast<std::int64_t>(count_of(dims))});
    c.out.push_back(c.builder.output(dtype, {static_cast<std::int64_t>(count_of(dims))}));
    c.builder.node(MINIINFER_COPY, copies.finish(), c.in, c.out);
    c.check(0, 0, round % 4 == 0 ? 8 : 0);
  }
}

TEST_CASE("a fill and many regions are one copy on the GPU") {
  Random random(6);
  for (const int dtype : {MINIINFER_UINT8, MINIINFER_INT16, MINIINFER_FLOAT32, MINIINFER_INT64}) {
    Copies copies;
    copies.regions.reserve(40);
    copies.attrs.fill = 1;
    copies.attrs.fill_bits = 0x0102030405060708u;
    Case c;
    for (std::uint32_t i = 0; i < 40; ++i) {  // 40 columns of different width in rows of 2000
      auto& region = copies.add();
      region.input = i;
      region.rank = 2;
      region.dims[0] = 9;
      region.dims[1] = i;
      region.src_strides[0] = i;
      region.src_strides[1] = region.dst_strides[1] = 1;
      region.dst_strides[0] = 2000;
      region.dst_offset = i * 41;
      c.input(random, dtype, {9, i});
    }
    c.out.push_back(c.builder.output(dtype, {9, 2000}));
    c.builder.node(MINIINFER_COPY, copies.finish(), c.in, c.out);
    c.check(0);
  }
}

TEST_CASE("whole axes are reduced on the GPU as the reference does") {
  Random random(7);
  const std::vector<std::pair<Dims, Dims>> shapes = {
      {{3, 5}, {3, 1}},          {{1, 100000}, {1, 1}},     {{700, 768}, {700, 1}},
      {{64, 49}, {64, 1}},       {{5000, 40}, {1, 40}},     {{9000, 3}, {1, 3}},
      {{8, 64, 33}, {1, 64, 1}}, {{8, 64, 33}, {8, 1, 33}}, {{2000, 7}, {2000, 1}},
      {{1, 1}, {1, 1}},          {{4, 0}, {4, 1}},          {{0, 4}, {0, 1}},
  };
  for (const auto& [in, out] : shapes) {
    for (const int dtype : kAllTypes) {
      for (int kind = MINIINFER_REDUCE_SUM; kind <= MINIINFER_REDUCE_MIN; ++kind) {
        auto attrs = whole(kind);
        for (std::size_t i = 0; i < in.size(); ++i) attrs.window[i] = in[i] == out[i] ? 1 : in[i];
        check_reduce(attrs, dtype, in, out, random);
      }
    }
  }
}

TEST_CASE("positions of extremes are right on the GPU") {
  Random random(8);
  for (const int dtype : kAllTypes) {
    for (const int kind : {MINIINFER_REDUCE_ARGMAX, MINIINFER_REDUCE_ARGMIN}) {
      for (const unsigned last : {0u, 1u}) {
        auto attrs = whole(kind);
        attrs.select_last = last;
        attrs.window[1] = 30000;
        check_reduce(attrs, dtype, {2, 30000}, {2, 1}, random);
        attrs.window[1] = 300;
        check_reduce(attrs, dtype, {5, 300, 70}, {5, 1, 70}, random);
      }
    }
    auto attrs = whole(MINIINFER_REDUCE_MAX);
    attrs.window[2] = attrs.window[3] = 3;
    attrs.stride[2] = attrs.stride[3] = 2;
    attrs.pad_begin[2] = attrs.pad_begin[3] = 1;
    attrs.pad_end[2] = attrs.pad_end[3] = 1;
    check_reduce(attrs, dtype, {2, 5, 17, 23}, {2, 5, 9, 12}, random, true);
    attrs.index_column_major = 1;
    check_reduce(attrs, dtype, {2, 5, 17, 23}, {2, 5, 9, 12}, random, true);
  }
}

TEST_CASE("windows over one to three axes are combined on the GPU as the reference does") {
  Random random(9);
  for (int round = 0; round < 200; ++round) {
    auto attrs = whole(static_cast<int>(pick(random, 0, 3)));
    attrs.count_pad = static_cast<std::uint32_t>(pick(random, 0, 1));
    Dims in = {pick(random, 1, 2), pick(random, 1, 40)};
    Dims out = in;
    for (std::int64_t spatial = pick(random, 1, 3); spatial > 0; --spatial) {
      const std::size_t axis = in.size();
      attrs.window[axis] = pick(random, 1, 4);
      attrs.stride[axis] = pick(random, 1, 3);
      attrs.dilation[axis] = pick(random, 1, 2);
      attrs.pad_begin[axis] = pick(random, 0, 2);
      attrs.pad_end[axis] = pick(random, 0, 2);
      const std::int64_t reach = (attrs.window[axis] - 1) * attrs.dilation[axis] + 1;
      const std::int64_t size = pick(random, reach, 30);
      in.push_back(size);
      const std::int64_t padded = size + attrs.pad_begin[axis] + attrs.pad_end[axis];
      out.push_back((padded - reach) / attrs.stride[axis] + 1);
    }
    check_reduce(attrs, kAllTypes[pick(random, 0, 12)], in, out, random);
  }
}

namespace {

// Microseconds of one run among many.
double time_of(Case& c) {
  const miniinfer_region& region = c.builder.region();
  miniinfer_choice choice{};
  choice.head = MINIINFER_HEAD(miniinfer_choice);
  miniinfer_choice* choices[] = {&choice};
  std::uint32_t count = 1;
  REQUIRE_EQ(gpu().op->support(gpu().device, &region, choices, &count), MINIINFER_OK);
  miniinfer_kernel* kernel = nullptr;
  REQUIRE_EQ(gpu().op->create(gpu().device, &region, &choice, &kernel), MINIINFER_OK);
  std::vector<std::pair<miniinfer_mem, std::uint64_t>> blocks;
  const auto block = [&](std::uint64_t bytes) {
    blocks.emplace_back(gpu().alloc(bytes + 1, 256), bytes + 1);
    return blocks.back().first;
  };
  std::vector<miniinfer_mem> args;
  const auto add = [&](std::uint32_t v) {
    const miniinfer_value& value = *region.values[v];
    args.push_back(block(
        static_cast<std::uint64_t>(miniinfer::sdk::element_count(miniinfer::sdk::dims(value))) *
        miniinfer::sdk::element_bytes(value.dtype)));
  };
  for (std::uint32_t i = 0; i < region.in_count; ++i) add(region.in[i]);
  for (std::uint32_t o = 0; o < region.out_count; ++o) add(region.out[o]);
  miniinfer_run run{};
  run.head = MINIINFER_HEAD(miniinfer_run);
  run.args = args.data();
  run.workspace = block(choice.workspace_bytes + 64);
  miniinfer_stream* stream = gpu().make_stream();
  miniinfer_event* begin = gpu().make_event();
  miniinfer_event* end = gpu().make_event();
  constexpr int kRuns = 50;
  for (int i = 0; i < 5; ++i) gpu().op->enqueue(kernel, stream, &run);
  gpu().stream->event_record(begin, stream);
  for (int i = 0; i < kRuns; ++i) gpu().op->enqueue(kernel, stream, &run);
  gpu().stream->event_record(end, stream);
  CHECK_EQ(gpu().stream->sync(stream), MINIINFER_OK);
  std::uint64_t ns = 0;
  CHECK_EQ(gpu().stream->event_elapsed(begin, end, &ns), MINIINFER_OK);
  gpu().stream->event_destroy(begin);
  gpu().stream->event_destroy(end);
  gpu().op->destroy(kernel);
  gpu().stream->destroy(stream);
  for (const auto& [at, bytes] : blocks) gpu().free(at, bytes);
  return static_cast<double>(ns) / 1e3 / kRuns;
}

void report(const char* what, double bytes, double us) {
  std::printf("%-44s %9.1f us %8.0f GB/s\n", what, us, bytes / us / 1e3);
}

}  // namespace

TEST_CASE("figures: bytes that must move, by time" * doctest::skip()) {
  const Dims big = {32, 256, 56, 56};
  const double elements = static_cast<double>(count_of(big));
  for (const int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT16}) {
    const double bytes = elements * miniinfer::sdk::element_bytes(dtype);
    std::printf("%s\n", miniinfer::sdk::dtype_name(dtype));
    in_both_ways([&](bool compiled) {
      Program add;
      add.input(dtype);
      add.emit(MINIINFER_PW_ADD, dtype, 0, add.input(dtype));
      add.finish({2});
      for (const Dims& other : {big, Dims{1, 256, 1, 1}}) {
        Case c;
        c.in = {c.builder.input(dtype, big), c.builder.input(dtype, other)};
        c.pointwise(add, big);
        const bool same = other == big;
        report(compiled ? same ? "add, compiled" : "add of a channel, compiled"
               : same   ? "add, interpreted"
                        : "add of a channel, interpreted",
               bytes * (same ? 3 : 2), time_of(c));
      }
      Program gelu;
      const auto x = gelu.input(dtype);
      const auto e = gelu.emit(MINIINFER_PW_ERF, dtype, x);
      const auto m = gelu.emit(MINIINFER_PW_FMA, dtype, x, e, x);
      gelu.finish({gelu.emit(MINIINFER_PW_MUL, dtype, m, x)});
      Case c;
      c.in = {c.builder.input(dtype, big)};
      c.pointwise(gelu, big);
      report(compiled ? "erf and 2 more, compiled" : "erf and 2 more, interpreted", bytes * 2,
             time_of(c));
    });
    const std::vector<std::pair<const char*, std::vector<std::size_t>>> orders = {
        {"copy", {0, 1, 2, 3}},
        {"copy NCHW to NHWC", {0, 2, 3, 1}},
        {"copy with the first axes swapped", {1, 0, 2, 3}}};
    for (const auto& [what, order] : orders) {
      Copies copies;
      copies.permute(big, order);
      Case c;
      const auto n = static_cast<std::int64_t>(count_of(big));
      c.in = {c.builder.input(dtype, {n})};
      c.out = {c.builder.output(dtype, {n})};
      c.builder.node(MINIINFER_COPY, copies.finish(), c.in, c.out);
      report(what, bytes * 2, time_of(c));
    }
    const std::vector<std::tuple<const char*, Dims, Dims>> shapes = {
        {"mean of the inner axes", {32, 256, 3136}, {32, 256, 1}},
        {"mean of rows of 49", {512, 1024, 49}, {512, 1024, 1}},
        {"mean of the middle axis", {32, 256, 3136}, {32, 1, 3136}},
        {"mean of everything", {1, 25690112}, {1, 1}},
        {"mean of all but the channel", {32, 256, 3136}, {1, 256, 1}}};
    for (const auto& [what, in, out] : shapes) {
      auto attrs = whole(MINIINFER_REDUCE_MEAN);
      for (std::size_t i = 0; i < in.size(); ++i) attrs.window[i] = in[i] == out[i] ? 1 : in[i];
      Case c;
      c.in = {c.builder.input(dtype, in)};
      c.out = {c.builder.output(dtype, out)};
      c.builder.node(MINIINFER_REDUCE, &attrs, c.in, c.out);
      report(what, static_cast<double>(count_of(in)) * miniinfer::sdk::element_bytes(dtype),
             time_of(c));
    }
    auto attrs = whole(MINIINFER_REDUCE_MAX);
    for (const std::size_t axis : {std::size_t{2}, std::size_t{3}}) {
      attrs.window[axis] = 3;
      attrs.stride[axis] = 2;
      attrs.pad_begin[axis] = attrs.pad_end[axis] = 1;
    }
    Case c;
    c.in = {c.builder.input(dtype, {32, 64, 112, 112})};
    c.out = {c.builder.output(dtype, {32, 64, 56, 56})};
    c.builder.node(MINIINFER_REDUCE, &attrs, c.in, c.out);
    report("max of windows of 3 by 3", elements * 1.25 * miniinfer::sdk::element_bytes(dtype),
           time_of(c));
  }
}
