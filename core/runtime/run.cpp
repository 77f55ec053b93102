#include <atomic>
#include <optional>
#include <thread>

#include "core/runtime/session_impl.hpp"

namespace miniinfer {

struct Run::Impl {
  std::vector<std::pair<std::string, Tensor>> inputs;  // own the names
  RunOptions options;
  std::function<void()> on_done;
  std::stop_source stop;
  std::atomic<bool> done{false};
  std::optional<Result<Outputs>> outcome;
  std::thread thread;
};

Run::Run(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Run::Run(Run&&) noexcept = default;

Run& Run::operator=(Run&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}

Run::~Run() {
  if (!impl_) return;
  impl_->stop.request_stop();
  if (impl_->thread.joinable()) impl_->thread.join();
}

bool Run::done() const noexcept { return impl_->done.load(std::memory_order_acquire); }
void Run::cancel() noexcept { impl_->stop.request_stop(); }

Result<Outputs> Run::wait() {
  if (impl_->thread.joinable()) impl_->thread.join();
  if (!impl_->outcome) {
    return Status(Code::FailedPrecondition, "wait was called before, and gave the result then");
  }
  Result<Outputs> outcome = std::move(*impl_->outcome);
  impl_->outcome.reset();
  return outcome;
}

Run Session::start(std::vector<Named> inputs, RunOptions options,
                   std::function<void()> done) const {
  auto run = std::make_shared<Run::Impl>();
  for (const Named& named : inputs) run->inputs.emplace_back(named.name, named.tensor);
  run->options = std::move(options);
  run->on_done = std::move(done);
  run->thread = std::thread([run = run.get(), session = impl_] {
    // The caller's own token stops the run as well.
    const std::stop_callback forward(run->options.stop, [run] { run->stop.request_stop(); });
    std::vector<Named> named;
    for (const auto& [name, tensor] : run->inputs) named.push_back({name, tensor});
    run->outcome =
        session->run(named, run->options, StopCheck(run->stop.get_token(), run->options.timeout));
    run->done.store(true, std::memory_order_release);
    if (run->on_done) run->on_done();
  });
  return Run(std::move(run));
}

}  // namespace miniinfer
