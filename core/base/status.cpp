#include "miniinfer/status.hpp"

#include <cstdlib>

namespace miniinfer {

std::string_view to_string(Code code) noexcept {
  switch (code) {
    case Code::Ok:
      return "OK";
    case Code::Cancelled:
      return "CANCELLED";
    case Code::InvalidArgument:
      return "INVALID_ARGUMENT";
    case Code::NotFound:
      return "NOT_FOUND";
    case Code::Unsupported:
      return "UNSUPPORTED";
    case Code::OutOfMemory:
      return "OUT_OF_MEMORY";
    case Code::FailedPrecondition:
      return "FAILED_PRECONDITION";
    case Code::Unavailable:
      return "UNAVAILABLE";
    case Code::Incompatible:
      return "INCOMPATIBLE";
    case Code::DeviceLost:
      return "DEVICE_LOST";
    case Code::Timeout:
      return "TIMEOUT";
    case Code::LimitExceeded:
      return "LIMIT_EXCEEDED";
    case Code::Internal:
      break;
  }
  return "INTERNAL";
}

struct Status::Rep {
  Code code;
  std::string message;
  std::string hint;
  std::vector<NodeReport> nodes;
  std::shared_ptr<const MemoryReport> memory = nullptr;
};

Status::Status(Code code, std::string message, std::string hint, std::vector<NodeReport> nodes) {
  if (code == Code::Ok) return;
  rep_ =
      std::make_shared<const Rep>(Rep{code, std::move(message), std::move(hint), std::move(nodes)});
}

Code Status::code() const noexcept { return rep_ ? rep_->code : Code::Ok; }
std::string_view Status::message() const noexcept {
  return rep_ ? std::string_view(rep_->message) : std::string_view();
}
std::string_view Status::hint() const noexcept {
  return rep_ ? std::string_view(rep_->hint) : std::string_view();
}
std::span<const NodeReport> Status::nodes() const noexcept {
  return rep_ ? std::span<const NodeReport>(rep_->nodes) : std::span<const NodeReport>();
}

std::string Status::to_string() const {
  std::string text(miniinfer::to_string(code()));
  if (!rep_) return text;
  text += ": " + rep_->message;
  if (!rep_->hint.empty()) text += "; " + rep_->hint;
  return text;
}

Status Status::with_context(std::string_view context) const {
  if (!rep_) return {};
  Rep rep = *rep_;
  rep.message = std::string(context) + ": " + rep.message;
  Status status;
  status.rep_ = std::make_shared<const Rep>(std::move(rep));
  return status;
}

std::shared_ptr<const MemoryReport> Status::memory_report() const noexcept {
  return rep_ ? rep_->memory : nullptr;
}

Status Status::with_memory_report(std::shared_ptr<const MemoryReport> report) const {
  if (!rep_) return {};
  Rep rep = *rep_;
  rep.memory = std::move(report);
  Status status;
  status.rep_ = std::make_shared<const Rep>(std::move(rep));
  return status;
}

Error::Error(Status status) : status_(std::move(status)), text_(status_.to_string()) {}
const char* Error::what() const noexcept { return text_.c_str(); }

namespace detail {

void fail_access(const Status& status) noexcept {
  std::fprintf(stderr, "miniinfer: a Result without a value was read: %s\n",
               status.to_string().c_str());
  std::abort();
}

void throw_error(const Status& status) {
#if defined(__cpp_exceptions)
  throw Error(status);
#else
  fail_access(status);
#endif
}

}  // namespace detail
}  // namespace miniinfer
