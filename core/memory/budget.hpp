#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "miniinfer/status.hpp"

namespace miniinfer {

// How much memory may be taken: for the process, a device of it, a session on that. Bytes are taken
// from a budget and all those above it before the driver is asked, or from none. [any-thread]
class Budget {
 public:
  static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

  Budget(std::string name, std::uint64_t limit, std::shared_ptr<Budget> parent = nullptr)
      : name_(std::move(name)), parent_(std::move(parent)), limit_(limit) {}

  // The budget that refuses, or null where the bytes were taken. A budget that refuses was not
  // touched, so that another request that fits it is not pushed out.
  const Budget* take(std::uint64_t bytes) noexcept {
    std::uint64_t used = used_.load(std::memory_order_relaxed);
    do {
      const std::uint64_t limit = limit_.load(std::memory_order_relaxed);
      if (used > limit || bytes > limit - used) return this;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    const Budget* const refuses = parent_ ? parent_->take(bytes) : nullptr;
    if (refuses != nullptr) used_.fetch_sub(bytes, std::memory_order_relaxed);
    return refuses;
  }
  void give(std::uint64_t bytes) noexcept {
    used_.fetch_sub(bytes, std::memory_order_relaxed);
    if (parent_) parent_->give(bytes);
  }

  // What is in use stays in use; nothing more is given until there is room.
  void set_limit(std::uint64_t bytes) noexcept { limit_.store(bytes, std::memory_order_relaxed); }

  const std::string& name() const noexcept { return name_; }
  std::uint64_t limit() const noexcept { return limit_.load(std::memory_order_relaxed); }
  std::uint64_t used() const noexcept { return used_.load(std::memory_order_relaxed); }

 private:
  const std::string name_;
  const std::shared_ptr<Budget> parent_;
  std::atomic<std::uint64_t> limit_;
  std::atomic<std::uint64_t> used_{0};
};

// LIMIT_EXCEEDED for bytes on a device that a budget refused, in words and as a MemoryReport.
Status refusal(const Budget& budget, std::uint64_t bytes, const std::string& device);

}  // namespace miniinfer
