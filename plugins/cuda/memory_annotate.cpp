// NVTX's extension for memory, which compute-sanitizer listens to: "NVTX API for Compute
// Sanitizer", Suballocation API. NVTX is headers alone and loads a tool only where one started the
// process.

#include "plugins/cuda/memory_annotate.hpp"

#include <nvtx3/nvToolsExtMem.h>

#include "miniinfer/sdk/open_device.hpp"
#include "plugins/cuda/device.hpp"

namespace miniinfer::cuda {
namespace {

nvtxDomainHandle_t domain() {
  static const nvtxDomainHandle_t made = nvtxDomainCreateA("miniinfer");
  return made;
}

void* pointer(miniinfer_mem mem) { return reinterpret_cast<void*>(mem.handle + mem.offset); }

nvtxMemHeapHandle_t raw(miniinfer_heap* heap) {
  return reinterpret_cast<nvtxMemHeapHandle_t>(heap);
}

// The tool asks the driver, which must know the device.
template <class Call>
void announce(miniinfer_device* device, Call&& call) {
  sdk::detail::guard_quietly("announcing memory",
                             [&] { static_cast<Device&>(sdk::unwrap(device)).on_device(call); });
}

miniinfer_heap* heap_register(miniinfer_device* device, miniinfer_mem mem, std::uint64_t bytes,
                              const char* name) noexcept {
  nvtxMemHeapHandle_t heap = nullptr;
  announce(device, [&] {
    const nvtxMemVirtualRangeDesc_t range = {bytes, pointer(mem)};
    nvtxMemHeapDesc_t desc{};
    desc.extCompatID = NVTX_EXT_COMPATID_MEM;
    desc.structSize = sizeof desc;
    desc.usage = NVTX_MEM_HEAP_USAGE_TYPE_SUB_ALLOCATOR;
    desc.type = NVTX_MEM_TYPE_VIRTUAL_ADDRESS;
    desc.typeSpecificDescSize = sizeof range;
    desc.typeSpecificDesc = &range;
    desc.messageType = NVTX_MESSAGE_TYPE_ASCII;
    desc.message.ascii = name;
    heap = nvtxMemHeapRegister(domain(), &desc);
  });
  return reinterpret_cast<miniinfer_heap*>(heap);
}

void heap_unregister(miniinfer_device* device, miniinfer_heap* heap) noexcept {
  announce(device, [&] { nvtxMemHeapUnregister(domain(), raw(heap)); });
}

void region_register(miniinfer_device* device, miniinfer_heap* heap, miniinfer_mem mem,
                     std::uint64_t bytes) noexcept {
  announce(device, [&] {
    const nvtxMemVirtualRangeDesc_t range = {bytes, pointer(mem)};
    nvtxMemRegionsRegisterBatch_t batch{};
    batch.extCompatID = NVTX_EXT_COMPATID_MEM;
    batch.structSize = sizeof batch;
    batch.regionType = NVTX_MEM_TYPE_VIRTUAL_ADDRESS;
    batch.heap = raw(heap);
    batch.regionCount = 1;
    batch.regionDescElementSize = sizeof range;
    batch.regionDescElements = &range;
    nvtxMemRegionsRegister(domain(), &batch);
  });
}

void region_name(miniinfer_device* device, miniinfer_heap*, miniinfer_mem mem,
                 const char* name) noexcept {
  announce(device, [&] {
    nvtxMemRegionNameDesc_t desc{};
    desc.regionRefType = NVTX_MEM_REGION_REF_TYPE_POINTER;
    desc.nameType = NVTX_MESSAGE_TYPE_ASCII;
    desc.region.pointer = pointer(mem);
    desc.name.ascii = name;
    nvtxMemRegionsNameBatch_t batch{};
    batch.extCompatID = NVTX_EXT_COMPATID_MEM;
    batch.structSize = sizeof batch;
    batch.regionCount = 1;
    batch.regionElementSize = sizeof desc;
    batch.regionElements = &desc;
    nvtxMemRegionsName(domain(), &batch);
  });
}

void region_unregister(miniinfer_device* device, miniinfer_heap*, miniinfer_mem mem) noexcept {
  announce(device, [&] {
    nvtxMemRegionRef_t region{};
    region.pointer = pointer(mem);
    nvtxMemRegionsUnregisterBatch_t batch{};
    batch.extCompatID = NVTX_EXT_COMPATID_MEM;
    batch.structSize = sizeof batch;
    batch.refType = NVTX_MEM_REGION_REF_TYPE_POINTER;
    batch.refCount = 1;
    batch.refElementSize = sizeof region;
    batch.refElements = &region;
    nvtxMemRegionsUnregister(domain(), &batch);
  });
}

constexpr miniinfer_memory_annotate kTable = {MINIINFER_HEAD(miniinfer_memory_annotate),
                                              heap_register,
                                              heap_unregister,
                                              region_register,
                                              region_name,
                                              region_unregister};

}  // namespace

const miniinfer_memory_annotate* memory_annotate() noexcept { return &kTable; }

}  // namespace miniinfer::cuda
