#pragma once

#include <sys/types.h>

#include <chrono>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer::command {

// This program once more, in a process of its own, spoken to through its stdin and stdout. Killed
// with the object, if it still runs.
class Child {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  enum class Event {
    Text,     // some came
    End,      // it has closed its stdout
    Late,     // the time is over
    Stopped,  // the caller is asked to stop
  };

  // `arguments` without the program's name.
  static Result<Child> start(std::vector<std::string> arguments);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  // Whether it took all of the text.
  bool write(std::string_view text);
  // Waits for output and adds it to `text`.
  Event read(std::string& text, TimePoint end, const std::stop_token& stop);
  // Waits for its end. As waitpid gives it.
  int wait();

 private:
  Child(pid_t pid, int to, int from) : pid_(pid), to_(to), from_(from) {}
  pid_t pid_;
  int to_;
  int from_;
};

}  // namespace miniinfer::command
