#include "core/cpu/kernel.hpp"

#include <atomic>
#include <cstdarg>
#include <cstdio>

#include "core/cpu/backend.hpp"
#include "core/cpu/parallel.hpp"

namespace miniinfer::cpu {
namespace {

// Serves until a host has given its table: no workers, and errors without a text.
const miniinfer_host kNoHost = {
    MINIINFER_HEAD(miniinfer_host),
    nullptr,
    "none",
    "0",
    [](const miniinfer_host*, miniinfer_log_level, const char*) {},
    [](const miniinfer_host*) -> miniinfer_log_level { return MINIINFER_LOG_OFF; },
    [](const miniinfer_host*, const char*) {},
    [](const miniinfer_host*, const char*) -> const char* { return nullptr; },
    [](const miniinfer_host*, std::uint32_t, const miniinfer_allocator*) -> miniinfer_code {
      return MINIINFER_UNAVAILABLE;
    },
    [](const miniinfer_host*) -> std::uint32_t { return 1; },
    [](const miniinfer_host*, std::uint64_t count, std::uint64_t, std::uint32_t,
       miniinfer_loop_body body, void* context) -> miniinfer_code {
      return count == 0 ? miniinfer_code{MINIINFER_OK} : body(context, 0, count, 0);
    },
    [](const miniinfer_host*, const char*, void*, std::uint64_t*) -> miniinfer_code {
      return MINIINFER_UNAVAILABLE;
    },
    [](const miniinfer_host*, const char*, const void*, std::uint64_t) -> miniinfer_code {
      return MINIINFER_UNAVAILABLE;
    },
    [](const miniinfer_host*, const char*) -> const void* { return nullptr; },
};

std::atomic<const miniinfer_host*> the_host{&kNoHost};

}  // namespace

const miniinfer_host& host() noexcept { return *the_host.load(std::memory_order_acquire); }

void set_host(const miniinfer_host& table) noexcept {
  the_host.store(&table, std::memory_order_release);
}

miniinfer_code fail(miniinfer_code code, const char* format, ...) noexcept {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  host().set_error(&host(), text);
  return code;
}

void report_fault(const miniinfer_run& run, std::int32_t code, std::int64_t a,
                  std::int64_t b) noexcept {
  if (run.fault.handle == 0) return;
  auto& fault = *reinterpret_cast<miniinfer_fault*>(address(run.fault));
  std::int32_t none = MINIINFER_FAULT_NONE;
  if (!std::atomic_ref(fault.code).compare_exchange_strong(none, code)) return;
  fault.step = run.step;
  fault.detail[0] = a;
  fault.detail[1] = b;
}

int RegionView::arg_of(std::uint32_t value_index) const {
  for (std::uint32_t i = 0; i < region_.in_count; ++i) {
    if (region_.in[i] == value_index) return static_cast<int>(i);
  }
  for (std::uint32_t i = 0; i < region_.out_count; ++i) {
    if (region_.out[i] == value_index) return static_cast<int>(region_.in_count + i);
  }
  return -1;
}

std::int64_t element_count(const miniinfer_value& v) noexcept {
  std::int64_t count = 1;
  for (std::int64_t dim : dims(v)) count *= dim;
  return count;
}

std::size_t element_bytes(miniinfer_dtype dtype) noexcept {
  switch (dtype) {
    case MINIINFER_UINT8:
    case MINIINFER_INT8:
    case MINIINFER_BOOL:
    case MINIINFER_FLOAT8E4M3FN:
    case MINIINFER_FLOAT8E4M3FNUZ:
    case MINIINFER_FLOAT8E5M2:
    case MINIINFER_FLOAT8E5M2FNUZ:
    case MINIINFER_FLOAT8E8M0:
      return 1;
    case MINIINFER_UINT16:
    case MINIINFER_INT16:
    case MINIINFER_FLOAT16:
    case MINIINFER_BFLOAT16:
      return 2;
    case MINIINFER_FLOAT32:
    case MINIINFER_INT32:
    case MINIINFER_UINT32:
      return 4;
    case MINIINFER_FLOAT64:
    case MINIINFER_INT64:
    case MINIINFER_UINT64:
    case MINIINFER_STRING:
    case MINIINFER_COMPLEX64:
      return 8;
    case MINIINFER_COMPLEX128:
      return 16;
    default:
      return 0;
  }
}

std::int64_t product(std::span<const std::int64_t> dims, std::size_t from,
                     std::size_t to) noexcept {
  std::int64_t result = 1;
  for (std::size_t i = from; i < to; ++i) result *= dims[i];
  return result;
}

}  // namespace miniinfer::cpu
