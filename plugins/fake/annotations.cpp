#include "plugins/fake/annotations.hpp"

#include "miniinfer/sdk/open_device.hpp"
#include "plugins/fake/device.hpp"

namespace miniinfer::fake {
namespace {

Annotations& of(miniinfer_device* device) {
  return static_cast<Device&>(sdk::unwrap(device)).annotations();
}

constexpr miniinfer_memory_annotate kTable = {
    MINIINFER_HEAD(miniinfer_memory_annotate),
    [](miniinfer_device* device, miniinfer_mem mem, std::uint64_t bytes, const char*) {
      return of(device).add_heap(mem, bytes);
    },
    [](miniinfer_device* device, miniinfer_heap* heap) { of(device).remove_heap(heap); },
    [](miniinfer_device* device, miniinfer_heap* heap, miniinfer_mem mem, std::uint64_t bytes) {
      of(device).add_region(heap, mem, bytes);
    },
    [](miniinfer_device* device, miniinfer_heap* heap, miniinfer_mem mem, const char* name) {
      of(device).name_region(heap, mem, name);
    },
    [](miniinfer_device* device, miniinfer_heap* heap, miniinfer_mem mem) {
      of(device).remove_region(heap, mem);
    },
};

std::uint64_t number_of(const miniinfer_heap* heap) {
  return reinterpret_cast<std::uintptr_t>(heap);
}

unsigned long long shown(std::uint64_t value) { return value; }

}  // namespace

const miniinfer_memory_annotate* Annotations::api() { return &kTable; }

Annotations::~Annotations() {
  if (!heaps_.empty()) device_.violation("%zu heaps are announced at the end", heaps_.size());
}

miniinfer_heap* Annotations::add_heap(miniinfer_mem mem, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  for (const auto& [number, heap] : heaps_) {
    if (heap.mem.handle == mem.handle && mem.offset < heap.mem.offset + heap.bytes &&
        heap.mem.offset < mem.offset + bytes) {
      device_.violation("a heap of %llu bytes lies over another", shown(bytes));
    }
  }
  heaps_[next_] = {mem, bytes, {}};
  return reinterpret_cast<miniinfer_heap*>(static_cast<std::uintptr_t>(next_++));
}

Annotations::Heap* Annotations::find(const miniinfer_heap* heap, const char* call) {
  const auto found = heaps_.find(number_of(heap));
  if (found != heaps_.end()) return &found->second;
  device_.violation("%s of heap %llu, which there is not", call, shown(number_of(heap)));
  return nullptr;
}

void Annotations::remove_heap(const miniinfer_heap* heap) {
  const std::lock_guard lock(mutex_);
  if (find(heap, "unregister") != nullptr) heaps_.erase(number_of(heap));
}

void Annotations::add_region(const miniinfer_heap* heap, miniinfer_mem mem, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  Heap* const in = find(heap, "region_register");
  if (in == nullptr) return;
  const std::uint64_t begin = mem.offset - in->mem.offset;
  if (mem.handle != in->mem.handle || mem.offset < in->mem.offset || begin > in->bytes ||
      bytes > in->bytes - begin || bytes == 0) {
    return device_.violation("a region of %llu bytes at %llu lies not in its heap", shown(bytes),
                             shown(mem.offset));
  }
  const auto after = in->regions.lower_bound(begin);
  if ((after != in->regions.end() && after->first < begin + bytes) ||
      (after != in->regions.begin() &&
       std::prev(after)->first + std::prev(after)->second.bytes > begin)) {
    return device_.violation("a region of %llu bytes at %llu lies over another", shown(bytes),
                             shown(mem.offset));
  }
  in->regions[begin] = {bytes, ""};
}

void Annotations::name_region(const miniinfer_heap* heap, miniinfer_mem mem, const char* name) {
  const std::lock_guard lock(mutex_);
  Heap* const in = find(heap, "region_name");
  if (in == nullptr) return;
  const auto found = in->regions.find(mem.offset - in->mem.offset);
  if (found == in->regions.end()) {
    return device_.violation("no region at %llu to name", shown(mem.offset));
  }
  found->second.name = name;
}

void Annotations::remove_region(const miniinfer_heap* heap, miniinfer_mem mem) {
  const std::lock_guard lock(mutex_);
  Heap* const in = find(heap, "region_unregister");
  if (in != nullptr && in->regions.erase(mem.offset - in->mem.offset) == 0) {
    device_.violation("no region at %llu to unregister", shown(mem.offset));
  }
}

std::vector<miniinfer_fake_region> Annotations::regions() {
  const std::lock_guard lock(mutex_);
  std::vector<miniinfer_fake_region> all;
  for (const auto& [number, heap] : heaps_) {
    for (const auto& [begin, region] : heap.regions) {
      all.push_back(
          {{heap.mem.handle, heap.mem.offset + begin}, region.bytes, region.name.c_str()});
    }
  }
  return all;
}

}  // namespace miniinfer::fake
