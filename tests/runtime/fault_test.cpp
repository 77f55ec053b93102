// What becomes of a program when a device fails under it: the fake backend's fault plans, seen
// through the application's API.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "miniinfer/compare.hpp"
#include "miniinfer/miniinfer.hpp"
#include "miniinfer/onnx_tensor.hpp"
#include "tests/support/fake_devices.hpp"
#include "tests/support/sanitized.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

std::filesystem::path digits(const char* file) {
  const char* source = std::getenv("MINIINFER_SOURCE");
  REQUIRE_MESSAGE(source != nullptr, "run this by `meson test`, or set MINIINFER_SOURCE");
  return std::filesystem::path(source) / "examples" / "digits" / file;
}

Tensor images() { return read_onnx_tensor(digits("images.pb")).value().tensor; }

bool right(const Tensor& scores) {
  static const Tensor want = read_onnx_tensor(digits("expected.pb")).value().tensor;
  const Result<Comparison> result = compare(scores, want, 1e-4, 1e-6);
  return result && result->equal;
}

// A run of the digits to the end: the scores in the host's memory.
Result<Tensor> run_digits(const Session& session) {
  const Result<Outputs> outputs = session.run(images());
  if (!outputs) return outputs.status();
  const Result<Tensor> scores = outputs->only();
  return scores ? scores->to(Device()) : scores;
}

// The program's other session: never harmed by what happens to a device.
void check_cpu(const Runtime& runtime) {
  const Session session = runtime.load(digits("digits.onnx"), "cpu").value();
  CHECK(right(run_digits(session).value()));
}

constexpr const char* kSites[] = {"stream", "create", "copy", "fill", "launch", "sync", "run"};

TEST_SUITE("runtime.fault") {
  // One failure at the k-th call of a site, for each k there is, wherever that is: at load, while
  // planning for other shapes, in a run, in reading the outputs.
  TEST_CASE("a call of a device that fails once fails one call of ours, and the next one works") {
    const Runtime runtime;
    for (const auto& [action, code] :
         {std::pair("oom", Code::OutOfMemory), std::pair("fail", Code::Internal)}) {
      for (const char* site : kSites) {
        bool fired = true;
        int stages[3] = {};  // where the failure showed: load, plan, run
        for (int k = 1; fired && k < 200; ++k) {
          const std::string plan =
              std::string(site) + "#" + std::to_string(k) + "=" + std::string(action);
          CAPTURE(plan);
          const FakeDevice fake(0, plan);
          int failures = 0;
          const auto check = [&](const Status& status, int stage) {
            if (status.ok()) return;
            ++failures;
            ++stages[stage];
            CHECK(status.code() == code);
            CHECK_MESSAGE(status.message().find("fake:0") != std::string::npos, status.to_string());
          };
          // Where recording fails the run is an ordinary one, and nobody notices.
          LoadOptions options;
          options.disabled_passes = {"graph-capture"};
          Result<Session> session = runtime.load(digits("digits.onnx"), fake.id, options);
          if (!session) {
            check(session.status(), 0);
            session = runtime.load(digits("digits.onnx"), fake.id, options);
          }
          REQUIRE_MESSAGE(session, session.status().to_string());
          const std::vector<NamedShape> shapes = {{"image", {20, 1, 8, 8}}};
          check(session->plan(shapes).status(), 1);
          for (int run = 0; run < 2; ++run) {
            Result<Tensor> scores = run_digits(*session);
            check(scores.status(), 2);
            if (!scores) scores = run_digits(*session);
            REQUIRE_MESSAGE(scores, scores.status().to_string());
            CHECK(right(*scores));
          }
          fired = fake.ledger().faults_fired > 0;
          CHECK(failures == (fired ? 1 : 0));
        }
        CAPTURE(site);
        CHECK_FALSE(fired);
        CHECK(stages[0] + stages[1] + stages[2] > 0);
        if (std::string(site) == "create") CHECK(stages[1] > 0);
      }
    }
    check_cpu(runtime);
  }

  TEST_CASE("a driver that refuses memory once is asked for less, and nothing fails") {
    const Runtime runtime;
    for (const char* action : {"oom", "fail"}) {
      bool fired = true;
      for (int k = 1; fired; ++k) {
        const std::string plan = "alloc#" + std::to_string(k) + "=" + action;
        CAPTURE(plan);
        const FakeDevice fake(0, plan);
        const Session session = runtime.load(digits("digits.onnx"), fake.id).value();
        CHECK(right(run_digits(session).value()));
        fired = fake.ledger().faults_fired > 0;
        CHECK((fired || k > 1));
      }
    }
  }

  TEST_CASE(
      "a driver that refuses memory from some call on fails what does not fit in what it gave") {
    const Runtime runtime;
    bool fired = true;
    int failed = 0;
    for (int k = 1; fired; ++k) {
      const std::string plan = "alloc#" + std::to_string(k) + "+=oom";
      CAPTURE(plan);
      const FakeDevice fake(0, plan);
      const Result<Session> session = runtime.load(digits("digits.onnx"), fake.id);
      const Result<Tensor> scores = session ? run_digits(*session) : session.status();
      fired = fake.ledger().faults_fired > 0;
      CHECK((scores.ok() || fired));
      if (scores) {
        CHECK(right(*scores));
        continue;
      }
      ++failed;
      CHECK(scores.status().code() == Code::OutOfMemory);
      CHECK(scores.status().message().find("fake:0") != std::string::npos);
      REQUIRE(scores.status().memory_report());
      CHECK(scores.status().memory_report()->device == "fake:0");
    }
    CHECK(failed > 0);
    check_cpu(runtime);
  }

  TEST_CASE("memory that is full stays an error with numbers until some is given back") {
    const Runtime runtime;
    setenv("MINIINFER_FAKE_MEMORY", "300000", 1);
    {
      const FakeDevice fake(1);
      const Session session = runtime.load(digits("digits.onnx"), fake.id).value();
      const Tensor many = Tensor::from(std::vector<float>(2000 * 64), {2000, 1, 8, 8}).value();
      for (int i = 0; i < 3; ++i) {
        const Status status = session.run(many).status();
        CHECK(status.code() == Code::OutOfMemory);
        CHECK_MESSAGE(status.message().find("293.0 KiB") != std::string::npos, status.to_string());
      }
      CHECK(right(run_digits(session).value()));
    }
    unsetenv("MINIINFER_FAKE_MEMORY");
  }

  TEST_CASE("a lost device is lost for good, says so at once, and takes nobody with it") {
    const Runtime runtime;
    const Session bystander = runtime.load(digits("digits.onnx"), "cpu").value();
    int ordinal = 2;
    for (const char* site : kSites) {
      for (const int k : {1, 2, 7}) {
        if (site == std::string("stream") && k > 2) continue;  // the digits need but two
        const std::string plan = std::string(site) + "#" + std::to_string(k) + "=lost";
        CAPTURE(plan);
        const FakeDevice fake(ordinal++, plan);
        Result<Session> session = runtime.load(digits("digits.onnx"), fake.id);
        Status status = session.status();
        for (int run = 0; status.ok() && run < 10; ++run) status = run_digits(*session).status();
        CHECK(status.code() == Code::DeviceLost);
        CHECK(fake.ledger().faults_fired == 1);
        CHECK(fake.device.state() == DeviceState::Lost);
        CHECK_FALSE(fake.device.reason().empty());

        const auto is_lost = [&](const auto& call) {
          // The best of a few: a busy machine may stop us at any moment.
          std::chrono::nanoseconds least = std::chrono::seconds(1);
          for (int i = 0; i < 5; ++i) {
            const auto begin = std::chrono::steady_clock::now();
            const Status answer = call();
            least =
                std::min<std::chrono::nanoseconds>(least, std::chrono::steady_clock::now() - begin);
            CHECK(answer.code() == Code::DeviceLost);
          }
          CHECK(least < std::chrono::milliseconds(1) * kSlack);
        };
        if (session) {
          const Tensor input = images();
          is_lost([&] { return session->run(input).status(); });
          const std::vector<NamedShape> shapes = {{"image", {7, 1, 8, 8}}};
          is_lost([&] { return session->plan(shapes).status(); });
        }
        is_lost([&] { return fake.device.open(); });
        is_lost([&] { return runtime.load(digits("digits.onnx"), fake.id).status(); });
        is_lost([&] { return Tensor::empty(DataType::Float32, {4}, fake.device).status(); });
        is_lost([&] { return DeviceContext::create(fake.device).status(); });

        // Whoever allowed a fallback goes on, and the session beside never noticed.
        const Session fallback = runtime.load(digits("digits.onnx"), fake.id + ",cpu").value();
        CHECK(right(run_digits(fallback).value()));
        CHECK(right(run_digits(bystander).value()));
      }
    }
  }

  TEST_CASE("a device lost under two sessions is lost for both") {
    const Runtime runtime;
    const FakeDevice fake(25, "launch#20=lost");
    const Session one = runtime.load(digits("digits.onnx"), fake.id).value();
    const Session two = runtime.load(digits("digits.onnx"), fake.id).value();
    Status status;
    while (status.ok()) {
      status = run_digits(one).status();
      if (status.ok()) status = run_digits(two).status();
    }
    CHECK(status.code() == Code::DeviceLost);
    CHECK(run_digits(one).status().code() == Code::DeviceLost);
    CHECK(run_digits(two).status().code() == Code::DeviceLost);
  }

  TEST_CASE("outputs on a device that is lost later cannot be read, and can be let go of") {
    const Runtime runtime;
    const FakeDevice fake(26, "copy#30=lost");
    const Session session = runtime.load(digits("digits.onnx"), fake.id).value();
    std::vector<Outputs> kept;
    while (fake.device.state() != DeviceState::Lost && kept.size() < 50) {
      if (Result<Outputs> outputs = session.run(images())) kept.push_back(std::move(*outputs));
    }
    REQUIRE_FALSE(kept.empty());
    CHECK(kept[0].only()->to(Device()).status().code() == Code::DeviceLost);
  }

  TEST_CASE("a run that failed can be cancelled, timed out and repeated like any other") {
    const Runtime runtime;
    const FakeDevice fake(27, "launch#2=fail");
    const Session session = runtime.load(digits("digits.onnx"), fake.id).value();
    CHECK(session.run(images()).status().code() == Code::Internal);
    std::stop_source stop;
    stop.request_stop();
    RunOptions options;
    options.stop = stop.get_token();
    CHECK(session.run(images(), options).status().code() == Code::Cancelled);
    CHECK(right(run_digits(session).value()));
  }

  TEST_CASE("devices that nobody uses are closed with the last runtime and session") {
    add_fake_backend();
    setenv("MINIINFER_FAKE_PLAN", "", 1);
    const Device device = BackendRegistry::instance().find("fake:28").value();
    Tensor kept;
    {
      std::optional<Session> session;
      {
        const Runtime runtime;
        session = runtime.load(digits("digits.onnx"), "fake:28").value();
        CHECK(right(run_digits(*session).value()));
      }
      CHECK(device.state() == DeviceState::Ready);
      CHECK(right(run_digits(*session).value()));
    }
    CHECK(device.state() == DeviceState::Found);
    {
      const Runtime runtime;
      const Session session = runtime.load(digits("digits.onnx"), "fake:28").value();
      kept = session.run(images()).value().only().value();
    }
    // Somebody still has a tensor there.
    CHECK(device.state() == DeviceState::Ready);
    CHECK(right(kept.to(Device()).value()));
    kept = Tensor();
    {
      const Runtime runtime;
    }
    CHECK(device.state() == DeviceState::Found);
  }
}

}  // namespace
