#pragma once

// How calls say that they failed.
//
// A function that can fail returns Status, or Result<T> where there is something to return. Both
// are
// [[nodiscard]]. Nothing throws except Result::value(), for those who like exceptions; everything
// else works with -fno-exceptions.
//
// A message names the call, the thing and the numbers ("allocation of 3.1 GiB on fake:0 failed, 2.0
// GiB free"); a hint says what to do about it. A placement that could not be met, or an operator
// that failed, also lists the nodes concerned, by the names the model's file gives them.

#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "miniinfer/export.hpp"

namespace miniinfer {

// Named after what the caller can do next. The numbers are those of abi/base.h.
enum class Code : std::int32_t {
  Ok = 0,
  Cancelled = 1,           // you asked for it
  InvalidArgument = 2,     // mend the call, or the model
  NotFound = 3,            // name something that exists
  Unsupported = 4,         // use another device or model
  OutOfMemory = 5,         // free something, then try again
  FailedPrecondition = 6,  // do something else first
  Unavailable = 7,         // not here, or not now
  Incompatible = 8,        // use another version
  DeviceLost = 9,          // restart the process, or go on without the device
  Timeout = 10,            // allow more time
  LimitExceeded = 11,      // raise the limit, if you trust the input
  Internal = 12,           // report a bug
};

// "INVALID_ARGUMENT"
MINIINFER_API std::string_view to_string(Code code) noexcept;

// One node that something could not be done with.
struct NodeReport {
  std::string name;    // as the model's file has it; "Conv_12" style where the file has none
  std::string op;      // "Conv"
  std::string types;   // its inputs: "float32[1,8,24,96], float32[8,1,3,3]"
  std::string reason;  // a phrase: "not implemented"
};

struct MemoryReport;  // pool_allocator.hpp

// A code, and text where the code is not Ok. One pointer, null for Ok, so success costs nothing.
// Copies share. [any-thread]
class [[nodiscard]] MINIINFER_API Status {
 public:
  Status() noexcept = default;
  Status(Code code, std::string message, std::string hint = {}, std::vector<NodeReport> nodes = {});

  Code code() const noexcept;
  bool ok() const noexcept { return !rep_; }
  std::string_view message() const noexcept;
  std::string_view hint() const noexcept;
  std::span<const NodeReport> nodes() const noexcept;

  // Where memory could not be had: what was asked for, what there is and who has it. Null
  // elsewhere.
  std::shared_ptr<const MemoryReport> memory_report() const noexcept;

  // "CODE: message; hint", without the nodes.
  std::string to_string() const;

  // The same status with "context: " before its message. Ok stays Ok.
  Status with_context(std::string_view context) const;
  Status with_memory_report(std::shared_ptr<const MemoryReport> report) const;

 private:
  struct Rep;
  std::shared_ptr<const Rep> rep_;
};

// What Result::value() throws.
class MINIINFER_API Error : public std::exception {
 public:
  explicit Error(Status status);
  const char* what() const noexcept override;
  const Status& status() const noexcept { return status_; }

 private:
  Status status_;
  std::string text_;
};

namespace detail {
[[noreturn]] MINIINFER_API void fail_access(const Status& status) noexcept;
[[noreturn]] MINIINFER_API void throw_error(const Status& status);
}  // namespace detail

// A value, or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
  static_assert(!std::is_reference_v<T>);

 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    if (status_.ok()) status_ = Status(Code::Internal, "a Result was made from Ok without a value");
  }

  explicit operator bool() const noexcept { return value_.has_value(); }
  bool ok() const noexcept { return value_.has_value(); }
  const Status& status() const noexcept { return status_; }

  // Without a value these print the status and end the program.
  T& operator*() & noexcept { return get(); }
  const T& operator*() const& noexcept { return const_cast<Result*>(this)->get(); }
  T&& operator*() && noexcept { return std::move(get()); }
  T* operator->() noexcept { return &get(); }
  const T* operator->() const noexcept { return &const_cast<Result*>(this)->get(); }

  // Without a value these throw Error.
  T& value() & {
    if (!value_) detail::throw_error(status_);
    return *value_;
  }
  T value() && {
    if (!value_) detail::throw_error(status_);
    return std::move(*value_);
  }

 private:
  T& get() noexcept {
    if (!value_) detail::fail_access(status_);
    return *value_;
  }

  std::optional<T> value_;
  Status status_;
};

}  // namespace miniinfer
