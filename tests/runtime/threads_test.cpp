// Many threads at once: what a thread sanitizer is shown. First uses come first in this file.

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <latch>
#include <mutex>
#include <thread>

#include "core/device/backend_registry.hpp"
#include "miniinfer/compare.hpp"
#include "miniinfer/miniinfer.hpp"
#include "miniinfer/onnx_tensor.hpp"

namespace {

using namespace miniinfer;

// The fake device computes slowly, more so under a sanitizer: its batches are small.
const char* const kDevices[] = {"cpu", "fake:0", "fake:1,cpu", "cpu,fake:0"};

std::filesystem::path folder(const char* variable) {
  const char* value = std::getenv(variable);
  REQUIRE_MESSAGE(value != nullptr, "run this by `meson test`, or set " << std::string(variable));
  return value;
}

std::filesystem::path digits(const char* file) {
  return folder("MINIINFER_SOURCE") / "examples" / "digits" / file;
}

// What was logged as an error, by whichever thread.
std::mutex g_mutex;
std::vector<std::string> g_errors;  // NOLINT

Runtime make_runtime() {
  RuntimeOptions options;
  options.threads = 4;
  options.plugin_dirs = {folder("MINIINFER_BUILD") / "plugins" / "libminiinfer_fake.so"};
  options.options = {{"fake.devices", "2"}};
  options.level = Level::Error;
  options.log = [](Level, std::string_view, std::string_view text) {
    const std::lock_guard lock(g_mutex);
    g_errors.emplace_back(text);
  };
  return Runtime(options);
}

Session load(const Runtime& runtime, const char* devices, int contexts = 2) {
  LoadOptions options;
  options.contexts = contexts;
  return runtime.load(digits("digits.onnx"), devices, options).value();
}

// The first `count` of the 20 digits, again and again.
Tensor repeated(const char* file, std::int64_t count, Shape shape) {
  const auto all = read_onnx_tensor(digits(file)).value().tensor.to_vector<float>().value();
  std::vector<float> some;
  const std::size_t wanted = static_cast<std::size_t>(count) * (all.size() / 20);
  while (some.size() < wanted) {
    some.insert(
        some.end(), all.begin(),
        all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), wanted - some.size())));
  }
  shape[0] = count;
  return Tensor::from(some, shape).value();
}

struct Batch {
  explicit Batch(std::int64_t count)
      : images(repeated("images.pb", count, {0, 1, 8, 8})),
        scores(repeated("expected.pb", count, {0, 10})) {}
  bool is_right(const Result<Outputs>& outputs) const {
    return outputs.ok() && compare(outputs->only().value(), scores, 1e-4, 1e-6).value().equal;
  }
  Tensor images, scores;
};

// Begins f(0) .. f(count - 1) at one time; how many gave false.
template <class F>
int failures_of_threads(int count, const F& f) {
  std::latch start(count);
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) {
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      if (!f(t)) ++failures;
    });
  }
  for (std::thread& thread : threads) thread.join();
  return failures;
}

TEST_SUITE("runtime.threads") {
  TEST_CASE("the first runtime, device and session may be made by several threads at once") {
    const Batch batch(5);
    CHECK(failures_of_threads(8, [&](int t) {
            const Runtime runtime = make_runtime();
            const Session session = load(runtime, kDevices[t % 4]);
            return batch.is_right(session.run(batch.images));
          }) == 0);
  }

  TEST_CASE("the first runs of a session may come at once, for one shape and for many") {
    const Runtime runtime = make_runtime();
    for (const char* devices : kDevices) {
      CAPTURE(devices);
      const Session session = load(runtime, devices, 4);
      CHECK(failures_of_threads(8, [&](int t) {
              const Batch batch(t < 4 ? 2 : t - 3);
              return batch.is_right(session.run(batch.images));
            }) == 0);
    }
  }

  TEST_CASE("threads whose shapes are more than a session keeps plans for all get their results") {
    const Runtime runtime = make_runtime();
    std::vector<Batch> batches;
    for (int i = 1; i <= 24; ++i) batches.emplace_back(i);
    const Session session = load(runtime, "cpu");
    CHECK(failures_of_threads(4, [&](int t) {
            for (int i = 0; i < 24; ++i) {
              const Batch& batch = batches[static_cast<std::size_t>((i + 7 * t) % 24)];
              if (!batch.is_right(session.run(batch.images))) return false;
            }
            return true;
          }) == 0);
  }

  TEST_CASE("runs whose kernels all want the workers get their results") {
    const Runtime runtime = make_runtime();
    CHECK(runtime.threads() == 4);
    const Batch batch(1000);
    const Session session = load(runtime, "cpu", 4);
    CHECK(failures_of_threads(4, [&](int) {
            for (int i = 0; i < 10; ++i) {
              if (!batch.is_right(session.run(batch.images))) return false;
            }
            return true;
          }) == 0);
  }

  TEST_CASE("runs that are cancelled, waited for or dropped leave the others alone") {
    const Runtime runtime = make_runtime();
    const Batch batch(2);
    for (const char* devices : kDevices) {
      CAPTURE(devices);
      const Session session = load(runtime, devices);
      CHECK(failures_of_threads(6, [&](int t) {
              for (int i = 0; i < 4; ++i) {
                Run run = session.start({{"image", batch.images}});
                if (t % 3 == 0) continue;
                if (t % 3 == 1) run.cancel();
                const Result<Outputs> outputs = run.wait();
                const bool cancelled = t % 3 == 1 && outputs.status().code() == Code::Cancelled;
                if (!cancelled && !batch.is_right(outputs)) return false;
              }
              return true;
            }) == 0);
    }
  }

  TEST_CASE("bindings of several threads over one session hold their own results") {
    const Runtime runtime = make_runtime();
    const Session session = load(runtime, "cpu", 3);
    CHECK(failures_of_threads(6, [&](int t) {
            const Batch batch(t + 1);
            const std::vector<NamedShape> shapes = {{"image", batch.images.shape()}};
            Binding binding = session.bind(shapes).value();
            if (!binding.set("image", batch.images).ok()) return false;
            for (int i = 0; i < 20; ++i) {
              if (!binding.run().ok()) return false;
            }
            return compare(binding.get("scores").value(), batch.scores, 1e-4, 1e-6).value().equal;
          }) == 0);
  }

  TEST_CASE("looking at devices, plans and memory disturbs no run") {
    const Runtime runtime = make_runtime();
    const Batch batch(1);
    for (const char* devices : kDevices) {
      CAPTURE(devices);
      const Session session = load(runtime, devices);
      CHECK(failures_of_threads(4, [&](int t) {
              for (int i = 0; i < 5; ++i) {
                if (t > 0) {
                  if (!batch.is_right(session.run(batch.images))) return false;
                  continue;
                }
                const std::vector<NamedShape> shapes = {{"image", {i + 1, 1, 8, 8}}};
                if (!session.plan(shapes).ok() || !session.placement().ok()) return false;
                for (const Device& device : runtime.devices()) (void)device.state();
                (void)runtime.plugins();
                if (!runtime.device("fake:0").ok()) return false;
                (void)AllocatorFactory::get("cpu:0").value()->stats();
              }
              return true;
            }) == 0);
    }
  }

  TEST_CASE("sessions come and go on devices that others use, and outlive their runtime") {
    const Batch batch(3);
    CHECK(failures_of_threads(6, [&](int t) {
            for (int i = 0; i < 4; ++i) {
              const Session session = load(make_runtime(), kDevices[(t + i) % 4]);
              if (!batch.is_right(session.run(batch.images))) return false;
            }
            return true;
          }) == 0);
  }

  TEST_CASE("after all that the fake devices have nothing left and saw nothing wrong") {
    const Runtime runtime = make_runtime();
    for (const char* id : {"fake:0", "fake:1"}) {
      CHECK(BackendRegistry::instance().close(runtime.device(id).value()).ok());
    }
    const std::lock_guard lock(g_mutex);
    CHECK_MESSAGE(g_errors.empty(), g_errors.front());
  }
}

}  // namespace
