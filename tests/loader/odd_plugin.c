// A plugin that is wrong in one way, chosen with -DODD_<WHAT>; none: nothing is wrong. Tests copy
// what they need to a folder as libminiinfer_odd.so.

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "miniinfer/abi/plugin.h"

#if defined(ODD_NOTE_VERSION)
static const miniinfer_note miniinfer_the_note MINIINFER_NOTE_ATTRIBUTES = {
    10, 64, MINIINFER_NOTE_TYPE, "miniinfer", 7, 3, 5, 0, "odd"};
#elif defined(ODD_NOTE_NAME)
MINIINFER_DEFINE_NOTE("other");
#elif !defined(ODD_NO_NOTE)
MINIINFER_DEFINE_NOTE("odd");
#endif

#if defined(ODD_EXIT)
__attribute__((constructor)) static void construct(void) { exit(0); }
#elif defined(ODD_ABORT)
__attribute__((constructor)) static void construct(void) { abort(); }
#elif defined(ODD_HANG)
__attribute__((constructor)) static void construct(void) {
  for (;;) pause();
}
#elif defined(ODD_CRASH)
__attribute__((constructor)) static void construct(void) {
  signal(SIGSEGV, SIG_DFL);
  raise(SIGSEGV);
}
#endif

#if defined(ODD_UNDEFINED)
extern int odd_nobody_defines_this(void);
int odd_user(void) { return odd_nobody_defines_this(); }
#elif defined(ODD_NEEDED)
extern int odd_absent(void);
int odd_user(void) { return odd_absent(); }
#endif

__attribute__((unused)) static miniinfer_code probe(const miniinfer_host* host,
                                                    miniinfer_probe* out) {
  (void)host;
#if defined(ODD_MANY_DEVICES)
  out->state = MINIINFER_PROBE_FOUND;
  out->count = out->capacity + 1000;
#else
  out->state = MINIINFER_PROBE_ABSENT;
  out->count = 0;
  strncpy(out->reason, "odd has no device", sizeof out->reason - 1);
#endif
  return MINIINFER_OK;
}

static miniinfer_code init(const miniinfer_host* host, miniinfer_plugin** out) {
  (void)host;
  *out = NULL;
  return MINIINFER_UNAVAILABLE;
}

static void shut_down(miniinfer_plugin* plugin) { (void)plugin; }

static miniinfer_code device_open(miniinfer_plugin* plugin, uint32_t ordinal,
                                  const miniinfer_device_info* info, miniinfer_device** out,
                                  const miniinfer_device_api** out_api) {
  (void)plugin;
  (void)ordinal;
  (void)info;
  *out = NULL;
  *out_api = NULL;
  return MINIINFER_UNAVAILABLE;
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OWN_SANITIZER MINIINFER_SANITIZER_ADDRESS
#elif __has_feature(thread_sanitizer)
#define OWN_SANITIZER MINIINFER_SANITIZER_THREAD
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define OWN_SANITIZER MINIINFER_SANITIZER_ADDRESS
#elif defined(__SANITIZE_THREAD__)
#define OWN_SANITIZER MINIINFER_SANITIZER_THREAD
#endif
#ifndef OWN_SANITIZER
#define OWN_SANITIZER MINIINFER_SANITIZER_NONE
#endif

// The table of a plugin from a later minor: one slot more than this host knows.
typedef struct later_api {
  miniinfer_plugin_api known;
  void (*later)(void);
} later_api;

__attribute__((unused)) static later_api table = {
    {
#if defined(ODD_LARGER_TABLE)
        {(uint32_t)sizeof(later_api), MINIINFER_ABI_MINOR + 1},
#elif defined(ODD_SMALLER_TABLE)
        {(uint32_t)offsetof(miniinfer_plugin_api, extension), MINIINFER_ABI_MINOR},
#elif defined(ODD_TINY_TABLE)
        {8, MINIINFER_ABI_MINOR},
#else
        MINIINFER_HEAD(miniinfer_plugin_api),
#endif
#if defined(ODD_NO_NAME)
        NULL,
#elif defined(ODD_BAD_NAME)
        "Odd Name",
#elif defined(ODD_LONG_NAME)
        "odd_a_name_that_is_far_longer_than_any_file_of_a_plugin_may_be_called_and_goes_on_and_on",
#elif defined(ODD_OTHER_NAME)
        "other",
#elif defined(ODD_WILD_NAME)
        (const char*)8,
#else
        "odd",
#endif
        "0.1.0",
        "Mini-Infer's tests",
#if defined(ODD_SANITIZER)
        OWN_SANITIZER == MINIINFER_SANITIZER_THREAD ? MINIINFER_SANITIZER_ADDRESS
                                                    : MINIINFER_SANITIZER_THREAD,
#else
        OWN_SANITIZER,
#endif
        0,
#if defined(ODD_NULL_SLOT)
        NULL,
#else
        probe,
#endif
        init,
        shut_down,
        device_open,
        NULL,
    },
    NULL};

#if defined(ODD_EXTRA_EXPORT)
__attribute__((visibility("default"))) int odd_extra(void) { return 1; }
#endif

#if defined(ODD_THROWS)
// What a C++ plugin without a catch does, without a C++ compiler.
extern void* __cxa_allocate_exception(size_t);
extern void __cxa_throw(void*, void*, void (*)(void*)) __attribute__((noreturn));
extern void* _ZTIi;
#endif

#if !defined(ODD_NO_ENTRY)
__attribute__((visibility("default"))) miniinfer_code
MINIINFER_PLUGIN_ENTRY(miniinfer_entry* entry);

miniinfer_code MINIINFER_PLUGIN_ENTRY(miniinfer_entry* entry) {
#if defined(ODD_REFUSES)
  snprintf(entry->error, entry->error_capacity, "odd speaks v0.7, the host v0.%u",
           (unsigned)entry->host_max);
  return MINIINFER_INCOMPATIBLE;
#elif defined(ODD_ENDLESS_ERROR)
  memset(entry->error, 'x', entry->error_capacity);
  return MINIINFER_INCOMPATIBLE;
#elif defined(ODD_WILD_CODE)
  (void)entry;
  return -77;
#elif defined(ODD_NULL_TABLE)
  entry->chosen = entry->host_max;
  entry->plugin = NULL;
  return MINIINFER_OK;
#elif defined(ODD_CHOICE)
  entry->chosen = entry->host_max + 1;
  entry->plugin = &table.known;
  return MINIINFER_OK;
#elif defined(ODD_THROWS)
  int* thrown = __cxa_allocate_exception(sizeof *thrown);
  *thrown = 1;
  (void)entry;
  __cxa_throw(thrown, &_ZTIi, NULL);
#else
#if defined(ODD_PRINTS)
  puts("odd talks too much");
  fflush(stdout);
#endif
  entry->chosen = entry->host_max;
  entry->plugin = &table.known;
  return MINIINFER_OK;
#endif
}
#endif
