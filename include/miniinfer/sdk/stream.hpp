#pragma once

// Streams and events of a device that works late. A device that has finished when a call returns
// (MINIINFER_DEVICE_INLINE) needs neither.

#include <cstdint>

#include "miniinfer/abi/stream.h"
#include "miniinfer/sdk/host.hpp"

namespace miniinfer::sdk {

// A mark in a stream's work. See Stream::record.
class Event {
 public:
  virtual ~Event() = default;
  virtual void sync() = 0;  // waits on the calling thread; throws what the work failed with
  virtual bool done() = 0;  // never waits
  // Device time from this event to `to`, both done.
  virtual std::uint64_t elapsed_ns(Event& to) {
    static_cast<void>(to);
    fail(MINIINFER_UNSUPPORTED, "this device does not measure time between events");
  }
};

// A queue of work that runs in order. The destructor waits for the work, or, on a lost device, lets
// go of it. Copies, fills and kernels are put on a stream by one thread at a time; all else may
// come from any thread meanwhile.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void sync() = 0;  // throws what the work failed with, now and from then on
  virtual bool done() = 0;  // never waits
  virtual void* native() noexcept { return nullptr; }
  // The host's end is {address, 0}.
  virtual void copy(miniinfer_copy_direction direction, miniinfer_mem dst, miniinfer_mem src,
                    std::uint64_t bytes) = 0;
  virtual void fill(miniinfer_mem dst, std::uint64_t bytes, std::uint64_t pattern,
                    std::uint32_t pattern_bytes) = 0;
  virtual void record(Event& event) = 0;  // moves the event to this stream's present end
  virtual void wait(Event& event) = 0;    // later work waits for it
};

inline Stream* unwrap(miniinfer_stream* stream) noexcept {
  return reinterpret_cast<Stream*>(stream);
}
inline Event* unwrap(miniinfer_event* event) noexcept { return reinterpret_cast<Event*>(event); }

namespace detail {

inline miniinfer_code stream_sync(miniinfer_stream* stream) noexcept {
  return guard([&] { unwrap(stream)->sync(); });
}
inline miniinfer_code stream_query(miniinfer_stream* stream, std::uint32_t* out_done) noexcept {
  return guard([&] { *out_done = unwrap(stream)->done() ? 1 : 0; });
}
inline void stream_destroy(miniinfer_stream* stream) noexcept { delete unwrap(stream); }
inline void* stream_native(miniinfer_stream* stream) noexcept { return unwrap(stream)->native(); }

inline miniinfer_code stream_copy(miniinfer_stream* stream, miniinfer_copy_direction direction,
                                  miniinfer_mem dst, miniinfer_mem src,
                                  std::uint64_t bytes) noexcept {
  return guard([&] { unwrap(stream)->copy(direction, dst, src, bytes); });
}
inline miniinfer_code stream_fill(miniinfer_stream* stream, miniinfer_mem dst, std::uint64_t bytes,
                                  std::uint64_t pattern, std::uint32_t pattern_bytes) noexcept {
  return guard([&] { unwrap(stream)->fill(dst, bytes, pattern, pattern_bytes); });
}

inline void event_destroy(miniinfer_event* event) noexcept { delete unwrap(event); }
inline miniinfer_code event_record(miniinfer_event* event, miniinfer_stream* stream) noexcept {
  return guard([&] { unwrap(stream)->record(*unwrap(event)); });
}
inline miniinfer_code event_wait(miniinfer_event* event, miniinfer_stream* stream) noexcept {
  return guard([&] { unwrap(stream)->wait(*unwrap(event)); });
}
inline miniinfer_code event_sync(miniinfer_event* event) noexcept {
  return guard([&] { unwrap(event)->sync(); });
}
inline miniinfer_code event_query(miniinfer_event* event, std::uint32_t* out_done) noexcept {
  return guard([&] { *out_done = unwrap(event)->done() ? 1 : 0; });
}
inline miniinfer_code event_elapsed(miniinfer_event* from, miniinfer_event* to,
                                    std::uint64_t* out_ns) noexcept {
  return guard([&] { *out_ns = unwrap(from)->elapsed_ns(*unwrap(to)); });
}

}  // namespace detail

}  // namespace miniinfer::sdk
