#ifndef MINIINFER_ABI_HOST_H
#define MINIINFER_ABI_HOST_H

// What the host gives to a plugin. The table lives as long as the process; every function takes the
// table itself as its first argument.

#include "miniinfer/abi/base.h"
#include "miniinfer/abi/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t miniinfer_log_level;
enum {
  MINIINFER_LOG_TRACE = 0,
  MINIINFER_LOG_DEBUG = 1,
  MINIINFER_LOG_INFO = 2,
  MINIINFER_LOG_WARN = 3,
  MINIINFER_LOG_ERROR = 4,
  MINIINFER_LOG_OFF = 5
};

// A piece of a parallel loop: items [begin, end) on worker `worker`, a number below the loop's
// max_threads that no other piece running at the same time has. Returns a code; the first failure
// stops pieces that have not begun and becomes the loop's result.
typedef miniinfer_code (*miniinfer_loop_body)(void* context, uint64_t begin, uint64_t end,
                                              uint32_t worker);

typedef struct miniinfer_host miniinfer_host;
struct miniinfer_host {
  miniinfer_head head;
  void* self;           // the host's own
  const char* name;     // "miniinfer"
  const char* version;  // "0.1.0"

  // Writes a line to the application's log under the plugin's name. Test log_level first where
  // making the text costs something. [any-thread]
  void (*log)(const miniinfer_host* host, miniinfer_log_level level, const char* text);
  miniinfer_log_level (*log_level)(const miniinfer_host* host);

  // Says why the call now running on this thread is about to fail. The text is copied. [any-thread]
  void (*set_error)(const miniinfer_host* host, const char* text);

  // The value the user gave for "<plugin>.<key>", or null. Lives as long as the process.
  // [any-thread]
  const char* (*option)(const miniinfer_host* host, const char* key);

  // Hands over the allocator of one kind of memory of a device. Only valid inside device_open, for
  // the ordinal being opened; nothing is registered unless device_open succeeds. The struct is
  // copied; what `self` points to lives until the device is closed. [loader]
  miniinfer_code (*register_allocator)(const miniinfer_host* host, uint32_t ordinal,
                                       const miniinfer_allocator* allocator);

  // How many threads parallel_for uses, the caller included. [any-thread]
  uint32_t (*thread_count)(const miniinfer_host* host);
  // Runs `body` over [0, count) in pieces of about `grain` items on at most `max_threads` threads
  // (0: all), the caller among them, and returns when all are done. May be nested: an inner loop
  // runs on its caller alone. A body's set_error text is moved to the caller. [any-thread]
  miniinfer_code (*parallel_for)(const miniinfer_host* host, uint64_t count, uint64_t grain,
                                 uint32_t max_threads, miniinfer_loop_body body, void* context);

  // A cache of bytes by key that outlives the process, kept apart for each plugin. `read` sets
  // `*bytes` to the entry's size and fills `data` if it has room; MINIINFER_NOT_FOUND without an
  // entry, MINIINFER_UNAVAILABLE where the user allows no cache. [any-thread]
  miniinfer_code (*cache_read)(const miniinfer_host* host, const char* key, void* data,
                               uint64_t* bytes);
  miniinfer_code (*cache_write)(const miniinfer_host* host, const char* key, const void* data,
                                uint64_t bytes);

  // An optional capability of the host by id, or null. [any-thread]
  const void* (*extension)(const miniinfer_host* host, const char* id);
};

#ifdef __cplusplus
}
#endif

#endif
