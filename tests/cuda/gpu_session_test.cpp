// What a program with sessions lives through when its GPU does not do as it should:
//
//   PROGRAM [--plugin=FILE] [--device=cuda:0] [--digits=FOLDER] [doctest's own options]
//
// Uses the application's API alone. With the fake backend it runs where there is no GPU, less what
// only a driver can do. Exits with 77 and a reason where the device is not there.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <numeric>
#include <optional>
#include <thread>

#include "miniinfer/compare.hpp"
#include "miniinfer/device_context.hpp"
#include "miniinfer/miniinfer.hpp"
#include "miniinfer/onnx_tensor.hpp"
#include "tests/cuda/own_process.hpp"

namespace fs = std::filesystem;
using namespace miniinfer;  // NOLINT

namespace {

struct Options {
  std::string plugin;  // empty: what is found beside the library
  std::string device = "cuda:0";
  fs::path program = fs::read_symlink("/proc/self/exe").parent_path();
  fs::path digits = program / "digits";
};

Options& options() {
  static auto& instance = *new Options;  // outlives every thread
  return instance;
}

// Whether the test at hand needs a driver, and there is none.
bool left_out() {
  const bool fake = !options().device.starts_with("cuda");
  if (fake) MESSAGE("left out: it needs a GPU");
  return fake;
}

Runtime make_runtime() {
  RuntimeOptions chosen;
  if (!options().plugin.empty()) chosen.plugin_dirs = {options().plugin};
  chosen.log = log_to_stderr();
  return Runtime(chosen);
}

Result<Session> load(const Runtime& runtime, const std::string& device) {
  return runtime.load(options().digits / "digits.onnx", device);
}

Tensor images() { return read_onnx_tensor(options().digits / "images.pb").value().tensor; }

bool right(const Tensor& scores) {
  static const Tensor want = read_onnx_tensor(options().digits / "expected.pb").value().tensor;
  const Result<Comparison> result = compare(scores, want, 1e-4, 1e-6);
  return result && result->equal;
}

bool runs_right(const Session& session) {
  const Result<Outputs> outputs = session.run(images());
  return outputs && right(outputs->only().value());
}

int in_own_process(const std::string& test) {
  return test::run_process(
      test::own_process(test, "'--plugin=" + options().plugin + "' --device=" + options().device +
                                  " '--digits=" + options().digits.string() + "'"));
}

double milliseconds(const std::function<void()>& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

}  // namespace

TEST_CASE("a steady run asks no device for memory") {
  const Runtime runtime = make_runtime();
  const Session session = load(runtime, options().device).value();
  Binding binding = session.bind().value();
  REQUIRE(binding.set("image", images().to(runtime.device(options().device).value()).value()).ok());
  for (int i = 0; i < 3; ++i) REQUIRE(binding.run().ok());  // plans, is recorded, is replayed
  // The pools that sessions take their memory from, and the driver behind them.
  const std::string name = options().device + "/caching";
  std::vector<AllocatorPtr> allocators = {AllocatorFactory::get(name).value()};
  if (auto pinned = AllocatorFactory::get(name, MemoryKind::Pinned)) allocators.push_back(*pinned);
  std::vector<std::uint64_t> before;
  for (const AllocatorPtr& allocator : allocators) {
    before.push_back(allocator->pool()->pool_stats().num_driver_calls);
  }
  CHECK_GT(before[0], 0);
  const std::uint64_t free_before = allocators[0]->info().free_bytes;
  bool good = true;
  for (int i = 0; i < 100; ++i) good = good && binding.run().ok();
  CHECK(good);
  for (std::size_t i = 0; i < allocators.size(); ++i) {
    CHECK_EQ(allocators[i]->pool()->pool_stats().num_driver_calls, before[i]);
  }
  // What libraries take by themselves, and nobody counts; other processes may do as they like.
  CHECK_GE(allocators[0]->info().free_bytes + (4u << 20), free_before);
  CHECK(right(binding.get("scores").value()));
}

TEST_CASE("own process: hold all memory" * doctest::skip()) {
  const Runtime runtime = make_runtime();
  const AllocatorPtr memory = AllocatorFactory::get(options().device).value();
  MemoryRequest request;
  for (request.bytes = std::uint64_t{64} << 30; request.bytes >= 2u << 20;) {
    if (!memory->allocate(request)) request.bytes /= 2;
  }
  std::printf("holding %d\n", static_cast<int>(getpid()));
  std::fflush(stdout);
  while (true) pause();
}

TEST_CASE("memory another process took is missed with the numbers, and the session works after") {
  if (left_out()) return;
  const Runtime runtime = make_runtime();
  const Session session = load(runtime, options().device).value();
  REQUIRE(runs_right(session));
  std::FILE* other =
      popen(test::own_process("own process: hold all memory",
                              "'--plugin=" + options().plugin + "' --device=" + options().device)
                .c_str(),
            "r");
  REQUIRE_NE(other, nullptr);
  int pid = 0;
  for (char line[256]; pid == 0 && std::fgets(line, sizeof line, other) != nullptr;) {
    if (std::sscanf(line, "holding %d", &pid) != 1) pid = 0;
  }
  REQUIRE_NE(pid, 0);
  constexpr std::int64_t kMany = 1 << 20;  // 256 MiB of pixels
  const Tensor many = Tensor::from(std::vector<float>(kMany * 64), {kMany, 1, 8, 8}).value();
  const Status missed = session.run(many).status();
  std::printf("missed: %s\n", missed.to_string().c_str());
  CHECK(missed.code() == Code::OutOfMemory);
  for (const char* part : {options().device.c_str(), "GiB free"}) {
    CHECK_NE(missed.message().find(part), std::string_view::npos);
  }
  kill(pid, SIGKILL);
  pclose(other);
  Status now = missed;
  for (int tries = 0; tries < 100 && now.code() == Code::OutOfMemory; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    now = session.run(many).status();
  }
  CHECK_MESSAGE(now.ok(), now.to_string());
  CHECK(runs_right(session));
}

TEST_CASE("own process: a kernel fault" * doctest::skip()) {
  const char* given = std::getenv("MINIINFER_CUDA_LIBRARIES");
  const std::string libraries = (options().program / "faulty_cublas_lt").string();
  setenv("MINIINFER_CUDA_LIBRARIES",
         (given == nullptr ? libraries : libraries + ":" + given).c_str(), 1);
  const Runtime runtime = make_runtime();
  const Session on_cpu = load(runtime, "cpu").value();
  REQUIRE(runs_right(on_cpu));
  const Device device = runtime.device(options().device).value();
  const Session session = load(runtime, options().device).value();
  const Status failed = session.run(images()).status();
  std::printf("lost: %s\n", failed.to_string().c_str());
  CHECK(failed.code() == Code::DeviceLost);
  CHECK(device.state() == DeviceState::Lost);
  CHECK_NE(device.reason(), "");

  const Tensor batch = images();
  const std::pair<const char*, std::function<Status()>> calls[] = {
      {"run", [&] { return session.run(batch).status(); }},
      {"load", [&] { return load(runtime, options().device).status(); }},
      {"tensor", [&] { return Tensor::empty(DataType::Float32, {16}, device).status(); }},
      {"to", [&] { return batch.to(device).status(); }},
      {"memory", [&] { return device.memory().status(); }},
      {"context", [&] { return DeviceContext::create(device).status(); }},
      {"open", [&] { return device.open(); }},
  };
  for (const auto& [name, call] : calls) {
    CAPTURE(name);
    std::array<double, 5> times;  // their median: another process may have the processor
    for (double& time : times) {
      Status status;
      time = milliseconds([&] { status = call(); });
      CHECK_MESSAGE(status.code() == Code::DeviceLost, status.to_string());
    }
    std::sort(times.begin(), times.end());
    std::printf("%s answers in %.3f ms\n", name, times[2]);
    CHECK_LT(times[2], 1.0);
  }
  CHECK(runs_right(on_cpu));
  CHECK(runs_right(load(runtime, "cpu").value()));
}

TEST_CASE("a kernel's fault loses the device at once, and the sessions of others work on") {
  if (left_out()) return;
  CHECK_EQ(in_own_process("own process: a kernel fault"), 0);
}

TEST_CASE("after a fork the child gets an error, and its sessions on the CPU work") {
  const Runtime runtime = make_runtime();
  const Session on_cpu = load(runtime, "cpu").value();
  const Session session = load(runtime, options().device).value();
  REQUIRE(runs_right(on_cpu));
  REQUIRE(runs_right(session));
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    const Status status = session.run(images()).status();
    const bool refused = status.code() == Code::FailedPrecondition &&
                         status.message().find("fork") != std::string_view::npos;
    if (!refused) std::fprintf(stderr, "the child got %s\n", status.to_string().c_str());
    _exit(!refused ? 1 : runs_right(on_cpu) ? 0 : 2);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
  CHECK(runs_right(session));
}

TEST_CASE("own process: exit from another thread" * doctest::skip()) {
  const Runtime runtime = make_runtime();
  const Session session = load(runtime, options().device).value();
  const Tensor batch = images();
  static_cast<void>(session.run(batch));
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    std::exit(0);
  }).detach();
  while (true) static_cast<void>(session.run(batch));
}

TEST_CASE("own process: exit with all alive" * doctest::skip()) {
  static auto& runtime = *new Runtime(make_runtime());
  static Session session = load(runtime, options().device).value();  // destroyed after main
  static Binding binding = session.bind().value();
  REQUIRE(binding.set("image", images()).ok());
  REQUIRE(binding.run().ok());
}

TEST_CASE("a process ends well with sessions alive, from main and from another thread") {
  CHECK_EQ(in_own_process("own process: exit with all alive"), 0);
  for (int i = 0; i < 5; ++i) {
    CHECK_EQ(in_own_process("own process: exit from another thread"), 0);
  }
}

TEST_CASE("runtime, session, binding, tensor and context may go in any order") {
  std::array<int, 5> order;
  std::iota(order.begin(), order.end(), 0);
  do {
    std::optional<Runtime> runtime = make_runtime();
    const Device device = runtime->device(options().device).value();
    std::optional<Session> session = load(*runtime, options().device).value();
    std::optional<Tensor> batch = images().to(device).value();
    std::optional<Binding> binding = session->bind().value();
    std::optional<DeviceContext> context = DeviceContext::create(device).value();
    REQUIRE(binding->set("image", *batch).ok());
    const std::array<std::function<void()>, 5> destroy = {
        [&] { runtime.reset(); }, [&] { session.reset(); }, [&] { binding.reset(); },
        [&] { batch.reset(); }, [&] { context.reset(); }};
    bool good = true;
    for (const int which : order) {
      // What is left works.
      if (session) good = good && runs_right(*session);
      if (binding) good = good && binding->run().ok() && right(binding->get("scores").value());
      if (batch) good = good && batch->to(Device()).ok();
      if (context) good = good && context->sync().ok();
      destroy[static_cast<std::size_t>(which)]();
    }
    CAPTURE(order);
    CHECK(good);
  } while (std::next_permutation(order.begin(), order.end()));
}

int main(int argc, char** argv) {
  if (const char* source = std::getenv("MINIINFER_SOURCE");
      !fs::exists(options().digits) && source != nullptr) {
    options().digits = fs::path(source) / "examples" / "digits";
  }
  const auto take = [&](const char* argument, const char* name, auto& value) {
    const std::string_view text = argument;
    if (text.starts_with(name)) value = std::string(text.substr(std::string_view(name).size()));
  };
  for (int i = 1; i < argc; ++i) {
    take(argv[i], "--plugin=", options().plugin);
    take(argv[i], "--device=", options().device);
    take(argv[i], "--digits=", options().digits);
  }
  {
    const Runtime runtime = make_runtime();
    const Result<Device> device = runtime.device(options().device);
    const Status status = device ? device->open() : device.status();
    if (!status.ok()) {
      std::printf("skipped: %s\n", status.to_string().c_str());
      return 77;
    }
  }
  return doctest::Context(argc, argv).run();
}
