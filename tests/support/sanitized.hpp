#pragma once

namespace miniinfer::testing {

// Sanitizers take larger frames, more memory and more time: how many times as much a test allows.
#if defined(__has_feature)
#define MINIINFER_HAS_FEATURE(name) __has_feature(name)
#else
#define MINIINFER_HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    MINIINFER_HAS_FEATURE(address_sanitizer) || MINIINFER_HAS_FEATURE(thread_sanitizer)
inline constexpr int kSlack = 8;
#else
inline constexpr int kSlack = 1;
#endif

}  // namespace miniinfer::testing
