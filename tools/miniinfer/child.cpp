#include "child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

extern char** environ;

namespace miniinfer::command {
namespace {

// A signal does not end a poll (it is taken by a thread of its own), so a stop is looked for.
constexpr std::chrono::milliseconds kSlice{50};

void close_both(const int (&ends)[2]) {
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace

Result<Child> Child::start(std::vector<std::string> arguments) {
  int in[2];
  int out[2];
  const auto failed = [](const char* call, int error) {
    return Status(Code::Internal, std::string(call) + ": " + std::strerror(error));
  };
  if (::pipe2(in, O_CLOEXEC) != 0) return failed("pipe", errno);
  if (::pipe2(out, O_CLOEXEC) != 0) {
    const int error = errno;
    close_both(in);
    return failed("pipe", error);
  }
  std::string name = "miniinfer";
  std::vector<char*> argv = {name.data()};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  if (error == 0) return Child(pid, in[1], out[0]);
  ::close(in[1]);
  ::close(out[0]);
  return failed("posix_spawn of this program", error);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      to_(std::exchange(other.to_, -1)),
      from_(std::exchange(other.from_, -1)) {}

Child::~Child() {
  if (to_ >= 0) ::close(to_);
  if (from_ >= 0) ::close(from_);
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  (void)wait();
}

bool Child::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(to_, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

Child::Event Child::read(std::string& text, TimePoint end, const std::stop_token& stop) {
  while (true) {
    if (stop.stop_requested()) return Event::Stopped;
    const auto now = std::chrono::steady_clock::now();
    if (now >= end) return Event::Late;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - now);
    pollfd waiting{from_, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::min(left, kSlice).count()));
    if (ready <= 0) continue;
    char buffer[4096];
    const ssize_t got = ::read(from_, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Event::End;
    text.append(buffer, static_cast<std::size_t>(got));
    return Event::Text;
  }
}

int Child::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status;
}

}  // namespace miniinfer::command
