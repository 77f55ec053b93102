#pragma once

// Tells AddressSanitizer which bytes of a larger piece are somebody's; nothing in other builds.

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MINIINFER_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define MINIINFER_ADDRESS_SANITIZER
#endif

#ifdef MINIINFER_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace miniinfer {

#ifdef MINIINFER_ADDRESS_SANITIZER
inline constexpr bool kAddressSanitizer = true;
inline void poison(const void* begin, std::size_t bytes) noexcept {
  __asan_poison_memory_region(begin, bytes);
}
inline void unpoison(const void* begin, std::size_t bytes) noexcept {
  __asan_unpoison_memory_region(begin, bytes);
}
inline bool is_poisoned(const void* byte) noexcept { return __asan_address_is_poisoned(byte) != 0; }
#else
inline constexpr bool kAddressSanitizer = false;
inline void poison(const void*, std::size_t) noexcept {}
inline void unpoison(const void*, std::size_t) noexcept {}
inline bool is_poisoned(const void*) noexcept { return false; }
#endif

}  // namespace miniinfer
