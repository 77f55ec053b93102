#pragma once

#include <chrono>
#include <stop_token>

#include "miniinfer/status.hpp"

namespace miniinfer {

// Whether a run should end early. Asked between steps; costs a load where nobody can stop it.
class StopCheck {
 public:
  StopCheck() = default;
  StopCheck(std::stop_token stop, std::chrono::nanoseconds timeout)
      : stop_(std::move(stop)), possible_(stop_.stop_possible()) {
    if (timeout.count() > 0) {
      has_deadline_ = true;
      deadline_ = std::chrono::steady_clock::now() + timeout;
    }
  }

  bool requested() const {
    if (possible_ && stop_.stop_requested()) return true;
    return has_deadline_ && std::chrono::steady_clock::now() >= deadline_;
  }
  Status status() const {
    if (possible_ && stop_.stop_requested()) return {Code::Cancelled, "the run was cancelled"};
    return {Code::Timeout, "the run did not end in time", "allow more with --timeout"};
  }

 private:
  std::stop_token stop_;
  bool possible_ = false;
  bool has_deadline_ = false;
  std::chrono::steady_clock::time_point deadline_;
};

}  // namespace miniinfer
