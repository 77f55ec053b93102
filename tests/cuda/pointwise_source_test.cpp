#include "plugins/cuda/kernels/pointwise_source.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <bit>
#include <string>
#include <vector>

#include "plugins/cuda/nvrtc.hpp"
#include "tests/cuda/pointwise_program.hpp"
#include "tests/sdk/region_builder.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cuda = miniinfer::cuda;
namespace sdk = miniinfer::sdk;

namespace {

// NVRTC needs no GPU. Null where it is not installed.
const cuda::Nvrtc* nvrtc() {
  static cuda::Nvrtc table;
  static const bool found = [] {
    void* library = dlopen("libnvrtc.so.13", RTLD_NOW);
    if (library == nullptr) library = dlopen("/usr/local/cuda/lib64/libnvrtc.so.13", RTLD_NOW);
    if (library == nullptr) return false;
#define MINIINFER_LOAD(name) \
  table.name = reinterpret_cast<decltype(table.name)>(dlsym(library, #name));
    MINIINFER_NVRTC_FUNCTIONS(MINIINFER_LOAD)
#undef MINIINFER_LOAD
    return true;
  }();
  return found ? &table : nullptr;
}

// NVRTC's complaints; empty where it made machine code.
std::string compile(const std::string& text, std::size_t* bytes) {
  const std::string source = cuda::generated_prelude() + text;
  nvrtcProgram program = nullptr;
  nvrtc()->nvrtcCreateProgram(&program, source.c_str(), "p.cu", 0, nullptr, nullptr);
  const char* options[] = {"--gpu-architecture=sm_90", "--std=c++17", "--fmad=false"};
  const nvrtcResult result = nvrtc()->nvrtcCompileProgram(program, 3, options);
  std::string log;
  std::size_t size = 0;
  nvrtc()->nvrtcGetProgramLogSize(program, &size);
  log.resize(size);
  nvrtc()->nvrtcGetProgramLog(program, log.data());
  *bytes = 0;
  if (result == NVRTC_SUCCESS) nvrtc()->nvrtcGetCUBINSize(program, bytes);
  nvrtc()->nvrtcDestroyProgram(&program);
  return result == NVRTC_SUCCESS ? "" : log + "\n" + text;
}

struct Node {
  Program program;
  RegionBuilder builder;

  void finish(const std::vector<Dims>& inputs, const Dims& out) {
    std::vector<std::uint32_t> in;
    std::vector<std::uint32_t> outs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      in.push_back(builder.input(program.in_types[i], inputs[i]));
    }
    for (const std::uint16_t r : program.out) outs.push_back(builder.output(program.types[r], out));
    builder.node(MINIINFER_POINTWISE, &program.attrs, in, outs);
  }
  cuda::GeneratedSource generate() {
    auto source = cuda::generate(cuda::read_pointwise(sdk::Region(builder.region()), 0));
    REQUIRE(source.has_value());
    return *source;
  }
};

// x + bias over a channel, then ReLU.
void bias_relu(Node& node, int dtype, const Dims& x, const Dims& bias) {
  Program& p = node.program;
  const auto a = p.input(dtype);
  const auto b = p.input(dtype);
  const auto zero = p.constant(dtype, 0);
  p.emit(MINIINFER_PW_ADD, dtype, a, b);
  p.emit(MINIINFER_PW_MAX, dtype, 3, zero);
  p.finish({4});
  node.finish({x, bias}, x);
}

}  // namespace

TEST_CASE("generated text depends on a program and on how it broadcasts, on no size") {
  Node small, large, odd, other;
  bias_relu(small, MINIINFER_FLOAT32, {2, 3, 4, 4}, {1, 3, 1, 1});
  bias_relu(large, MINIINFER_FLOAT32, {8, 64, 56, 56}, {1, 64, 1, 1});
  bias_relu(odd, MINIINFER_FLOAT32, {8, 64, 7, 7}, {1, 64, 1, 1});
  bias_relu(other, MINIINFER_FLOAT16, {8, 64, 56, 56}, {1, 64, 1, 1});
  CHECK(small.generate().text == large.generate().text);
  CHECK(large.generate().text != odd.generate().text);  // rows of 49 are not whole packs
  CHECK(large.generate().vector == 4);
  CHECK(other.generate().vector == 8);
  CHECK(large.generate().pack_bytes[0] == 16);
  CHECK(large.generate().pack_bytes[1] == 0);
}

TEST_CASE("NVRTC makes machine code of any program and any way to broadcast") {
  if (nvrtc() == nullptr) {
    MESSAGE("skipped: there is no libnvrtc.so.13");
    return;
  }
  Random random(7);
  for (int round = 0; round < 8; ++round) {
    Node node;
    node.program = random_program(random);
    node.program.finish(node.program.out);
    const Dims dims = random_dims(random, 20000);
    std::vector<Dims> inputs;
    for (std::size_t i = 0; i < node.program.in_types.size(); ++i) {
      inputs.push_back(narrowed(random, dims));
    }
    node.finish(inputs, dims);
    std::size_t bytes = 0;
    CHECK(compile(node.generate().text, &bytes) == "");
    CHECK(bytes > 1000);
  }
  Node all;  // every function, in both widths
  for (const int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT64}) {
    const auto x = all.program.input(dtype);
    static_cast<void>(x);
  }
  std::vector<std::uint16_t> outputs;
  for (std::uint16_t i = 0; i < 2; ++i) {
    const int dtype = all.program.types[i];
    std::uint16_t last = i;
    for (const int op : kFunctions) last = all.program.emit(op, dtype, last);
    outputs.push_back(all.program.emit(MINIINFER_PW_POW, dtype, last, i));
  }
  all.program.finish(outputs);
  all.finish({{64, 64}, {64, 1}}, {64, 64});
  std::size_t bytes = 0;
  CHECK(compile(all.generate().text, &bytes) == "");
}
