#include "core/cpu/backend.hpp"

#include <cpuid.h>
#include <sys/sysinfo.h>

#include <cstdio>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <string_view>

#include "core/cpu/cpu_features.hpp"
#include "core/cpu/kernel.hpp"
#include "core/cpu/pointwise_program.hpp"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer::cpu {
namespace {

// Everything the host holds of this backend is one of these; there is no state behind them.
char the_plugin, the_device;

const Family* const kFamilies[] = {
    &kPointwise, &kCopy,     &kReduce,    &kContract, &kGather, &kConv,    &kConvTranspose,
    &kScatter,   &kSoftmax,  &kLayerNorm, &kResize,   &kTopK,   &kNonZero, &kNonMaxSuppression,
    &kCumSum,    &kAttention};
constexpr std::size_t kFamilyCount = std::size(kFamilies);

const Family* family_of(const miniinfer_region* region) noexcept {
  if (region == nullptr || region->node_count == 0) return nullptr;
  const std::string_view op = region->nodes[0]->op;
  for (const Family* family : kFamilies) {
    if (op == family->op) return family;
  }
  return nullptr;
}

Kernel& kernel_of(miniinfer_kernel* kernel) noexcept { return *reinterpret_cast<Kernel*>(kernel); }

miniinfer_code support(miniinfer_device*, const miniinfer_region* region,
                       miniinfer_choice* const* choices, std::uint32_t* count) {
  if (*count == 0) return fail(MINIINFER_INVALID_ARGUMENT, "support: room for no choice");
  miniinfer_choice& choice = *choices[0];
  const Family* family = family_of(region);
  miniinfer_code code = MINIINFER_UNSUPPORTED;
  if (family == nullptr) {
    std::snprintf(choice.reason, sizeof choice.reason, "%.80s: not an operator of this backend",
                  region->node_count == 0 ? "an empty region" : region->nodes[0]->op);
  } else {
    try {
      code = family->support(RegionView(*region), choice);
    } catch (const std::bad_alloc&) {
      return fail(MINIINFER_OUT_OF_MEMORY, "support of %s: out of host memory", family->op);
    }
  }
  if (code == MINIINFER_OK) *count = 1;
  return code;
}

miniinfer_code create(miniinfer_device*, const miniinfer_region* region, const miniinfer_choice*,
                      miniinfer_kernel** out) {
  const Family* family = family_of(region);
  if (family == nullptr) {
    return fail(MINIINFER_INVALID_ARGUMENT, "create: a region that support did not accept");
  }
  try {
    *out = reinterpret_cast<miniinfer_kernel*>(family->create(RegionView(*region)).release());
    return MINIINFER_OK;
  } catch (const std::bad_alloc&) {
    return fail(MINIINFER_OUT_OF_MEMORY, "create of %s: out of host memory", family->op);
  }
}

void destroy(miniinfer_kernel* kernel) { delete reinterpret_cast<Kernel*>(kernel); }

miniinfer_code packed(miniinfer_kernel* kernel, std::uint32_t operand, miniinfer_packed* out) {
  return kernel_of(kernel).packed(operand, *out);
}

miniinfer_code pack(miniinfer_kernel* kernel, std::uint32_t operand, miniinfer_mem src,
                    miniinfer_mem dst, miniinfer_stream*) {
  return kernel_of(kernel).pack(operand, address(src), address(dst));
}

miniinfer_code enqueue(miniinfer_kernel* kernel, miniinfer_stream*, const miniinfer_run* run) {
  return kernel_of(kernel).run(*run);
}

constexpr std::uint64_t bits(std::initializer_list<int> numbers, int from = 0) {
  std::uint64_t result = 0;
  for (int n : numbers) {
    if (n >= from && n < from + 64) result |= std::uint64_t{1} << (n - from);
  }
  return result;
}

constexpr std::uint64_t kDtypes =
    bits({MINIINFER_FLOAT32, MINIINFER_FLOAT64, MINIINFER_FLOAT16, MINIINFER_BFLOAT16,
          MINIINFER_INT8, MINIINFER_INT16, MINIINFER_INT32, MINIINFER_INT64, MINIINFER_UINT8,
          MINIINFER_UINT16, MINIINFER_UINT32, MINIINFER_UINT64, MINIINFER_BOOL});

constexpr std::uint64_t range(int from, int to) {  // bits [from, to]
  std::uint64_t result = 0;
  for (int n = from; n <= to; ++n) result |= std::uint64_t{1} << n;
  return result;
}

// One row for each family.
struct OpInfos {
  OpInfos() {
    for (std::size_t i = 0; i < kFamilyCount; ++i) {
      info[i] = {MINIINFER_HEAD(miniinfer_op_info), kFamilies[i]->op, kFamilies[i]->attr_size};
      pointers[i] = &info[i];
    }
  }
  miniinfer_op_info info[kFamilyCount];
  const miniinfer_op_info* pointers[kFamilyCount];
};

const miniinfer_op_api& op_table() {
  static const OpInfos infos;
  static const miniinfer_op_api table = {
      MINIINFER_HEAD(miniinfer_op_api),
      infos.pointers,
      static_cast<std::uint32_t>(kFamilyCount),
      2,
      MINIINFER_POINTWISE_MAX_CODE,
      PointwiseProgram::kMaxInputs,
      {range(MINIINFER_PW_COPY, MINIINFER_PW_IS_NEGATIVE_INF) |
           range(MINIINFER_PW_ADD, MINIINFER_PW_LESS_EQUAL),
       bits({MINIINFER_PW_SELECT, MINIINFER_PW_FMA}, 64)},
      kDtypes,
      support,
      create,
      destroy,
      packed,
      pack,
      enqueue,
  };
  return table;
}

// "AMD EPYC 7B13", from the processor itself.
void brand(char* text, std::size_t size) {
  unsigned words[13] = {};
  if (__get_cpuid_max(0x80000000u, nullptr) < 0x80000004u) {
    std::snprintf(text, size, "x86-64");
    return;
  }
  for (unsigned i = 0; i < 3; ++i) {
    unsigned* w = words + 4 * i;
    __get_cpuid(0x80000002u + i, w, w + 1, w + 2, w + 3);
  }
  std::string_view name(reinterpret_cast<const char*>(words));
  while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
  while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
  std::snprintf(text, size, "%.*s", static_cast<int>(name.size()), name.data());
}

void fill_info(miniinfer_device_info& info) {
  info.kind = MINIINFER_KIND_CPU;
  info.flags =
      MINIINFER_DEVICE_INLINE | MINIINFER_DEVICE_FLAT_ADDRESS | MINIINFER_DEVICE_HOST_VISIBLE;
  info.rank = 0;
  info.dlpack_type = 1;  // kDLCPU
  struct sysinfo system{};
  if (sysinfo(&system) == 0) info.memory_bytes = std::uint64_t{system.totalram} * system.mem_unit;
  info.dtypes = kDtypes;
  info.memory_alignment = 64;
  std::snprintf(info.stable_id, sizeof info.stable_id, "cpu");
  char processor[64];
  brand(processor, sizeof processor);
  std::snprintf(info.name, sizeof info.name, "%s, %s", processor, cpu_isa_name());
  std::snprintf(info.memory_domain, sizeof info.memory_domain, "host");
}

miniinfer_code device_sync(miniinfer_device*) { return MINIINFER_OK; }

miniinfer_code device_info(miniinfer_device*, miniinfer_device_info* info) {
  fill_info(*info);
  return MINIINFER_OK;
}

const void* no_extension(miniinfer_device*, const char*) { return nullptr; }

void device_close(miniinfer_device*) {}

const miniinfer_device_api& device_table() {
  static const miniinfer_device_api table = {
      MINIINFER_HEAD(miniinfer_device_api),
      nullptr,
      &op_table(),
      device_sync,
      device_info,
      no_extension,
      device_close,
  };
  return table;
}

miniinfer_code probe(const miniinfer_host*, miniinfer_probe* out) {
  out->state = MINIINFER_PROBE_FOUND;
  out->count = 0;
  if (out->capacity == 0) return MINIINFER_OK;
  fill_info(*out->devices[0]);
  out->count = 1;
  return MINIINFER_OK;
}

miniinfer_code init(const miniinfer_host* table, miniinfer_plugin** out) {
  set_host(*table);
  *out = reinterpret_cast<miniinfer_plugin*>(&the_plugin);
  return MINIINFER_OK;
}

void shutdown(miniinfer_plugin*) {}

miniinfer_code device_open(miniinfer_plugin*, std::uint32_t ordinal, const miniinfer_device_info*,
                           miniinfer_device** out, const miniinfer_device_api** out_api) {
  if (ordinal != 0) return fail(MINIINFER_NOT_FOUND, "device_open: cpu:%u: only cpu:0", ordinal);
  *out = reinterpret_cast<miniinfer_device*>(&the_device);
  *out_api = &device_table();
  return MINIINFER_OK;
}

const miniinfer_plugin_api kPlugin = {
    MINIINFER_HEAD(miniinfer_plugin_api),
    "cpu",
    "0.1.0",
    "Mini-Infer",
#if defined(__SANITIZE_ADDRESS__)
    MINIINFER_SANITIZER_ADDRESS,
#elif defined(__SANITIZE_THREAD__)
    MINIINFER_SANITIZER_THREAD,
#else
    MINIINFER_SANITIZER_NONE,
#endif
    0,
    probe,
    init,
    shutdown,
    device_open,
    nullptr,
};

}  // namespace
}  // namespace miniinfer::cpu

miniinfer_code miniinfer_cpu_entry(miniinfer_entry* entry) {
  constexpr std::uint32_t kMinor = MINIINFER_ABI_MINOR;
  if (kMinor < entry->host_min || kMinor > entry->host_max) {
    if (entry->error != nullptr && entry->error_capacity > 0) {
      std::snprintf(entry->error, entry->error_capacity,
                    "cpu speaks boundary 0.%u, the host 0.%u to 0.%u", kMinor, entry->host_min,
                    entry->host_max);
    }
    return MINIINFER_INCOMPATIBLE;
  }
  entry->chosen = kMinor;
  entry->plugin = &miniinfer::cpu::kPlugin;
  return MINIINFER_OK;
}
