#ifndef MINIINFER_ABI_PLUGIN_H
#define MINIINFER_ABI_PLUGIN_H

// A plugin: one shared library, libminiinfer_<name>.so, that serves devices of one kind.
//
// It exports one symbol, miniinfer_plugin_entry_v0, and carries an ELF note from which the host
// reads its name and version before it runs any of its code. Loading then goes in three stages,
// each of which may say no with a sentence:
//
//   entry        pure: no threads, no files, no device; agrees on a version and returns the table
//   probe        cheap and safe before fork: lists devices without opening any (no device context)
//   init, device_open   may cost; called when somebody first uses a device of the plugin
//
// A plugin is never unloaded. It must load on a machine that has nothing of its vendor installed:
// what it needs beyond the C and C++ run-time libraries it opens itself, in `probe` or later.

#include "miniinfer/abi/base.h"
#include "miniinfer/abi/device.h"
#include "miniinfer/abi/host.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t miniinfer_probe_state;
enum {
  MINIINFER_PROBE_ABSENT = 0,  // no device, and `reason` says how that is known
  MINIINFER_PROBE_FOUND = 1,   // `devices` lists them
  MINIINFER_PROBE_UNKNOWN = 2  // the signs conflict; opening decides
};

typedef struct miniinfer_probe {
  miniinfer_head head;
  miniinfer_probe_state state;
  uint32_t capacity;  // in: how many structs `devices` points to
  uint32_t count;     // out: how many were filled; never more than capacity
  uint32_t reserved;
  miniinfer_device_info* const* devices;  // the host's; each with its head filled in
  char reason[256];                       // why there is no device
  char driver[64];                        // the driver's version, where one was seen
} miniinfer_probe;

enum {
  MINIINFER_SANITIZER_NONE = 0,
  MINIINFER_SANITIZER_ADDRESS = 1,
  MINIINFER_SANITIZER_THREAD = 2
};

typedef struct miniinfer_plugin_api {
  miniinfer_head head;
  const char* name;     // "cuda": [a-z][a-z0-9_]*, the name in device ids
  const char* version;  // the plugin's own, "0.1.0"
  const char* vendor;   // who to ask
  uint32_t sanitizer;   // MINIINFER_SANITIZER_* it was compiled with
  uint32_t reserved;

  // Lists devices, or says why there is none. May be called more than once. [loader]
  miniinfer_code (*probe)(const miniinfer_host* host, miniinfer_probe* out);
  // Called before the first device_open, and again before the next one after a shutdown. [loader]
  miniinfer_code (*init)(const miniinfer_host* host, miniinfer_plugin** out);
  // All devices are closed. Called when the program has let go of everything that uses devices; one
  // that ends while it still holds something never calls it. Optional. [loader]
  void (*shutdown)(miniinfer_plugin* plugin);
  // Opens the device that probe gave this ordinal, and registers its allocators. `info` is what
  // probe said; MINIINFER_UNAVAILABLE when no device with info->stable_id appears. [loader]
  miniinfer_code (*device_open)(miniinfer_plugin* plugin, uint32_t ordinal,
                                const miniinfer_device_info* info, miniinfer_device** out,
                                const miniinfer_device_api** out_api);
  // An optional capability by id, or null. Optional. [any-thread]
  const void* (*extension)(miniinfer_plugin* plugin, const char* id);
} miniinfer_plugin_api;

// The argument of the entry function. This struct is frozen for the life of a major version.
typedef struct miniinfer_entry {
  miniinfer_head head;
  uint32_t host_min;  // the host speaks minors host_min to host_max of this major
  uint32_t host_max;
  uint32_t chosen;  // out: the newest minor both speak
  uint32_t error_capacity;
  const miniinfer_plugin_api* plugin;  // out: lives as long as the process
  char* error;                         // out: why not, at most error_capacity bytes with the NUL
} miniinfer_entry;

// MINIINFER_OK, or MINIINFER_INCOMPATIBLE with `error` naming both ranges. Idempotent. [loader]
typedef miniinfer_code (*miniinfer_plugin_entry)(miniinfer_entry* entry);

#define MINIINFER_PLUGIN_ENTRY miniinfer_plugin_entry_v0
#define MINIINFER_PLUGIN_ENTRY_NAME "miniinfer_plugin_entry_v0"

// The ELF note. Owner "miniinfer", type 1, and this as its content.
#define MINIINFER_NOTE_SECTION ".note.miniinfer"
#define MINIINFER_NOTE_TYPE 1

typedef struct miniinfer_note {
  uint32_t name_bytes;  // 10: "miniinfer" and its NUL
  uint32_t desc_bytes;  // 64
  uint32_t type;        // MINIINFER_NOTE_TYPE
  char owner[12];       // "miniinfer", padded to a multiple of 4
  uint32_t abi_major;
  uint32_t abi_min;  // the plugin speaks minors abi_min to abi_max
  uint32_t abi_max;
  uint32_t reserved;
  char plugin[48];  // the plugin's name
} miniinfer_note;

#if defined(__clang__)
#define MINIINFER_NOTE_ATTRIBUTES \
  __attribute__((aligned(4), section(MINIINFER_NOTE_SECTION), used, retain, no_sanitize("address")))
#elif defined(__GNUC__)
#define MINIINFER_NOTE_ATTRIBUTES \
  __attribute__((aligned(4), section(MINIINFER_NOTE_SECTION), used, retain))
#else
#define MINIINFER_NOTE_ATTRIBUTES
#endif

// Defines the note of a plugin; once, in the file of its entry function.
// clang-format off
#define MINIINFER_DEFINE_NOTE(plugin_name)                                                  \
  static const miniinfer_note miniinfer_the_note MINIINFER_NOTE_ATTRIBUTES = {              \
      10, 64, MINIINFER_NOTE_TYPE, "miniinfer", MINIINFER_ABI_MAJOR, MINIINFER_ABI_MINOR,   \
      MINIINFER_ABI_MINOR, 0, plugin_name}
// clang-format on

#ifdef __cplusplus
}
#endif

#endif
