#pragma once

// The answer to "can you run this region, and how?".

#include <array>
#include <cstdint>

#include "miniinfer/abi/op.h"
#include "miniinfer/sdk/error.hpp"
#include "miniinfer/sdk/versioned.hpp"

namespace miniinfer::sdk {

class Choices {
 public:
  explicit Choices(std::uint32_t room) : room_(room < kMost ? room : kMost) {}

  // Offers one more way, best first. Fill in what it returns; null when there is no room for more.
  miniinfer_choice* add() noexcept {
    if (count_ == room_) return nullptr;
    miniinfer_choice& choice = choices_[count_++];
    choice = miniinfer_choice{};
    choice.head = MINIINFER_HEAD(miniinfer_choice);
    return &choice;
  }

  // Says why the region is refused, in words the user of a model understands: "group 8: only 1".
  [[gnu::format(printf, 2, 3)]] void refuse(const char* format, ...) {
    std::va_list args;
    va_start(args, format);
    std::vsnprintf(reason_, sizeof reason_, format, args);
    va_end(args);
  }

  std::uint32_t count() const noexcept { return count_; }
  const char* reason() const noexcept { return reason_; }

  // Copies the answer into the host's structs, each of which may be smaller or larger than ours.
  miniinfer_code deliver(miniinfer_choice* const* theirs, std::uint32_t* count) const noexcept {
    for (std::uint32_t i = 0; i < count_; ++i) write(choices_[i], theirs[i]);
    if (count_ == 0 && room_ > 0) {
      miniinfer_choice refusal{};
      put_text(refusal.reason, reason_);
      write(refusal, theirs[0]);
    }
    *count = count_;
    return count_ == 0 ? MINIINFER_UNSUPPORTED : MINIINFER_OK;
  }

 private:
  static constexpr std::uint32_t kMost = 8;
  std::uint32_t room_;
  std::uint32_t count_ = 0;
  std::array<miniinfer_choice, kMost> choices_;
  char reason_[sizeof(miniinfer_choice::reason)] = "not implemented";
};

// The bit of miniinfer_choice.in_place that lets output `out` share input `in`'s memory.
constexpr std::uint64_t in_place_bit(std::uint32_t out, std::uint32_t in) noexcept {
  return out < 8 && in < 8 ? std::uint64_t{1} << (out * 8 + in) : 0;
}

}  // namespace miniinfer::sdk
