#include "core/platform/child_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/base/format.hpp"

extern char** environ;

namespace miniinfer {
namespace {

using Clock = std::chrono::steady_clock;

int milliseconds_until(Clock::time_point end) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

// Reads until the writer is gone or the deadline has passed; false for the latter.
bool read_answer(int pipe, Clock::time_point end, std::string& answer) {
  std::array<char, 4096> buffer;
  while (answer.size() < 64 * 1024) {
    pollfd waiting{pipe, POLLIN, 0};
    const int ready = poll(&waiting, 1, milliseconds_until(end));
    if (ready == 0) return false;
    if (ready < 0) continue;
    const ssize_t got = read(pipe, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return true;
}

// Waits for the end; true if it came before the deadline. Without a descriptor of the process a
// short sleep stands in. Where the program ignores SIGCHLD, or collects every child itself, the end
// is known and the status is not.
bool wait_for_end(pid_t child, int descriptor, Clock::time_point end, int* status) {
  while (true) {
    const pid_t got = waitpid(child, status, WNOHANG);
    if (got == child || (got < 0 && errno == ECHILD)) return true;
    const int left = milliseconds_until(end);
    if (left == 0) return false;
    pollfd waiting{descriptor, POLLIN, 0};
    poll(&waiting, descriptor >= 0 ? 1 : 0, descriptor >= 0 ? left : 1);
  }
}

}  // namespace

Result<ChildOutcome> run_child(const std::string& program, std::vector<std::string> arguments,
                               std::chrono::milliseconds deadline) {
  constexpr int kAnswer = 3;
  std::array<int, 2> pipe{};
  if (pipe2(pipe.data(), O_CLOEXEC) != 0) {
    return Status(Code::Unavailable,
                  format("no pipe for %s: %s", program.c_str(), std::strerror(errno)));
  }
  arguments.insert(arguments.begin(), program);
  arguments.emplace_back("--answer-fd");
  arguments.push_back(std::to_string(kAnswer));
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], kAnswer);
#if __GLIBC_PREREQ(2, 34)
  posix_spawn_file_actions_addclosefrom_np(&actions, kAnswer + 1);
#endif
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  sigset_t all;  // what this program ignores must not be ignored there
  sigfillset(&all);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t child = 0;
  const int error =
      posix_spawn(&child, program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(pipe[1]);
  if (error != 0) {
    close(pipe[0]);
    return Status(Code::Unavailable,
                  format("%s cannot be started: %s", program.c_str(), std::strerror(error)));
  }
  const Clock::time_point end = Clock::now() + deadline;
  ChildOutcome outcome;
  int status = 0;
  const int descriptor = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  const bool answered = read_answer(pipe[0], end, outcome.answer);
  close(pipe[0]);
  if (!answered || !wait_for_end(child, descriptor, end, &status)) {
    outcome.timed_out = true;
    // Through the descriptor the signal cannot meet another process that got the number since.
    if (descriptor >= 0) {
      syscall(SYS_pidfd_send_signal, descriptor, SIGKILL, nullptr, 0);
    } else {
      kill(child, SIGKILL);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
  }
  if (descriptor >= 0) close(descriptor);
  outcome.exit_status =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  return outcome;
}

}  // namespace miniinfer
