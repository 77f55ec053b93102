#pragma once

// A test of a program in a process of its own: CUDA does not survive what it does.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace miniinfer::test {

// The command that runs the skipped test of that name of this program. `more` are its arguments.
inline std::string own_process(const std::string& test, const std::string& more) {
  char program[4096];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program);
  std::string command = "exec '";
  command.append(program, length > 0 ? static_cast<std::size_t>(length) : 0);
  return command + "' --no-skip '--test-case=" + test + "' " + more;
}

// Its exit code; 1000 and more: the signal it died of.
inline int run_process(const std::string& command) {
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

}  // namespace miniinfer::test
