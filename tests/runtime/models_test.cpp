// Networks of well-known shape give what ONNX Runtime gave (tests/models/write_models.py).

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "miniinfer/compare.hpp"
#include "miniinfer/miniinfer.hpp"
#include "miniinfer/onnx_tensor.hpp"
#include "tests/support/fake_devices.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

std::filesystem::path folder(const char* variable) {
  const char* value = std::getenv(variable);
  REQUIRE_MESSAGE(value != nullptr, "run this by `meson test`, or set " << variable);
  return value;
}

std::filesystem::path model_file(const std::string& name) {
  return folder("MINIINFER_MODELS") / name;
}

Tensor read(const std::filesystem::path& file) {
  Result<NamedTensor> tensor = read_onnx_tensor(file);
  REQUIRE_MESSAGE(tensor, tensor.status().to_string());
  return std::move(tensor->tensor);
}

// Row `row` of a batch, or all of it.
Tensor batch(const Tensor& all, int row) {
  if (row < 0) return all;
  TensorType type = all.type();
  const std::size_t bytes = all.bytes().size() / static_cast<std::size_t>(type.shape[0]);
  type.shape[0] = 1;
  return Tensor::from_bytes(all.bytes().subspan(static_cast<std::size_t>(row) * bytes, bytes), type)
      .value();
}

struct Network {
  std::string name;
  std::vector<std::string> inputs, outputs;
};

const Network kNetworks[] = {
    {"lenet5", {"image"}, {"scores"}},
    {"bert_tiny", {"input_ids", "attention_mask"}, {"hidden", "pooled"}},
};

// The batch of three, then each of its rows alone, then all of it again.
void check_network(const Network& network, const std::string& devices) {
  CAPTURE(network.name);
  CAPTURE(devices);
  const Runtime runtime;
  Result<Session> session = runtime.load(model_file(network.name + ".onnx"), devices);
  REQUIRE_MESSAGE(session, session.status().to_string());
  for (const int row : {-1, 0, 1, 2, -1}) {
    CAPTURE(row);
    std::vector<Named> inputs;
    for (const std::string& name : network.inputs) {
      inputs.push_back({name, batch(read(model_file(network.name + "." + name + ".pb")), row)});
    }
    const Result<Outputs> outputs = session->run(inputs);
    REQUIRE_MESSAGE(outputs, outputs.status().to_string());
    for (const std::string& name : network.outputs) {
      CAPTURE(name);
      const Tensor want = batch(read(folder("MINIINFER_SOURCE") / "tests" / "models" / "expected" /
                                     (network.name + "." + name + ".pb")),
                                row);
      const Tensor got = outputs->get(name).value().to(Device()).value();
      const Comparison result = compare(got, want, 1e-4, 1e-5).value();
      CHECK_MESSAGE(result.equal, result.different << " differ, max abs " << result.max_abs_error);
    }
  }
}

TEST_SUITE("runtime.models") {
  TEST_CASE("LeNet-5 and BERT-tiny on the host") {
    for (const Network& network : kNetworks) check_network(network, "cpu");
  }

  TEST_CASE("LeNet-5 and BERT-tiny on a device that computes only the five families") {
    const FakeDevice fake;
    for (const Network& network : kNetworks) check_network(network, fake.id);
  }

  TEST_CASE(
      "LeNet-5 and BERT-tiny on a device with the host as fallback, and the other way round") {
    const FakeDevice fake;
    for (const Network& network : kNetworks) {
      check_network(network, fake.id + ",cpu");
      check_network(network, "cpu," + fake.id);
    }
  }
}

}  // namespace
