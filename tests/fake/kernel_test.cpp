#include "plugins/fake/kernel.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "miniinfer/abi/op/conv.h"
#include "miniinfer/abi/op/gather.h"
#include "miniinfer/abi/op/pointwise.h"
#include "tests/fake/fake_device.hpp"

using miniinfer::test::FakeDevice;
using miniinfer::test::RegionBuilder;

namespace {

using Floats = std::vector<float>;

const miniinfer_instruction kNegate = {MINIINFER_PW_NEG, MINIINFER_FLOAT32, 0, 0, 0, 0};
const std::uint16_t kResult = 1;

miniinfer_pointwise_attrs negation() {
  miniinfer_pointwise_attrs attrs{};
  attrs.in_count = attrs.code_count = attrs.out_count = 1;
  attrs.code = &kNegate;
  attrs.out = &kResult;
  return attrs;
}

struct Asked {
  miniinfer_code code;
  miniinfer_choice choice{};
  std::string reason;
};

Asked ask(FakeDevice& fake, const miniinfer_region& region) {
  Asked asked{};
  asked.choice.head = MINIINFER_HEAD(miniinfer_choice);
  miniinfer_choice* choices[] = {&asked.choice};
  std::uint32_t count = 1;
  asked.code = fake.op->support(fake.device, &region, choices, &count);
  asked.reason = asked.choice.reason;
  return asked;
}

// Runs a region on a stream of its own, over operands of `bytes` bytes each.
struct Run {
  Run(FakeDevice& device, const miniinfer_region& region, std::uint32_t operands)
      : fake(device), stream(device.make_stream()) {
    const Asked asked = ask(fake, region);
    REQUIRE_EQ(asked.code, MINIINFER_OK);
    REQUIRE_EQ(fake.op->create(fake.device, &region, &asked.choice, &kernel), MINIINFER_OK);
    for (std::uint32_t i = 0; i < operands; ++i) args.push_back(fake.alloc(256));
    fault = fake.alloc(sizeof(miniinfer_fault));
    fake.stream->fill(stream, fault, sizeof(miniinfer_fault), 0, 8);
    workspace_bytes = asked.choice.workspace_bytes;
    if (workspace_bytes != 0) workspace = fake.alloc(workspace_bytes);
  }
  ~Run() {
    fake.op->destroy(kernel);
    fake.stream->destroy(stream);
    for (const miniinfer_mem arg : args) fake.free(arg, 256);
    fake.free(fault, sizeof(miniinfer_fault));
    if (workspace_bytes != 0) fake.free(workspace, workspace_bytes);
  }
  miniinfer_code enqueue(const std::vector<miniinfer_mem>& with) {
    miniinfer_run run{};
    run.head = MINIINFER_HEAD(miniinfer_run);
    run.args = with.data();
    run.workspace = workspace;
    run.fault = fault;
    run.step = 17;
    return fake.op->enqueue(kernel, stream, &run);
  }
  miniinfer_code sync() { return fake.stream->sync(stream); }

  FakeDevice& fake;
  miniinfer_stream* stream;
  miniinfer_kernel* kernel = nullptr;
  std::vector<miniinfer_mem> args;
  miniinfer_mem fault{};
  miniinfer_mem workspace{};
  std::uint64_t workspace_bytes = 0;
};

struct Negation {
  Negation() {
    const std::uint32_t x = builder.input(MINIINFER_FLOAT32, {2});
    builder.node(MINIINFER_POINTWISE, &attrs, {x}, {builder.output(MINIINFER_FLOAT32, {2})});
  }
  miniinfer_pointwise_attrs attrs = negation();
  RegionBuilder builder;
};

// conv/1 of a 1x1x3x3 input with a 2x2 window, the result negated where asked.
struct Convolution {
  explicit Convolution(bool fused, std::int32_t group = 1) {
    attrs.spatial_rank = 2;
    attrs.group = group;
    for (int axis = 0; axis < 2; ++axis) attrs.stride[axis] = attrs.dilation[axis] = 1;
    const std::uint32_t x = builder.input(MINIINFER_FLOAT32, {1, 1, 3, 3});
    const std::uint32_t w = builder.input(MINIINFER_FLOAT32, {1, 1, 2, 2});
    const std::uint32_t bias = builder.input(MINIINFER_FLOAT32, {1});
    const std::uint32_t inner = builder.value(MINIINFER_FLOAT32, {1, 1, 2, 2});
    if (fused) {
      builder.node(MINIINFER_CONV, &attrs, {x, w, bias}, {inner});
      builder.node(MINIINFER_POINTWISE, &negate, {inner},
                   {builder.output(MINIINFER_FLOAT32, {1, 1, 2, 2})});
    } else {
      builder.node(MINIINFER_CONV, &attrs, {x, w, bias},
                   {builder.output(MINIINFER_FLOAT32, {1, 1, 2, 2})});
    }
  }
  miniinfer_conv_attrs attrs{};
  miniinfer_pointwise_attrs negate = negation();
  RegionBuilder builder;
};

}  // namespace

TEST_CASE("a kernel runs late, on memory of the device") {
  FakeDevice fake;
  Negation negation;
  Run run(fake, negation.builder.region(), 2);
  const Floats in = {1, -2};
  Floats out(2);
  fake.upload(run.stream, run.args[0], in);
  CHECK_EQ(run.enqueue(run.args), MINIINFER_OK);
  fake.download(run.stream, out, run.args[1]);
  CHECK_EQ(out, Floats{0, 0});
  CHECK_EQ(run.sync(), MINIINFER_OK);
  CHECK_EQ(out, Floats{-1, 2});
  CHECK_EQ(fake.ledger().launches, 1u);
  CHECK_EQ(fake.ledger().violations, 0u);
}

TEST_CASE("what nobody uploaded is NaN in the result") {
  FakeDevice fake;
  Negation negation;
  Run run(fake, negation.builder.region(), 2);
  Floats out(2);
  run.enqueue(run.args);
  fake.download(run.stream, out, run.args[1]);
  CHECK_EQ(run.sync(), MINIINFER_OK);
  CHECK(std::isnan(out[0]));
}

TEST_CASE("a pointwise program may overwrite its input, exactly") {
  FakeDevice fake;
  Negation negation;
  CHECK_EQ(ask(fake, negation.builder.region()).choice.in_place, 1u);
  Run run(fake, negation.builder.region(), 1);
  const Floats in = {1, -2};
  Floats out(2);
  fake.upload(run.stream, run.args[0], in);
  run.enqueue({run.args[0], run.args[0]});
  fake.download(run.stream, out, run.args[0]);
  CHECK_EQ(run.sync(), MINIINFER_OK);
  CHECK_EQ(out, Floats{-1, 2});
  run.enqueue({run.args[0], {run.args[0].handle, 4}});
  CHECK_EQ(run.sync(), MINIINFER_INVALID_ARGUMENT);
  CHECK_EQ(fake.violation(), "step 17: output 0 shares memory with operand 0");
}

TEST_CASE("an operand that is too small for its shape is a violation") {
  FakeDevice fake;
  Negation negation;
  Run run(fake, negation.builder.region(), 2);
  run.enqueue({run.args[0], {run.args[1].handle, 252}});
  CHECK_EQ(run.sync(), MINIINFER_INVALID_ARGUMENT);
  CHECK_EQ(fake.ledger().violations, 1u);
}

TEST_CASE("convolution with bias, alone and with a pointwise program behind it") {
  for (const bool fused : {false, true}) {
    FakeDevice fake;
    Convolution conv(fused);
    Run run(fake, conv.builder.region(), 4);
    const Floats x = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const Floats w = {1, 0, 0, -1};
    const Floats bias = {10};
    Floats out(4);
    fake.upload(run.stream, run.args[0], x);
    fake.upload(run.stream, run.args[1], w);
    fake.upload(run.stream, run.args[2], bias);
    run.enqueue(run.args);
    fake.download(run.stream, out, run.args[3]);
    CHECK_EQ(run.sync(), MINIINFER_OK);
    CHECK_EQ(out, Floats(4, fused ? -6.0f : 6.0f));
  }
}

TEST_CASE("what the device does not do is refused with a reason") {
  FakeDevice fake;
  Convolution grouped(false, 8);
  CHECK_EQ(ask(fake, grouped.builder.region()).code, MINIINFER_UNSUPPORTED);
  CHECK_EQ(ask(fake, grouped.builder.region()).reason, "group 8: only 1 is implemented");

  Negation twice;
  const std::uint32_t y = twice.builder.output(MINIINFER_FLOAT32, {2});
  twice.builder.node(MINIINFER_POINTWISE, &twice.attrs, {1}, {y});
  CHECK_EQ(ask(fake, twice.builder.region()).reason,
           "only conv and contract are fused, with one pointwise");

  RegionBuilder other;
  miniinfer_gather_attrs attrs{};
  other.node("softmax/1", &attrs, {other.input(MINIINFER_FLOAT32, {1})},
             {other.output(MINIINFER_FLOAT32, {1})});
  CHECK_EQ(ask(fake, other.region()).reason, "softmax/1 is not implemented");
}

TEST_CASE("an index out of range is reported in the fault block, with the step") {
  FakeDevice fake;
  RegionBuilder builder;
  miniinfer_gather_attrs attrs{};
  const std::uint32_t data = builder.input(MINIINFER_FLOAT32, {3});
  const std::uint32_t indices = builder.input(MINIINFER_INT32, {1});
  builder.node(MINIINFER_GATHER, &attrs, {data, indices}, {builder.output(MINIINFER_FLOAT32, {1})});
  Run run(fake, builder.region(), 3);
  const std::vector<std::int32_t> wrong = {5};
  std::vector<miniinfer_fault> fault(1);
  fake.upload(run.stream, run.args[1], wrong);
  run.enqueue(run.args);
  fake.download(run.stream, fault, run.fault);
  CHECK_EQ(run.sync(), MINIINFER_OK);
  CHECK_EQ(fault[0].code, MINIINFER_FAULT_INDEX);
  CHECK_EQ(fault[0].step, 17u);
  CHECK_EQ(fault[0].detail[0], 5);
  CHECK_EQ(fault[0].detail[1], 3);
}

TEST_CASE("a launch fails by plan, at once or late") {
  FakeDevice at_once("launch#1=fail");
  Negation negation;
  Run first(at_once, negation.builder.region(), 2);
  CHECK_EQ(first.enqueue(first.args), MINIINFER_INTERNAL);
  CHECK_EQ(first.enqueue(first.args), MINIINFER_OK);
  CHECK_EQ(first.sync(), MINIINFER_OK);
}
