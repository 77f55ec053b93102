#pragma once

// Reading and writing structs that the other side may have compiled smaller or larger.

#include <algorithm>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "miniinfer/abi/base.h"

namespace miniinfer::sdk {

// A copy of `theirs`; what they did not know is zero.
template <class T>
T read(const void* theirs) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  miniinfer_head head;
  std::memcpy(&head, theirs, sizeof head);
  T ours{};
  std::memcpy(&ours, theirs, std::min<std::size_t>(head.size, sizeof ours));
  ours.head = MINIINFER_HEAD(T);
  return ours;
}

// Writes as much of `ours` as `theirs` has room for and leaves their head alone.
template <class T>
void write(const T& ours, T* theirs) noexcept {
  static_assert(std::is_trivially_copyable_v<T> && offsetof(T, head) == 0);
  constexpr std::size_t kHead = sizeof(miniinfer_head);
  const std::size_t bytes = std::min<std::size_t>(theirs->head.size, sizeof ours);
  if (bytes <= kHead) return;
  std::memcpy(reinterpret_cast<char*>(theirs) + kHead, reinterpret_cast<const char*>(&ours) + kHead,
              bytes - kHead);
}

// Fills a text field, cut where it is too long.
template <std::size_t N>
void put_text(char (&field)[N], std::string_view text) noexcept {
  const std::size_t bytes = std::min(text.size(), N - 1);
  std::memcpy(field, text.data(), bytes);
  std::memset(field + bytes, 0, N - bytes);
}

}  // namespace miniinfer::sdk
