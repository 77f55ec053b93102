// The part of PluginUpstream that keeps addresses and memory apart.

#include <cinttypes>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "core/device/plugin_allocator.hpp"

namespace miniinfer {
namespace {

miniinfer_physical* raw(MemoryUpstream::Physical physical) {
  return static_cast<miniinfer_physical*>(physical.handle);
}

}  // namespace

Status PluginUpstream::check_mapping(const char* call, const Block& addresses, std::uint64_t offset,
                                     std::uint64_t bytes) const {
  if (properties_.granularity == 0) return no_mapping(bytes);
  if (Status status = record_.ready(); status.code() == Code::FailedPrecondition) return status;
  std::uint64_t end = 0;
  if (bytes != 0 && ((offset | bytes) & (properties_.granularity - 1)) == 0 &&
      checked_add(offset, bytes, &end) && end <= addresses.bytes) {
    return {};
  }
  return {
      Code::InvalidArgument,
      format("%s of %" PRIu64 " bytes at %" PRIu64 " on %s: whole multiples of %" PRIu64
             " within %" PRIu64 " bytes of addresses are needed",
             call, bytes, offset, record_.id.c_str(), properties_.granularity, addresses.bytes)};
}

Result<Block> PluginUpstream::reserve_addresses(std::uint64_t bytes) noexcept {
  const Block wanted{0, 0, bytes, nullptr};
  Status status = check_mapping("reserving", wanted, 0, bytes);
  if (status.ok()) status = record_.ready();
  if (!status.ok()) return status;
  std::uint64_t address = 0;
  const miniinfer_code code = mapping_->reserve(device_, bytes, &address);
  if (code != MINIINFER_OK) {
    return record_.check(code, "reserving addresses for " + format_bytes(bytes));
  }
  std::uint64_t end = 0;
  if (address == 0 || (address & (properties_.granularity - 1)) != 0 ||
      !checked_add(address, bytes, &end)) {
    return Status(Code::Internal,
                  format("the plugin of %s reserved %" PRIu64 " bytes of addresses at 0x%" PRIx64
                         ", which cannot be",
                         record_.id.c_str(), bytes, address),
                  "report a bug to the plugin's vendor");
  }
  return Block{address, 0, bytes, nullptr};
}

void PluginUpstream::release_addresses(const Block& addresses) noexcept {
  if (!check_mapping("releasing", addresses, 0, addresses.bytes).ok()) return;
  mapping_->release(device_, addresses.handle, addresses.bytes);
}

Result<MemoryUpstream::Physical> PluginUpstream::create_physical(std::uint64_t bytes) noexcept {
  const Block wanted{0, 0, bytes, nullptr};
  Status status = check_mapping("making a piece", wanted, 0, bytes);
  if (status.ok()) status = record_.ready();
  if (!status.ok()) return status;
  miniinfer_physical* physical = nullptr;
  const miniinfer_code code = mapping_->create(device_, bytes, &physical);
  if (code != MINIINFER_OK) return not_allocated(code, bytes);
  if (physical == nullptr) {
    return Status(Code::Internal, "the plugin of " + record_.id + " made a piece without a handle",
                  "report a bug to the plugin's vendor");
  }
  return Physical{physical};
}

void PluginUpstream::destroy_physical(Physical physical) noexcept {
  if (properties_.granularity == 0 || physical.handle == nullptr ||
      record_.ready().code() == Code::FailedPrecondition) {
    return;
  }
  mapping_->destroy(device_, raw(physical));
}

Status PluginUpstream::map(const Block& addresses, std::uint64_t offset, Physical physical,
                           std::uint64_t bytes) noexcept {
  Status status = check_mapping("mapping", addresses, offset, bytes);
  if (status.ok()) status = record_.ready();
  if (!status.ok()) return status;
  return record_.check(mapping_->map(device_, addresses.handle + offset, raw(physical)),
                       "mapping memory");
}

Status PluginUpstream::set_access(const Block& addresses, std::uint64_t offset,
                                  std::uint64_t bytes) noexcept {
  Status status = check_mapping("access", addresses, offset, bytes);
  if (status.ok()) status = record_.ready();
  if (!status.ok()) return status;
  return record_.check(
      mapping_->set_access(device_, addresses.handle + offset, bytes, MINIINFER_ACCESS_READ_WRITE),
      "opening mapped memory");
}

Status PluginUpstream::unmap(const Block& addresses, std::uint64_t offset,
                             std::uint64_t bytes) noexcept {
  if (Status status = check_mapping("unmapping", addresses, offset, bytes); !status.ok()) {
    return status;
  }
  return record_.check(mapping_->unmap(device_, addresses.handle + offset, bytes),
                       "unmapping memory");
}

}  // namespace miniinfer
