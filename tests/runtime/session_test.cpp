#include "miniinfer/session.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "miniinfer/compare.hpp"
#include "miniinfer/miniinfer.hpp"
#include "miniinfer/onnx_tensor.hpp"

namespace {

using namespace miniinfer;

std::filesystem::path digits() {
  const char* source = std::getenv("MINIINFER_SOURCE");
  REQUIRE_MESSAGE(source != nullptr, "run this by `meson test`, or set MINIINFER_SOURCE");
  return std::filesystem::path(source) / "examples" / "digits";
}

Tensor images() { return read_onnx_tensor(digits() / "images.pb").value().tensor; }
Tensor expected() { return read_onnx_tensor(digits() / "expected.pb").value().tensor; }

void check_digits(const Tensor& scores) {
  const Comparison result = compare(scores, expected(), 1e-4, 1e-6).value();
  CHECK_MESSAGE(result.equal, "max error " << result.max_abs_error);
}

TEST_SUITE("runtime.session") {
  TEST_CASE("the digits model gives what ONNX Runtime gave") {
    const Runtime runtime;
    const Session session = runtime.load(digits() / "digits.onnx", "cpu").value();
    CHECK(to_string(session.inputs()[0]) == "float32[N,1,8,8]");
    check_digits(session.run(images()).value().only().value());
  }

  TEST_CASE("a free batch size needs no preparation") {
    const Runtime runtime;
    const Session session = runtime.load(digits() / "digits.onnx", "cpu").value();
    const auto pixels = images().to_vector<float>().value();
    const auto want = expected().to_vector<float>().value();
    for (const std::int64_t batch : {1, 3, 20, 7, 1}) {
      const std::vector<float> some(pixels.begin(), pixels.begin() + batch * 64);
      const Tensor scores =
          session.run(Tensor::from(some, {batch, 1, 8, 8}).value()).value().only().value();
      CHECK(scores.shape() == Shape{batch, 10});
      const std::vector<float> rows(want.begin(), want.begin() + batch * 10);
      CHECK(compare(scores, Tensor::from(rows, {batch, 10}).value(), 1e-4, 1e-6).value().equal);
    }
  }

  TEST_CASE("an empty batch gives an empty result") {
    const Runtime runtime;
    const Session session = runtime.load(digits() / "digits.onnx", "cpu").value();
    const Tensor none = Tensor::from(std::vector<float>(), {0, 1, 8, 8}).value();
    CHECK(session.run(none).value().only().value().shape() == Shape{0, 10});
  }

  TEST_CASE("threads share a session") {
    const Runtime runtime;
    LoadOptions options;
    options.contexts = 3;
    const Session session = runtime.load(digits() / "digits.onnx", "cpu", options).value();
    const Tensor input = images();
    const Tensor want = expected();
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 30; ++i) {
          const Result<Outputs> outputs = session.run(input);
          if (!outputs || !compare(outputs->only().value(), want, 1e-4, 1e-6).value().equal)
            ++wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
  }

  TEST_CASE("outputs outlive the session and its runtime") {
    Tensor scores;
    {
      const Runtime runtime;
      const Session session = runtime.load(digits() / "digits.onnx", "cpu").value();
      scores = session.run(images()).value().only().value();
    }
    check_digits(scores);
  }

  TEST_CASE("wrong inputs are refused with what was expected") {
    const Runtime runtime;
    const Session session = runtime.load(digits() / "digits.onnx", "cpu").value();
    const Tensor image = images();
    const auto code = [&](std::vector<Named> inputs) {
      return session.run(inputs).status().code();
    };
    CHECK(code({{"picture", image}}) == Code::InvalidArgument);
    CHECK(code({}) == Code::InvalidArgument);
    CHECK(code({{"image", image}, {"image", image}}) == Code::InvalidArgument);
    const Tensor flat = image.reshape({20, 64}).value();
    const Status status = session.run(flat).status();
    CHECK(status.code() == Code::InvalidArgument);
    CHECK(status.message() == "input image is float32[N,1,8,8], got float32[20,64]");
    const Tensor ints = Tensor::from(std::vector<std::int32_t>(64), {1, 1, 8, 8}).value();
    CHECK(session.run(ints).status().code() == Code::InvalidArgument);
  }

  TEST_CASE("a binding runs into the caller's memory") {
    const Runtime runtime;
    const Session session = runtime.load(digits() / "digits.onnx", "cpu").value();
    Binding binding = session.bind().value();
    Tensor scores = Tensor::empty(DataType::Float32, {20, 10}).value();
    CHECK(binding.set("image", images()).ok());
    CHECK(binding.set("scores", scores).ok());
    CHECK(binding.run().ok());
    check_digits(scores);
    CHECK(binding.set("scores", Tensor::empty(DataType::Float32, {19, 10}).value()).ok());
    CHECK(binding.run().code() == Code::InvalidArgument);
    CHECK(binding.set("labels", scores).code() == Code::InvalidArgument);
  }

  TEST_CASE("a run that was asked to stop does not run") {
    const Runtime runtime;
    const Session session = runtime.load(digits() / "digits.onnx", "cpu").value();
    std::stop_source stop;
    stop.request_stop();
    RunOptions options;
    options.stop = stop.get_token();
    CHECK(session.run(images(), options).status().code() == Code::Cancelled);
    check_digits(session.run(images()).value().only().value());
  }

  TEST_CASE("a run in the background gives its result once") {
    const Runtime runtime;
    const Session session = runtime.load(digits() / "digits.onnx", "cpu").value();
    std::atomic<bool> called{false};
    Run run = session.start({{"image", images()}}, {}, [&] { called = true; });
    check_digits(run.wait().value().only().value());
    CHECK(called);
    CHECK(run.done());
    CHECK(run.wait().status().code() == Code::FailedPrecondition);
  }

  TEST_CASE("the memory of a plan is known before the first run") {
    const Runtime runtime;
    const Session session = runtime.load(digits() / "digits.onnx", "cpu").value();
    const std::vector<NamedShape> shapes = {{"image", {20, 1, 8, 8}}};
    const MemoryPlan plan = session.plan(shapes).value();
    REQUIRE(plan.devices.size() == 1);
    CHECK(plan.unbounded.empty());
    CHECK(plan.devices[0].activations > 0);
    CHECK(plan.devices[0].peak >= plan.devices[0].weights + plan.devices[0].activations);
  }

  TEST_CASE("a limit refuses a plan before anything is allocated for it") {
    const Runtime runtime;
    LoadOptions options;
    options.limits = {{"cpu:0", 64 << 10}};
    const Session session = runtime.load(digits() / "digits.onnx", "cpu", options).value();
    const std::vector<NamedShape> large = {{"image", {1000, 1, 8, 8}}};
    const Status status = session.plan(large).status();
    CHECK(status.code() == Code::LimitExceeded);
  }

  TEST_CASE("each pass can be left out") {
    const Runtime runtime;
    for (const PassInfo& pass : passes()) {
      CAPTURE(pass.name);
      LoadOptions options;
      options.disabled_passes = {std::string(pass.name)};
      const Session session = runtime.load(digits() / "digits.onnx", "cpu", options).value();
      check_digits(session.run(images()).value().only().value());
    }
  }

  TEST_CASE("device lists are read strictly") {
    const Runtime runtime;
    const auto code = [&](const char* devices) {
      return runtime.load(digits() / "digits.onnx", devices).status().code();
    };
    CHECK(code("cpu:0,cpu") == Code::Ok);
    CHECK(code("auto") == Code::Ok);
    CHECK(code("") == Code::Ok);
    CHECK(code("nosuch,cpu") == Code::Ok);
    CHECK(code("nosuch") == Code::Unavailable);
    CHECK(code("cpu:7") == Code::Unavailable);
    CHECK(code("cpu:-1") == Code::InvalidArgument);
    CHECK(code("cpu,,cpu") == Code::InvalidArgument);
  }
}

}  // namespace
